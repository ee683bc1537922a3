package doctor

import (
	"net/netip"
	"testing"
)

func TestGenericNames(t *testing.T) {
	for _, c := range []struct {
		name, ip string
		want     bool
	}{
		{"mail.example.com", "192.0.2.10", false},
		{"mx10.example.com", "192.0.2.10", false},
		{"mail2-10.example.com", "192.0.2.10", false},
		{"ip-192-0-2-10.example.com", "192.0.2.10", true},
		{"10.2.0.192.static.example.com", "192.0.2.10", true},
		{"static-10-2-0.example.com", "192.0.2.10", true},
		{"c000020a.example.com", "192.0.2.10", true},
		{"h192000002010.example.com", "192.0.2.10", true},
		{"ec2-203-0-113-7.compute-1.amazonaws.com", "203.0.113.7", true},
		{"p1234-ipngn.tokyo.ocn.ne.jp", "203.0.113.7", false},
		{"dhcp7.example.com", "203.0.113.7", true},
		{"pool-9.example.com", "203.0.113.7", true},
		{"adslmail.example.com", "203.0.113.7", false},
		{"poolside.example.com", "203.0.113.7", false},
		{"mail.example.com", "2001:db8::1", false},
		{"customer.example.com", "2001:db8::1", true},
	} {
		if got := generic(c.name, netip.MustParseAddr(c.ip)); got != c.want {
			t.Errorf("%s of %s: %v", c.name, c.ip, got)
		}
	}
}

func TestServiceOf(t *testing.T) {
	for host, want := range map[string]string{
		"email-smtp.us-east-1.amazonaws.com": "Amazon SES", "ec2-1-2-3-4.compute.amazonaws.com": "", "SMTP.SendGrid.net.": "SendGrid",
		"smtp.eu.mailgun.org": "Mailgun", "notmailgun.org": "", "mailgun.org.example.com": "", "smtp.gmail.com": "Google Workspace",
		"example-com.mail.protection.outlook.com": "Microsoft 365", "sv1.xserver.jp": "Xserver", "mail.example.com": "",
	} {
		if got, ok := serviceOf(host); got.name != want || ok != (want != "") {
			t.Errorf("%s: %q, want %q", host, got.name, want)
		}
	}
}

func TestMeantTerm(t *testing.T) {
	for term, want := range map[string]string{
		"192.0.2.1": "ip4:192.0.2.1", "192.0.2.0/24": "ip4:192.0.2.0/24", "+192.0.2.1": "ip4:192.0.2.1", "ipv4:192.0.2.1": "ip4:192.0.2.1", "ip:2001:db8::1": "ip6:2001:db8::1",
		"ip4:2001:db8::/32": "ip6:2001:db8::/32", "2001:db8::1": "ip6:2001:db8::1", "ip4:192.0.2.300": "", "-192.0.2.1": "", "include:": "", "fe80::1%eth0": "",
	} {
		if got := meantTerm(term); got != want {
			t.Errorf("%s: %q, want %q", term, got, want)
		}
	}
}
