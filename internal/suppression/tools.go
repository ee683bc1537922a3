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
	fits  func(c columns, file string) bool // c as columnKey folds them; the address is there
	judge func(e *Entry, v values)

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
	{name: Mailer, words: "an export of mailer", judge: judgeMailer, fits: func(c columns, _ string) bool {
		return c.has("scope") && c.has("blocks") && c.has("reason")
	}},
	{name: "listmonk", words: "subscribers of listmonk", judge: judgeListmonk, fits: func(c columns, _ string) bool {
		return c.has("uuid") && c.has("status") || c.has("subscriberuuid") && c.has("type")
	}},
	{name: "phplist", words: "subscribers of phpList", judge: judgePhpList, fits: func(c columns, _ string) bool {
		return c.has("blacklisted") && (c.has("confirmed") || c.has("uniqid") || c.has("htmlemail") || c.has("foreignkey")) ||
			c.has("isthissubscriberblacklisted") || c.has("isthisuserblacklisted")
	}},
	{name: "mailchimp", words: "an audience of Mailchimp", judge: judgeMailchimp, fits: func(c columns, _ string) bool {
		return c.has("unsubtime") || c.has("cleantime") || c.has("leid") && c.has("euid")
	}},
	{name: "ses", words: "the suppression list of Amazon SES", judge: judgeSES, fits: func(c columns, _ string) bool {
		return c.has("lastupdatetime") && c.has("reason")
	}},
	{name: "sendgrid-blocks", words: "blocks of SendGrid", judge: judgeSendGridBlocks, fits: func(c columns, file string) bool {
		return c.has("created") && c.has("reason") && c.has("status") && strings.Contains(file, "block") && !strings.Contains(file, "blocklist")
	}},
	{name: "sendgrid-bounces", words: "bounces of SendGrid", judge: judgeSendGridBounces, fits: func(c columns, file string) bool {
		return c.has("created") && c.has("reason") && c.has("status") && strings.Contains(file, "bounce")
	}},
	{name: "sendgrid-refusals", words: "bounces or blocks of SendGrid", judge: judgeSendGridRefusals, fits: func(c columns, _ string) bool {
		return c.has("created") && c.has("reason") && c.has("status")
	}},
	{name: "sendgrid-invalid", words: "invalid addresses of SendGrid", judge: judgeSendGridInvalid, fits: func(c columns, _ string) bool {
		return c.has("created") && c.has("reason")
	}},
	{name: "sendgrid-spam", words: "spam reports of SendGrid", judge: judgeSendGridSpam, fits: func(c columns, file string) bool {
		return c.has("created") && c.only("address", "created", "ip") && (c.has("ip") || strings.Contains(file, "spam"))
	}},
	{name: "sendgrid-unsubscribes", words: "unsubscribes of SendGrid", judge: judgeSendGridUnsubscribes, fits: func(c columns, _ string) bool {
		return c.has("created") && c.only("address", "created", "groupid", "groupname", "groupdescription")
	}},
	{name: "mautic", words: "do-not-contact entries of Mautic", judge: judgeMautic, fits: func(c columns, _ string) bool {
		return c.has("dncreason") || c.has("donotcontactreason") || c.has("dnc") || c.has("donotcontact")
	}},
	{name: "brevo", words: "contacts of Brevo", judge: judgeBrevo, fits: func(c columns, _ string) bool {
		return c.has("emailblacklisted") || c.has("emailblocklisted") || c.has("emailmarketing")
	}},
	{name: Table, words: "a table", judge: judgeTable},
	{name: Plain, words: "a plain list", judge: func(*Entry, values) {}},
}

func judgeMailer(e *Entry, v values) {
	e.Scope, e.Blocks, e.Reason, e.Evidence = v.of("scope"), v.of("blocks"), v.of("reason"), v.of("evidence")
}

// judgeTable takes the columns of mailer where they are there, a status as it is said in most tools, and columns of flags.
// What says that somebody left counts more than what says that they are fine.
func judgeTable(e *Entry, v values) {
	judgeMailer(e, v)
	e.Reason = ""
	said := "" // a word that is not known: it may be what the person wrote
	for _, column := range []string{"reason", "type", "status"} {
		word := v.of(column)
		switch key := reasonKey(word); {
		case word == "" || e.Reason != "":
		case reasonWords[key] != "":
			e.Reason, e.Free = reasonWords[key], ""
		case freeWords[key]:
			e.Free = cmp.Or(e.Free, word)
		default:
			said = cmp.Or(said, word)
		}
	}
	for _, column := range flagColumns {
		flag, have := v(column)
		switch {
		case !have || e.Reason != "":
		case flag == "" || isFalse(flag):
			e.Free = cmp.Or(e.Free, "not "+column)
		default: // true, or since when
			e.Reason, e.Free = cmp.Or(reasonWords[column], Unsubscribe), ""
		}
	}
	switch {
	case e.Reason == "" && e.Free == "":
		e.Reason = said
	case e.Reason != "":
		e.Evidence = words(e.Evidence, said)
	}
}

// flagColumns say of each row whether a person left, or when.
var flagColumns = []string{"unsubscribed", "unsubscribedat", "unsubscribedon", "unsubscribedate", "optout", "optedout", "optoutdate", "emailoptout",
	"hasoptedoutofemail", "unsubscribedfromallemail", "blacklisted", "blocklisted",
	"suppressed", "bounced", "complained", "配信停止", "配信停止日", "退会日"}

// saysReason reports whether a row is one of somebody else's table, with a word for the reason where a tool has a reply.
func saysReason(v values) bool {
	reason, status := reasonKey(v.of("reason")), reasonKey(v.of("status"))
	return reasonWords[reason] != "" || freeWords[reason] || reasonWords[status] != "" || freeWords[status]
}

// judgeListmonk reads subscribers (status enabled, disabled, blocklisted; with the API the states of subscriptions, one
// for each list) and bounces (type hard, soft, complaint).
func judgeListmonk(e *Entry, v values) {
	status, kind := v.of("status"), v.of("type")
	switch {
	case kind != "":
		byWord(e, kind)
		e.Evidence = words("listmonk", kind+" bounce", v.of("source"))
		if e.Reason == Complaint {
			e.Evidence = words("listmonk", "complaint", v.of("source"))
		}
		return
	case reasonKey(status) == "blocklisted" || reasonKey(status) == "disabled" || reasonKey(status) == "blacklisted":
		e.Reason, e.Evidence = Import, words("listmonk", status)
		return
	}
	left, all := 0, 0
	for state := range strings.SplitSeq(v.of("subscriptionstatus"), ",") {
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
func judgePhpList(e *Entry, v values) {
	for _, column := range []string{"entered", "modified", "lastmodified"} {
		if e.Since.IsZero() {
			e.Since = readTime(v.of(column))
		}
	}
	flag := v.of("blacklisted") + v.of("isthissubscriberblacklisted") + v.of("isthisuserblacklisted")
	disabled := v.of("disabled") + v.of("isthisaccountdisabled")
	confirmed := v.of("confirmed") + v.of("isthissubscriberconfirmed") + v.of("istheemailofthissubscriberconfirmed") + v.of("istheemailofthisuserconfirmed")
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

// judgeMailchimp: Mailchimp writes a file for each state, and a row of one can lack the time of it.
func judgeMailchimp(e *Entry, v values) {
	unsub, left := v("unsubtime")
	clean, cleaned := v("cleantime")
	switch {
	case clean != "" || cleaned && !left:
		e.Reason, e.Since = HardBounce, readTime(clean)
		e.Evidence = words("Mailchimp", "cleaned", v.of("cleancampaigntitle"))
	case unsub != "" || v.of("unsubreason") != "" || left && !cleaned:
		e.Reason, e.Since = Unsubscribe, readTime(unsub)
		e.Evidence = words("Mailchimp", "unsubscribed", v.of("unsubcampaigntitle"), v.of("unsubreason"), v.of("unsubreasonother"))
	default:
		e.Free = "subscribed"
	}
}

func judgeSES(e *Entry, v values) {
	byWord(e, v.of("reason"))
	e.Evidence = words("Amazon SES", v.of("reason"))
}

// judgeSendGridBlocks: a block is a refusal of the sending IP or the content, so the address lives.
func judgeSendGridBlocks(e *Entry, v values) {
	if saysReason(v) {
		judgeTable(e, v)
		return
	}
	e.Free = "blocked: our mail was refused, the address lives"
}

func judgeSendGridBounces(e *Entry, v values) {
	e.Reason, e.Evidence = HardBounce, words("SendGrid bounce", strings.TrimSpace(v.of("status")+" "+v.of("reason")))
}

// judgeSendGridRefusals reads a list that is one of bounces or one of blocks: both have the same columns. The reply says
// which, as it does in a bounce mail.
func judgeSendGridRefusals(e *Entry, v values) {
	if saysReason(v) {
		judgeTable(e, v)
		return
	}
	_, domain, _ := strings.Cut(e.Address, "@")
	if !bounce.Classify(bounce.Reply{Enhanced: v.of("status"), Text: v.of("reason")}, domain).Hard {
		e.Free = "refused, but the reply does not say that the address is dead"
		return
	}
	judgeSendGridBounces(e, v)
}

func judgeSendGridInvalid(e *Entry, v values) {
	if saysReason(v) {
		judgeTable(e, v)
		return
	}
	e.Reason, e.Evidence = HardBounce, words("SendGrid invalid address", v.of("reason"))
}

func judgeSendGridSpam(e *Entry, _ values) {
	e.Reason, e.Evidence = Complaint, "SendGrid spam report"
}

func judgeSendGridUnsubscribes(e *Entry, v values) {
	e.Reason, e.Evidence = Unsubscribe, words("SendGrid unsubscribe", v.of("groupname"))
}

// judgeMautic: the reasons of Mautic's DoNotContact are 1 unsubscribed, 2 bounced, 3 manual, 0 contactable.
func judgeMautic(e *Entry, v values) {
	reason := v.of("dncreason") + v.of("donotcontactreason")
	switch {
	case reason == "1":
		e.Reason = Unsubscribe
	case reason == "2":
		e.Reason = HardBounce
	case reason == "3":
		e.Reason = Manual
	case reason != "" && reason != "0":
		byWord(e, reason)
	case isTrue(v.of("dnc") + v.of("donotcontact")):
		e.Reason = Import
	default:
		e.Free = "contactable"
	}
	e.Evidence = words("Mautic", "do not contact")
}

func judgeBrevo(e *Entry, v values) {
	flag := v.of("emailblacklisted") + v.of("emailblocklisted")
	switch {
	case isTrue(flag):
		e.Reason = Import
	case flag == "" && v.of("emailmarketing") != "":
		byWord(e, v.of("emailmarketing"))
	default:
		e.Free = "not blocklisted"
	}
	e.Evidence = words("Brevo", "blocklisted")
}
