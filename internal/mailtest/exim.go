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
}

const eximConf = `
primary_hostname = %[1]s
exim_path = /usr/sbin/exim4
tls_advertise_hosts =
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[2]d
pid_file_path = /run/exim.pid
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%%s
keep_environment =
acl_smtp_rcpt = all
host_lookup =
rfc1413_query_timeout = 0s
queue_run_in_order
begin acl
all:
  accept
begin routers
%[3]s
begin retry
* * F,1s,1s
begin transports
%[4]s
`

// StartExim starts an Exim of its own on a port. What is refused for now it tries for a second.
func StartExim(t testing.TB, host string, port int, resolver string, routes []Route) {
	t.Helper()
	jail := newJail(t, "exim4-daemon-light", []string{"/usr/sbin/exim4"}, []string{"Debian-exim"}, resolver)
	routers, transports := "", ""
	for i, r := range routes {
		how := fmt.Sprintf("driver = manualroute\n  route_list = * 127.0.0.1\n  self = send\n  transport = to%d", i)
		if r.Port == 0 {
			how = fmt.Sprintf("driver = dnslookup\n  transport = to%d", i)
		}
		routers += fmt.Sprintf("by%d:\n  domains = %s\n  no_more\n  %s\n", i, r.Domains, how)
		transports += fmt.Sprintf("to%d:\n  driver = smtp\n  port = %d\n  allow_localhost\n  message_size_limit = 50K\n  hosts_try_fastopen =\n", i, max(r.Port, 25))
	}
	put(t, jail+"/etc/exim4/exim4.conf", fmt.Sprintf(eximConf, host, port, routers, transports))
	for _, dir := range []string{"/var/spool/exim4", "/var/log/exim4"} {
		if err := os.MkdirAll(jail+dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(jail+dir, firstUser, firstUser); err != nil {
			t.Fatal(err)
		}
	}
	jailed("exim "+host, jail, "/usr/sbin/exim4 -bdf -q1s", "test -s "+jail+"/run/exim.pid", jail+"/var/log/exim4/main").keep(t)
}
