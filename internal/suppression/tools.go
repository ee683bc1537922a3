package suppression

import (
	"cmp"
	"strings"

	"mailer/internal/bounce"
)

// Names of lists that are no tool's.
const (
	unknown = ""
	Plain   = "plain" // an address a line
	Table   = "table" // a table with a column of addresses
	Mailer  = "mailer"
)

// tool is a program whose lists are known.
type tool struct {
	name  string
	words string
	fits  func(has func(column string) bool, file string) bool // columns are as columnKey folds them; the address is there
	judge func(e *Entry, value func(column string) string)

	sure bool   // the user named it
	file string // while it is unknown
}

func toolNamed(name string) *tool {
	for i := range tools {
		if tools[i].name == name {
			t := tools[i]
			return &t
		}
	}
	return nil
}

// tools in the order in which they are tried. A list that more than one writes in the same form is told by its file name,
// else by what its rows say; where neither does, by what blocks least: that is an unsubscribe.
var tools = []tool{
	{name: Mailer, words: "an export of mailer", judge: judgeMailer, fits: func(has func(string) bool, _ string) bool {
		return has("scope") && has("blocks") && has("reason")
	}},
	{name: "listmonk", words: "subscribers of listmonk", judge: judgeListmonk, fits: func(has func(string) bool, _ string) bool {
		return has("uuid") && has("status") || has("subscriberuuid") && has("type")
	}},
	{name: "phplist", words: "subscribers of phpList", judge: judgePhpList, fits: func(has func(string) bool, _ string) bool {
		return has("blacklisted") && (has("confirmed") || has("uniqid") || has("htmlemail") || has("foreignkey")) ||
			has("isthissubscriberblacklisted") || has("isthisuserblacklisted")
	}},
	{name: "mailchimp", words: "an audience of Mailchimp", judge: judgeMailchimp, fits: func(has func(string) bool, _ string) bool {
		return has("unsubtime") || has("cleantime") || has("leid") && has("euid")
	}},
	{name: "ses", words: "the suppression list of Amazon SES", judge: judgeSES, fits: func(has func(string) bool, _ string) bool {
		return has("lastupdatetime") && has("reason")
	}},
	{name: "sendgrid-blocks", words: "blocks of SendGrid", judge: judgeSendGridBlocks, fits: func(has func(string) bool, file string) bool {
		return has("created") && has("reason") && strings.Contains(file, "block")
	}},
	{name: "sendgrid-bounces", words: "bounces of SendGrid", judge: judgeSendGridBounces, fits: func(has func(string) bool, file string) bool {
		return has("created") && has("reason") && has("status") && strings.Contains(file, "bounce")
	}},
	{name: "sendgrid-refusals", words: "bounces or blocks of SendGrid", judge: judgeSendGridRefusals, fits: func(has func(string) bool, _ string) bool {
		return has("created") && has("reason") && has("status")
	}},
	{name: "sendgrid-invalid", words: "invalid addresses of SendGrid", judge: judgeSendGridInvalid, fits: func(has func(string) bool, _ string) bool {
		return has("created") && has("reason")
	}},
	{name: "sendgrid-spam", words: "spam reports of SendGrid", judge: judgeSendGridSpam, fits: func(has func(string) bool, file string) bool {
		return has("created") && !has("status") && !has("name") && (has("ip") || strings.Contains(file, "spam"))
	}},
	{name: "sendgrid-unsubscribes", words: "unsubscribes of SendGrid", judge: judgeSendGridUnsubscribes, fits: func(has func(string) bool, _ string) bool {
		return has("created") && !has("status") && !has("name")
	}},
	{name: "mautic", words: "do-not-contact entries of Mautic", judge: judgeMautic, fits: func(has func(string) bool, _ string) bool {
		return has("dncreason") || has("donotcontactreason") || has("dnc") || has("donotcontact")
	}},
	{name: "brevo", words: "contacts of Brevo", judge: judgeBrevo, fits: func(has func(string) bool, _ string) bool {
		return has("emailblacklisted") || has("emailblocklisted") || has("emailmarketing")
	}},
	{name: Table, words: "a table", judge: judgeTable},
	{name: Plain, words: "a plain list", judge: func(*Entry, func(string) string) {}},
}

func judgeMailer(e *Entry, value func(string) string) {
	e.Scope, e.Blocks, e.Reason, e.Evidence = value("scope"), value("blocks"), value("reason"), value("evidence")
}

// judgeTable takes the columns of mailer where they are there, and a status as it is said in most tools.
func judgeTable(e *Entry, value func(string) string) {
	judgeMailer(e, value)
	for _, column := range []string{"reason", "type", "status"} {
		if word := value(column); word != "" {
			byWord(e, word)
			break
		}
	}
	for _, column := range []string{"blacklisted", "blocklisted", "unsubscribed", "suppressed"} {
		switch flag := value(column); {
		case flag == "" || e.Reason != "":
		case isTrue(flag):
			byWord(e, column)
		default:
			e.Free = "not " + column
		}
	}
}

// judgeListmonk reads subscribers (status enabled, disabled, blocklisted; with the API the states of subscriptions, one
// for each list) and bounces (type hard, soft, complaint).
func judgeListmonk(e *Entry, value func(string) string) {
	status, kind := value("status"), value("type")
	switch {
	case kind != "":
		byWord(e, kind)
		e.Evidence = words("listmonk", kind+" bounce", value("source"))
		if e.Reason == Complaint {
			e.Evidence = words("listmonk", "complaint", value("source"))
		}
		return
	case reasonKey(status) == "blocklisted" || reasonKey(status) == "disabled" || reasonKey(status) == "blacklisted":
		e.Reason, e.Evidence = Import, words("listmonk", status)
		return
	}
	left, all := 0, 0
	for state := range strings.SplitSeq(value("subscriptionstatus"), ",") {
		if state != "" {
			all++
		}
		if reasonKey(state) == "unsubscribed" {
			left++
		}
	}
	switch {
	case reasonKey(status) == "unsubscribed", all > 0 && left == all:
		e.Reason, e.Evidence = Unsubscribe, words("listmonk", "unsubscribed")
	case left > 0:
		e.Free = "unsubscribed from some lists, subscribed to others"
	default:
		e.Free = cmp.Or(status, "no status")
	}
}

// judgePhpList: phpList puts on its blacklist who unsubscribes and who bounces, and does not say which.
func judgePhpList(e *Entry, value func(string) string) {
	for _, column := range []string{"entered", "modified", "lastmodified"} {
		if e.Since.IsZero() {
			e.Since = readTime(value(column))
		}
	}
	flag := value("blacklisted") + value("isthissubscriberblacklisted") + value("isthisuserblacklisted")
	disabled := value("disabled") + value("isthisaccountdisabled")
	confirmed := value("confirmed") + value("isthissubscriberconfirmed") + value("istheemailofthissubscriberconfirmed") + value("istheemailofthisuserconfirmed")
	switch {
	case isTrue(flag):
		e.Reason, e.Evidence = Import, words("phpList", "blacklisted")
	case isTrue(disabled):
		e.Reason, e.Evidence = Import, words("phpList", "disabled")
	case confirmed != "" && !isTrue(confirmed):
		e.Free = "not confirmed"
	default:
		e.Free = "not blacklisted"
	}
}

func judgeMailchimp(e *Entry, value func(string) string) {
	unsub, clean := value("unsubtime"), value("cleantime")
	switch {
	case clean != "":
		e.Reason, e.Since = HardBounce, readTime(clean)
		e.Evidence = words("Mailchimp", "cleaned", value("cleancampaigntitle"))
	case unsub != "" || value("unsubreason") != "":
		e.Reason, e.Since = Unsubscribe, readTime(unsub)
		e.Evidence = words("Mailchimp", "unsubscribed", value("unsubcampaigntitle"), value("unsubreason"), value("unsubreasonother"))
	default:
		e.Free = "subscribed"
	}
}

func judgeSES(e *Entry, value func(string) string) {
	byWord(e, value("reason"))
	e.Evidence = words("Amazon SES", value("reason"))
}

// judgeSendGridBlocks: a block is a refusal of the sending IP or the content, so the address lives.
func judgeSendGridBlocks(e *Entry, _ func(string) string) {
	e.Free = "blocked: our mail was refused, the address lives"
}

func judgeSendGridBounces(e *Entry, value func(string) string) {
	e.Reason, e.Evidence = HardBounce, words("SendGrid bounce", strings.TrimSpace(value("status")+" "+value("reason")))
}

// judgeSendGridRefusals reads a list that is one of bounces or one of blocks: both have the same columns. The reply says
// which, as it does in a bounce mail.
func judgeSendGridRefusals(e *Entry, value func(string) string) {
	_, domain, _ := strings.Cut(e.Address, "@")
	if !bounce.Classify(bounce.Reply{Enhanced: value("status"), Text: value("reason")}, domain).Hard {
		e.Free = "refused, but the reply does not say that the address is dead"
		return
	}
	judgeSendGridBounces(e, value)
}

func judgeSendGridInvalid(e *Entry, value func(string) string) {
	if key := reasonKey(value("reason")); reasonWords[key] != "" || freeWords[key] {
		judgeTable(e, value) // a table of somebody else, in words
		return
	}
	e.Reason, e.Evidence = HardBounce, words("SendGrid invalid address", value("reason"))
}

func judgeSendGridSpam(e *Entry, _ func(string) string) {
	e.Reason, e.Evidence = Complaint, "SendGrid spam report"
}

func judgeSendGridUnsubscribes(e *Entry, value func(string) string) {
	e.Reason, e.Evidence = Unsubscribe, words("SendGrid unsubscribe", value("groupname"))
}

// judgeMautic: the reasons of Mautic's DoNotContact are 1 unsubscribed, 2 bounced, 3 manual, 0 contactable.
func judgeMautic(e *Entry, value func(string) string) {
	reason := value("dncreason") + value("donotcontactreason")
	switch {
	case reason == "1":
		e.Reason = Unsubscribe
	case reason == "2":
		e.Reason = HardBounce
	case reason == "3":
		e.Reason = Manual
	case reason != "" && reason != "0":
		byWord(e, reason)
	case isTrue(value("dnc") + value("donotcontact")):
		e.Reason = Import
	default:
		e.Free = "contactable"
	}
	e.Evidence = words("Mautic", "do not contact")
}

func judgeBrevo(e *Entry, value func(string) string) {
	flag := value("emailblacklisted") + value("emailblocklisted")
	switch {
	case isTrue(flag):
		e.Reason = Import
	case flag == "" && value("emailmarketing") != "":
		byWord(e, value("emailmarketing"))
	default:
		e.Free = "not blocklisted"
	}
	e.Evidence = words("Brevo", "blocklisted")
}
