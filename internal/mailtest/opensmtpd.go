package mailtest

import (
	"fmt"
	"os"
	"testing"
)

// OpenSMTPD says how a private OpenSMTPD differs from one that takes no mail.
type OpenSMTPD struct {
	Host   string // its name
	Port   int
	Names  string // its name server
	Routes []Route
	Conf   string // lines for smtpd.conf in front of all others
	Listen string // more options of its listener
	Filter string // a shell script that lies at FilterPath, for a filter of Conf
}

// FilterPath is where an OpenSMTPD finds its filter.
const FilterPath = "/etc/filter"

// MailUser is the user of an OpenSMTPD's jail who may deliver mail.
const MailUser = "vmail"

// Between two connections to one address, whatever the port, it would wait for seconds.
const opensmtpdConf = `
queue ttl 8s
mta limit conn-delay-route 0
mta limit reconn-delay-route 0
%s
listen on 127.0.0.1 port %d hostname %s %s
`

// StartOpenSMTPD starts an OpenSMTPD of its own. What is refused for now it keeps for eight seconds, and no report longer.
func StartOpenSMTPD(t testing.TB, o OpenSMTPD) {
	t.Helper()
	const smtpd, smtpctl = "/usr/sbin/smtpd", "/usr/sbin/smtpctl"
	programs := []string{smtpd, smtpctl, "/usr/libexec/opensmtpd/mail.lmtp", "/bin/sh"}
	jail := newJail(t, "opensmtpd", programs, []string{"opensmtpd", "opensmtpq", MailUser}, o.Names)
	conf := fmt.Sprintf(opensmtpdConf, o.Conf, o.Port, o.Host, o.Listen)
	for i, r := range o.Routes {
		way := ""
		if r.Port != 0 {
			way = fmt.Sprintf(" host smtp://127.0.0.1:%d", r.Port)
		}
		conf += fmt.Sprintf("action to%d relay%s\nmatch from any for domain \"%s\" action to%[1]d\n", i, way, r.Domains)
	}
	put(t, jail+"/etc/smtpd.conf", conf)
	put(t, jail+FilterPath, o.Filter)
	put(t, jail+"/etc/mailname", o.Host+"\n")
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
	jailed("opensmtpd "+o.Host, jail, smtpd+" -d", "chroot "+jail+" "+smtpctl+" show hoststats", jail+"/log").keep(t)
}
