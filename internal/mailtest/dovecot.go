package mailtest

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// User is a mailbox of a Dovecot server.
type User struct {
	Address  string
	Password string // empty: nobody logs in
	Quota    string // such as 1K; empty: no limit
	Full     bool   // holds a mail beyond its quota already
}

// DovecotServer is a private Dovecot. It stops at the end of the test and leaves nothing of the system changed.
type DovecotServer struct {
	Host  string
	IMAPS int    // port
	POP3S int    // port; 0: dovecot-pop3d is not installed
	LMTP  string // socket; unknown users are refused at RCPT with 550 5.1.1, full ones with 552 5.2.2
	SASL  string // socket for Postfix
	Quota string // socket of the policy service that tells Postfix who is full
	// Ports of LMTP and of the policy service, for servers that a jail keeps from the sockets.
	LMTPPort, QuotaPort int

	dir string
}

const dovecotConf = `
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
listen = 127.0.0.1
protocols = imap lmtp
ssl = required
ssl_cert = <%[1]s/chain.pem
ssl_key = <%[1]s/chain.pem
disable_plaintext_auth = yes
auth_mechanisms = plain login
auth_failure_delay = 0
recipient_delimiter = +
first_valid_uid = 1
mail_uid = mail
mail_gid = mail
mail_home = %[1]s/mail/%%Ld/%%Ln
mail_location = maildir:~/Maildir
mail_plugins = quota
namespace inbox {
  inbox = yes
}
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%%Lu %[1]s/users
}
userdb {
  driver = passwd-file
  args = username_format=%%Lu %[1]s/users
}
plugin {
  quota = maildir:User quota
  quota_status_success = DUNNO
  quota_status_nouser = DUNNO
  quota_status_overquota = 552 5.2.2 Mailbox is full
}
service imap-login {
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    port = %[2]d
  }
}
protocol lmtp {
  lmtp_rcpt_check_quota = yes
}
service lmtp {
  inet_listener lmtp {
    port = %[3]d
  }
  unix_listener %[1]s/lmtp {
    user = postfix
    mode = 0600
  }
}
service auth {
  unix_listener %[1]s/sasl {
    user = postfix
    mode = 0600
  }
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service quota-status {
  executable = quota-status -p postfix
  client_limit = 1
  inet_listener quota {
    port = %[4]d
  }
  unix_listener %[1]s/quota {
    user = postfix
    mode = 0600
  }
}
`

const dovecotPOP3 = `
protocols = imap lmtp pop3
service pop3-login {
  inet_listener pop3 {
    port = 0
  }
  inet_listener pop3s {
    port = %d
  }
}
`

// StartDovecot starts IMAPS (and POP3S, if there is the program for it) with a certificate of ca, LMTP for delivery and SASL for Postfix.
func StartDovecot(t testing.TB, ca *CA, users []User) *DovecotServer {
	t.Helper()
	program := Need(t, "dovecot", "apt-get install dovecot-imapd dovecot-lmtpd")
	root(t, "Dovecot")
	dir := ServerDir(t)
	ports := FreePorts(t, 4)
	s := &DovecotServer{Host: "127.0.0.1", IMAPS: ports[0], LMTP: dir + "/lmtp", LMTPPort: ports[2], QuotaPort: ports[3], SASL: dir + "/sasl", Quota: dir + "/quota", dir: dir}
	putChain(t, ca, dir+"/chain.pem")
	put(t, dir+"/users", passwdFile(users))
	putFor(t, dir+"/mail", "mail", 0o700)
	for _, u := range users {
		if u.Full {
			s.fill(t, u.Address)
		}
	}
	if err := os.Mkdir(dir+"/state", 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(dovecotConf, dir, s.IMAPS, s.LMTPPort, s.QuotaPort)
	if _, err := os.Stat("/usr/lib/dovecot/pop3"); err == nil {
		s.POP3S = ports[1]
		text += fmt.Sprintf(dovecotPOP3, s.POP3S)
	}
	conf := put(t, dir+"/dovecot.conf", text)
	pid := dir + "/run/master.pid" // Dovecot removes it when it ends
	daemon{name: "dovecot", start: program + " -c " + conf, stop: "kill $(cat " + pid + ")", runs: "test -e " + pid, log: dir + "/log"}.keep(t)
	return s
}

// fill puts a large mail into a mailbox, as if it had always been there.
func (s *DovecotServer) fill(t testing.TB, address string) {
	t.Helper()
	local, domain, _ := strings.Cut(strings.ToLower(address), "@")
	put(t, filepath.Join(s.dir, "mail", domain, local, "Maildir/cur/1.old.mail:2,S"), "Subject: an old one\n\n"+strings.Repeat("The attic.\n", 1000))
	if out, err := exec.Command("chown", "-R", "mail:mail", filepath.Join(s.dir, "mail", domain)).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v\n%s", err, out)
	}
}

// passwdFile is what Dovecot's passwd-file driver reads: the fields of passwd(5), and one more.
func passwdFile(users []User) string {
	var b strings.Builder
	for _, u := range users {
		fmt.Fprintf(&b, "%s:%s::::::", strings.ToLower(u.Address), u.Password)
		if u.Quota != "" {
			fmt.Fprintf(&b, "userdb_quota_rule=*:storage=%s", u.Quota)
		}
		if u.Password == "" {
			b.WriteString(" nologin")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Mail returns the messages of every INBOX that has some, by the address of its owner.
func (s *DovecotServer) Mail(t testing.TB) map[string][][]byte {
	t.Helper()
	files, err := filepath.Glob(s.dir + "/mail/*/*/Maildir/[cn]*/*")
	if err != nil {
		t.Fatal(err)
	}
	mail := map[string][][]byte{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(strings.TrimPrefix(file, s.dir+"/mail/"), "/")
		owner := parts[1] + "@" + parts[0]
		mail[owner] = append(mail[owner], raw)
	}
	return mail
}

// putChain writes a private key and its certificate for this machine into one file.
func putChain(t testing.TB, ca *CA, path string) {
	t.Helper()
	c := ca.Certificate(t, time.Now().Add(time.Hour), "localhost", "127.0.0.1")
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
