package doctor

import "strings"

// service is a sending service that is known by the host of its relay.
type service struct {
	name     string
	hosts    []string // the relay's host, or with a dot before it what it ends in
	prefix   string   // and begins with
	includes []string // any of them covers it; the first is the one to publish
	own      bool     // unless the user sets up more, it takes a return path in its own domain
}

// services as their manuals had them in November 2026. Those whose include hangs on the customer's server are not here.
var services = []service{
	{name: "Amazon SES", hosts: []string{".amazonaws.com"}, prefix: "email-smtp", includes: []string{"amazonses.com"}, own: true},
	{name: "SendGrid", hosts: []string{".sendgrid.net"}, includes: []string{"sendgrid.net"}, own: true},
	{name: "Mailgun", hosts: []string{".mailgun.org"}, includes: []string{"mailgun.org"}, own: true},
	{name: "Postmark", hosts: []string{".postmarkapp.com"}, includes: []string{"spf.mtasv.net"}, own: true},
	{name: "Brevo", hosts: []string{".brevo.com", ".sendinblue.com"}, includes: []string{"spf.brevo.com", "spf.sendinblue.com"}, own: true},
	{name: "Mailjet", hosts: []string{".mailjet.com"}, includes: []string{"spf.mailjet.com"}, own: true},
	{name: "SparkPost", hosts: []string{"smtp.sparkpostmail.com"}, includes: []string{"sparkpostmail.com", "_netblocks.sparkpostmail.com"}, own: true},
	{name: "Mailchimp Transactional", hosts: []string{".mandrillapp.com"}, includes: []string{"spf.mandrillapp.com"}, own: true},
	{name: "Google Workspace", hosts: []string{"smtp.gmail.com", "smtp-relay.gmail.com"}, includes: []string{"_spf.google.com"}},
	{name: "Microsoft 365", hosts: []string{"smtp.office365.com", ".mail.protection.outlook.com"}, includes: []string{"spf.protection.outlook.com"}},
	{name: "Zoho Mail", hosts: []string{"smtp.zoho.com", "smtppro.zoho.com"}, includes: []string{"zohomail.com", "zoho.com", "one.zoho.com"}},
	{name: "Xserver", hosts: []string{".xserver.jp"}, includes: []string{"spf.sender.xserver.jp"}},
	{name: "Lolipop", hosts: []string{".lolipop.jp"}, includes: []string{"_spf.lolipop.jp"}},
	{name: "heteml", hosts: []string{".heteml.jp"}, includes: []string{"_spf.heteml.jp"}},
}

// serviceOf is the service that a relay's host belongs to.
func serviceOf(host string) (service, bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, s := range services {
		for _, h := range s.hosts {
			if (host == h || h[0] == '.' && strings.HasSuffix(host, h)) && strings.HasPrefix(host, s.prefix) {
				return s, true
			}
		}
	}
	return service{}, false
}
