package mailtest

import (
	"fmt"
	"os"
	"testing"
)

const opensmtpdConf = `
queue ttl 3s
listen on 127.0.0.1 port %d hostname %s
`

// StartOpenSMTPD starts an OpenSMTPD of its own on a port. What is refused for now it keeps for three seconds.
func StartOpenSMTPD(t testing.TB, host string, port int, resolver string, routes []Route) {
	t.Helper()
	const smtpd, smtpctl = "/usr/sbin/smtpd", "/usr/sbin/smtpctl"
	jail := newJail(t, "opensmtpd", []string{smtpd, smtpctl}, []string{"opensmtpd", "opensmtpq"}, resolver)
	conf := fmt.Sprintf(opensmtpdConf, port, host)
	for i, r := range routes {
		way := ""
		if r.Port != 0 {
			way = fmt.Sprintf(" host smtp://127.0.0.1:%d", r.Port)
		}
		conf += fmt.Sprintf("action to%d relay%s\nmatch from any for domain \"%s\" action to%[1]d\n", i, way, r.Domains)
	}
	put(t, jail+"/etc/smtpd.conf", conf)
	put(t, jail+"/etc/mailname", host+"\n")
	for _, dir := range []string{"/var/lib/opensmtpd/empty", "/var/run", "/var/spool"} {
		if err := os.MkdirAll(jail+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// smtpctl insists on being setgid of the second user.
	if err := os.Chown(jail+smtpctl, 0, firstUser+1); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(jail+smtpctl, 0o755|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	jailed("opensmtpd "+host, jail, smtpd+" -d", "chroot "+jail+" "+smtpctl+" show hoststats", jail+"/log").keep(t)
}
