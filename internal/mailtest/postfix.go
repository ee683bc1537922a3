package mailtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Postfix says how a private Postfix differs from one that takes no mail and sends none.
type Postfix struct {
	Host   string            // its name
	Main   string            // lines for main.cf; $config_directory is where Tables lie
	Master string            // lines for master.cf
	Tables map[string]string // texthash tables by file name
	Data   map[string]string // files of $data_directory, which belong to Postfix's user
	SMTPD  []Listener
	Names  string // name server that its transport "dns" and the services in chroot ask; "": nobody is asked
	CA     *CA    // offers STARTTLS with a certificate of it; nil: no TLS
}

// Listener is a port of 127.0.0.1 where Postfix takes mail.
type Listener struct {
	Port    int
	Options []string // of its smtpd, such as smtpd_sasl_auth_enable=yes
	Chroot  bool     // asks Postfix.Names, and finds no socket outside of the queue
}

// PostfixServer is a private Postfix with its own configuration, queue and log. It stops at the end of the test.
type PostfixServer struct {
	conf, log string
	postqueue string
}

// Nothing gets off the machine: mail for domains that are not named is refused by the error transport, no resolver is
// asked, and bounces of bounces go nowhere.
const postfixMain = `
compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
syslog_name = %[2]s
myhostname = %[2]s
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
local_transport = error:5.1.1 nobody lives here
default_transport = error:5.4.4 nothing leaves this machine
notify_classes =
alias_maps =
alias_database =
biff = no
append_dot_mydomain = no
recipient_delimiter = +
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
`

const postfixMaster = `
cleanup   unix  n  -  n  -     0  cleanup
qmgr      unix  n  -  n  300   1  qmgr
tlsmgr    unix  -  -  n  1000? 1  tlsmgr
rewrite   unix  -  -  n  -     -  trivial-rewrite
bounce    unix  -  -  n  -     0  bounce
defer     unix  -  -  n  -     0  bounce
trace     unix  -  -  n  -     0  bounce
verify    unix  -  -  n  -     1  verify
flush     unix  n  -  n  1000? 0  flush
proxymap  unix  -  -  n  -     -  proxymap
smtp      unix  -  -  n  -     -  smtp
relay     unix  -  -  n  -     -  smtp
showq     unix  n  -  n  -     -  showq
error     unix  -  -  n  -     -  error
retry     unix  -  -  n  -     -  error
discard   unix  -  -  n  -     -  discard
lmtp      unix  -  -  n  -     -  lmtp
anvil     unix  -  -  n  -     1  anvil
scache    unix  -  -  n  -     1  scache
postlog   unix-dgram n - n -   1  postlogd
`

// In chroot the resolver reads the queue's etc/resolv.conf, but getservbyname finds no file.
const postfixDNS = `
dns       unix  -  -  y  -     -  smtp
  -o { smtp_dns_support_level = enabled }
  -o { smtp_host_lookup = dns }
  -o { smtp_tcp_port = 25 }
`

// StartPostfix starts a Postfix of its own.
func StartPostfix(t testing.TB, p Postfix) *PostfixServer {
	t.Helper()
	program := Need(t, "postfix", "apt-get install postfix")
	root(t, "Postfix")
	dir := ServerDir(t)
	s := &PostfixServer{conf: dir + "/etc", log: dir + "/log", postqueue: filepath.Join(filepath.Dir(program), "postqueue")}
	main, master := fmt.Sprintf(postfixMain, dir, p.Host), postfixMaster+p.Master
	if p.Names != "" {
		master += postfixDNS
		put(t, dir+"/queue/etc/resolv.conf", resolvConf(p.Names))
	}
	if p.CA != nil {
		main += "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = $config_directory/chain.pem\n"
	}
	for _, l := range p.SMTPD {
		chroot := "n"
		if l.Chroot {
			chroot = "y"
		}
		master += fmt.Sprintf("127.0.0.1:%d inet n - %s - - smtpd\n", l.Port, chroot)
		for _, o := range l.Options {
			master += "  -o { " + o + " }\n"
		}
	}
	put(t, s.conf+"/main.cf", main+p.Main)
	put(t, s.conf+"/master.cf", master)
	for name, table := range p.Tables {
		put(t, filepath.Join(s.conf, name), table)
	}
	if p.CA != nil {
		putChain(t, p.CA, s.conf+"/chain.pem")
	}
	if err := os.MkdirAll(dir+"/queue", 0o755); err != nil {
		t.Fatal(err)
	}
	putFor(t, dir+"/data", "postfix", 0o700)
	for name, text := range p.Data {
		owned(t, put(t, filepath.Join(dir, "data", name), text), "postfix")
	}
	command := program + " -c " + s.conf
	daemon{name: "postfix " + p.Host, start: command + " start", stop: command + " abort", runs: command + " status", log: s.log}.keep(t)
	return s
}

// Log is what it did so far.
func (s *PostfixServer) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Queued is a message that Postfix still has.
type Queued struct {
	Queue      string `json:"queue_name"`
	Sender     string `json:"sender"`
	Recipients []struct {
		Address string `json:"address"`
		Delay   string `json:"delay_reason"`
	} `json:"recipients"`
}

// Queue lists what is on its way.
func (s *PostfixServer) Queue(t testing.TB) []Queued {
	t.Helper()
	out, err := exec.Command(s.postqueue, "-c", s.conf, "-j").CombinedOutput()
	if err != nil {
		t.Fatalf("postqueue: %v\n%s", err, out)
	}
	var queue []Queued
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var q Queued
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			t.Fatalf("postqueue said %q: %v", lines.Text(), err)
		}
		queue = append(queue, q)
	}
	return queue
}

// WaitEmpty waits until everything is delivered or bounced.
func (s *PostfixServer) WaitEmpty(t testing.TB, patience time.Duration) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		queue := s.Queue(t)
		if len(queue) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%d messages are still in the queue: %+v", len(queue), queue[:min(len(queue), 5)])
		}
	}
}
