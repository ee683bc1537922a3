package send

import (
	"fmt"
	"strings"

	"mailer/internal/relay"
)

// ProviderError says that a relay is not the user's own.
type ProviderError struct {
	Name     string // a host, or the domain of an address
	Provider string
}

func (e *ProviderError) Error() string {
	return fmt.Sprintf("%s belongs to %s, which many share: a bench would be taken for an attack, and you would pay for it; mailer relay test measures gently", e.Name, e.Provider)
}

// providers are mail services that no user owns, by the ends of their host names.
var providers = []string{
	"gmail.com", "google.com", "googlemail.com", "outlook.com", "office365.com", "office.com", "hotmail.com", "live.com", "microsoft.com",
	"yahoo.com", "yahoodns.net", "yahoo.co.jp", "aol.com", "icloud.com", "me.com", "apple.com", "zoho.com", "zoho.eu", "zoho.in", "zoho.jp", "zeptomail.com",
	"fastmail.com", "messagingengine.com", "gmx.com", "gmx.net", "web.de", "mail.ru", "yandex.com", "yandex.ru", "yandex.net", "qq.com", "163.com", "126.com", "aliyun.com",
	"amazonaws.com", "awsapps.com", "sendgrid.net", "sendgrid.com", "twilio.com", "mailgun.org", "mailgun.net", "mailgun.com", "postmarkapp.com", "mtasv.net",
	"sparkpostmail.com", "sparkpost.com", "mandrillapp.com", "mailchimp.com", "mailjet.com", "sendinblue.com", "brevo.com", "smtp-brevo.com", "smtp2go.com",
	"elasticemail.com", "resend.com", "mailersend.net", "mailtrap.io", "socketlabs.com", "mailchannels.net", "turbo-smtp.com", "pepipost.com", "netcorecloud.net",
	"azurecomm.net", "oraclecloud.com", "tencentcloudapi.com", "sendcloud.net", "authsmtp.com", "dreamhost.com", "secureserver.net", "ionos.com", "ovh.net", "gandi.net",
	"messagelabs.com", "mimecast.com", "pphosted.com", "ppe-hosted.com", "hornetsecurity.com", "mailroute.net", "emailsrvr.com",
	"docomo.ne.jp", "ezweb.ne.jp", "au.com", "softbank.jp", "softbank.ne.jp", "nifty.com", "ocn.ne.jp", "biglobe.ne.jp", "so-net.ne.jp", "plala.or.jp", "dion.ne.jp", "mopera.net",
	"sakura.ne.jp", "xserver.jp", "lolipop.jp", "heteml.jp", "onamae.com", "gmoserver.jp", "conoha.io", "conoha.ne.jp", "kagoya.net", "cpi.ad.jp", "mixhost.jp", "coreserver.jp",
	"value-server.com", "muumuu-mail.com", "engn.jp", "blastengine.jp", "cuenote.jp", "iij.ad.jp",
}

// rented are the names of machines that such a company lets, and that are the user's own for the time.
var rented = []string{"compute.amazonaws.com", "compute-1.amazonaws.com", "vs.sakura.ne.jp", "vps.ovh.net"}

// ownerOf names the mail service that a host belongs to, or nothing.
func ownerOf(host string) string {
	host = strings.ToLower(strings.Trim(host, ".*,;<>()[] "))
	if under(host, rented) != "" {
		return ""
	}
	return under(host, providers)
}

// under is the domain among some that a host is in.
func under(host string, domains []string) string {
	for _, d := range domains {
		if host == d || strings.HasSuffix(host, "."+d) {
			return d
		}
	}
	return ""
}

// shared looks for a provider behind the names that a relay gives itself: the configured one may be a name of the user's
// for it. Only the first word counts, for many relays go on with the name that they have for us.
func shared(p relay.Profile) string {
	names := []string{firstWord(strings.TrimLeft(p.Banner, "0123456789- ")), firstWord(p.Greeting)}
	if p.Security != nil {
		names = append(names, p.Security.Names...)
	}
	for _, n := range names {
		if found := ownerOf(n); found != "" {
			return found
		}
	}
	return ""
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	return word
}
