package mailtest

import (
	"fmt"
	"os"
	"testing"
)

// Route is where a private Exim or OpenSMTPD brings mail for some domains.
type Route struct {
	Domains string // one, or a pattern of the server's own: "*.test"
	Port    int    // of 127.0.0.1; 0: the host that DNS names
	Bare    bool   // Exim's MAIL does not tell the size beforehand; OpenSMTPD's never does
	Limit   string // such as 50K: what Exim itself finds too large; "": nothing
}

// Exim says how a private Exim differs from one that takes mail for everybody and knows no way for it.
type Exim struct {
	Host       string // its name
	Port       int
	Names      string // its name server
	Routes     []Route
	Main       string // lines for the main section
	RCPT, Data string // statements of the ACLs at RCPT and after DATA, in front of their last: accept
	Routers    string // after those of Routes
	Transports string
}

const eximConf = `
primary_hostname = %[1]s
exim_path = /usr/sbin/exim4
tls_advertise_hosts =
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[2]d
pid_file_path = /run/exim.pid
notifier_socket =
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%%s
keep_environment =
acl_smtp_rcpt = rcpt
acl_smtp_data = data
host_lookup =
rfc1413_query_timeout = 0s
queue_run_in_order
%[3]s
begin acl
rcpt:
%[4]s
  accept
data:
%[5]s
  accept
begin routers
%[6]s
begin retry
* * senders=: F,1h,1s
* * F,1s,1s
begin transports
%[7]s
`

// StartExim starts an Exim of its own. What is refused for now it tries for a second; reports it keeps.
func StartExim(t testing.TB, e Exim) {
	t.Helper()
	jail := newJail(t, "exim4-daemon-light", []string{"/usr/sbin/exim4"}, []string{"Debian-exim"}, e.Names)
	routers, transports := "", e.Transports
	for i, r := range e.Routes {
		how := fmt.Sprintf("driver = manualroute\n  route_list = * 127.0.0.1\n  self = send\n  transport = to%d", i)
		if r.Port == 0 {
			how = fmt.Sprintf("driver = dnslookup\n  transport = to%d", i)
		}
		routers += fmt.Sprintf("by%d:\n  domains = %s\n  no_more\n  %s\n", i, r.Domains, how)
		transports += fmt.Sprintf("to%d:\n  driver = smtp\n  port = %d\n  allow_localhost\n  hosts_try_fastopen =\n", i, max(r.Port, 25))
		if r.Limit != "" {
			transports += "  message_size_limit = " + r.Limit + "\n"
		}
		if r.Bare {
			transports += "  size_addition = -1\n"
		}
	}
	put(t, jail+"/etc/exim4/exim4.conf", fmt.Sprintf(eximConf, e.Host, e.Port, e.Main, e.RCPT, e.Data, routers+e.Routers, transports))
	for _, dir := range []string{"/var/spool/exim4", "/var/log/exim4", "/var/mail"} {
		if err := os.MkdirAll(jail+dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(jail+dir, firstUser, firstUser); err != nil {
			t.Fatal(err)
		}
	}
	jailed("exim "+e.Host, jail, "/usr/sbin/exim4 -bdf -q1s", "test -s "+jail+"/run/exim.pid", jail+"/var/log/exim4/main").keep(t)
}
