package address

import "strings"

// Duty says whether an address is a person's or stands for a job.
type Duty int

// The duties.
const (
	Personal Duty = iota
	Shared        // info@, support@: several people read it, and one consent does not speak for all
	Machine       // postmaster@, abuse@, noreply@: mailing it reaches nobody, or those who decide who is blocked
)

// duties are the local parts that stand for a job: the names of RFC 2142, what web forms and shops use, and what is usual
// in Japan.
var duties = map[string]Duty{
	"postmaster": Machine, "hostmaster": Machine, "abuse": Machine, "mailer-daemon": Machine, "mailerdaemon": Machine, "noreply": Machine,
	"no-reply": Machine, "no_reply": Machine, "no.reply": Machine, "donotreply": Machine, "do-not-reply": Machine, "do_not_reply": Machine,
	"do.not.reply": Machine, "bounce": Machine, "bounces": Machine, "root": Machine, "nobody": Machine, "devnull": Machine, "dmarc": Machine,
	"spam": Machine, "uucp": Machine, "usenet": Machine,

	"info": Shared, "information": Shared, "admin": Shared, "administrator": Shared, "webmaster": Shared, "www": Shared, "web": Shared,
	"support": Shared, "help": Shared, "helpdesk": Shared, "service": Shared, "customerservice": Shared, "customer": Shared, "contact": Shared,
	"contactus": Shared, "inquiry": Shared, "inquiries": Shared, "enquiry": Shared, "enquiries": Shared, "hello": Shared, "office": Shared,
	"sales": Shared, "marketing": Shared, "press": Shared, "media": Shared, "pr": Shared, "hr": Shared, "jobs": Shared, "careers": Shared,
	"recruit": Shared, "billing": Shared, "accounting": Shared, "accounts": Shared, "invoice": Shared, "invoices": Shared, "order": Shared,
	"orders": Shared, "shop": Shared, "store": Shared, "news": Shared, "newsletter": Shared, "noc": Shared, "security": Shared, "privacy": Shared,
	"legal": Shared, "team": Shared, "staff": Shared, "all": Shared, "everyone": Shared, "reception": Shared, "booking": Shared,
	"reservation": Shared, "reservations": Shared,
	"toiawase": Shared, "otoiawase": Shared, "soumu": Shared, "keiri": Shared, "eigyo": Shared, "eigyou": Shared, "jinji": Shared, "saiyo": Shared,
	"saiyou": Shared, "kouhou": Shared, "yoyaku": Shared, "jimukyoku": Shared, "uketsuke": Shared,
}

// longestDuty is the length of the longest of them.
var longestDuty = func() (n int) {
	for local := range duties {
		n = max(n, len(local))
	}
	return n
}()

// DutyOf is the duty of an address by its key. What follows a plus is the sender's own mark.
func DutyOf(key string) Duty {
	at := strings.LastIndexByte(key, '@')
	if at < 0 {
		return Personal
	}
	local := key[:at]
	if plus := strings.IndexByte(local, '+'); plus > 0 {
		local = local[:plus]
	}
	if len(local) > longestDuty {
		return Personal
	}
	return duties[local]
}
