package suppression

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

// Entry is one line of a list of suppressions. What the list does not say is empty.
type Entry struct {
	Line                            int64
	Address                         string // as written; with Scope "domain" a domain
	Scope, Blocks, Reason, Evidence string
	Since                           time.Time
	Free                            string // why the list does not suppress this address: it stands there as a good one
}

// List reads the rows of a list of suppressions, whichever tool wrote it. The first row that is no comment decides.
type List struct {
	tool    *tool
	columns map[string]int
}

// NewList is a list that a tool of this name wrote; "" or "auto" finds it out. file is the list's file name, in which some
// tools say what it is.
func NewList(name, file string) (*List, error) {
	if name == "" || name == "auto" {
		return &List{tool: &tool{name: unknown, file: strings.ToLower(file)}}, nil
	}
	for i := range tools {
		if tools[i].name == name {
			t := tools[i]
			t.sure = true
			return &List{tool: &t}, nil
		}
	}
	return nil, fmt.Errorf("%q is no tool whose lists are known: choose one of auto %s", name, strings.Join(Tools(), " "))
}

// Tools lists the names that NewList takes.
func Tools() []string {
	var names []string
	for _, t := range tools {
		names = append(names, t.name)
	}
	return names
}

// Tool is the name of the tool that the list comes from, as far as it is known by now.
func (l *List) Tool() string { return l.tool.name }

// Words says what was recognised, for people.
func (l *List) Words() string { return l.tool.words }

// Row reads one row. ok is false for a row that is no entry: the header, a comment.
func (l *List) Row(line int64, cells []string) (e Entry, ok bool) {
	if len(cells) == 0 || len(l.columns) == 0 && strings.HasPrefix(cells[0], "#") { // in a table it may begin an address
		return Entry{}, false
	}
	if l.columns == nil {
		if columns := header(cells); columns != nil {
			l.columns = columns
			l.recognise(columns)
			return Entry{}, false
		}
		l.columns = map[string]int{}
		if l.tool.name == unknown {
			*l.tool = *toolNamed(Plain)
		}
	}
	if len(l.columns) == 0 {
		e := Entry{Address: firstAddress(cells)}
		return l.judge(line, e, func(string) string { return "" }), true
	}
	value := func(column string) string {
		if i, ok := l.columns[column]; ok && i < len(cells) {
			return strings.TrimSpace(cells[i])
		}
		return ""
	}
	return l.judge(line, Entry{Address: value("address")}, value), true
}

// Object reads one object of a JSON list. ok is false for one that holds no address.
func (l *List) Object(number int64, values map[string]string) (e Entry, ok bool) {
	columns := map[string]int{}
	byKey := map[string]string{}
	for name, value := range values {
		key := columnKey(name)
		columns[key], byKey[key] = 0, value
	}
	if columns["address"] = 0; byKey["address"] == "" {
		return Entry{}, false
	}
	if l.tool.name == unknown {
		l.recognise(columns)
	}
	return l.judge(number, Entry{Address: byKey["address"]}, func(column string) string { return strings.TrimSpace(byKey[column]) }), true
}

func (l *List) judge(line int64, e Entry, value func(string) string) Entry {
	e.Line = line
	for _, column := range []string{"since", "created", "createdat", "lastupdatetime", "date", "time"} {
		if e.Since.IsZero() {
			e.Since = readTime(value(column))
		}
	}
	l.tool.judge(&e, value)
	return e
}

// recognise finds the tool by its columns. The first that fits wins.
func (l *List) recognise(columns map[string]int) {
	if l.tool.sure {
		return
	}
	file := l.tool.file
	for i := range tools {
		if t := &tools[i]; t.fits != nil && t.fits(func(name string) bool { _, ok := columns[name]; return ok }, file) {
			found := *t
			l.tool = &found
			return
		}
	}
	l.tool = toolNamed(Table)
}

// addressColumns are the names of the column that holds the address, as columnKey folds them.
var addressColumns = []string{"address", "email", "mail", "emailaddress", "mailaddress", "recipient", "key", "subscriberemail", "contactemail", "メールアドレス", "メール", "アドレス", "eメール"}

// columnKey folds case, width, spaces and hyphens of a column's name.
func columnKey(name string) string {
	key := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" _-\t\ufeff?", r) {
			return -1
		}
		return r
	}, strings.ToLower(norm.NFKC.String(name)))
	if slices.Contains(addressColumns, key) {
		return "address"
	}
	return key
}

// header returns the columns of a first row that names them, nil for a row that is an entry already.
func header(cells []string) map[string]int {
	columns := map[string]int{}
	for i, cell := range cells {
		if strings.Contains(cell, "@") {
			return nil
		}
		key := columnKey(cell)
		if _, have := columns[key]; !have {
			columns[key] = i
		}
	}
	if _, ok := columns["address"]; !ok {
		return nil
	}
	return columns
}

// firstAddress is the first cell that looks like an address, else the first.
func firstAddress(cells []string) string {
	for _, cell := range cells {
		if strings.Contains(cell, "@") {
			return strings.TrimSpace(cell)
		}
	}
	return strings.TrimSpace(cells[0])
}

// timeLayouts are the forms in which tools write a time; one without a zone is UTC, as with Mailchimp and SendGrid.
var timeLayouts = []string{
	time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 -0700 MST", "2006-01-02 15:04:05 MST",
	"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02", "2006/01/02 15:04:05", "2006/1/2 15:04", "2006/1/2",
	"1/2/2006 3:04:05 PM", "Jan 2, 2006 3:04:05 PM", "Jan 2, 2006",
}

// readTime reads a time or the seconds, or milliseconds, since 1970. What is no time is none: the entry counts all the same.
func readTime(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		switch {
		case n >= 1e8 && n < 1e11:
			return time.Unix(int64(n), 0)
		case n >= 1e11 && n < 1e14:
			return time.UnixMilli(int64(n))
		}
		return time.Time{}
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 1970 {
			return t
		}
	}
	return time.Time{}
}

// words joins what a tool says about an entry into one line of evidence.
func words(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, ": ")
}

// isTrue reads a flag of a tool.
func isTrue(s string) bool {
	n, err := strconv.ParseFloat(s, 64)
	switch strings.ToLower(s) {
	case "true", "yes", "y", "t", "on":
		return true
	}
	return err == nil && n != 0
}

// reasonWords are what tools call the reasons.
var reasonWords = map[string]string{
	"unsubscribe": Unsubscribe, "unsubscribed": Unsubscribe, "unsub": Unsubscribe, "optout": Unsubscribe, "optedout": Unsubscribe, "配信停止": Unsubscribe,
	"解除": Unsubscribe, "退会": Unsubscribe, "配信解除": Unsubscribe,
	"bounce": HardBounce, "bounced": HardBounce, "hard": HardBounce, "hardbounce": HardBounce, "hardbounced": HardBounce, "cleaned": HardBounce,
	"invalid": HardBounce, "invalidemail": HardBounce, "undeliverable": HardBounce, "permanent": HardBounce, "エラー": HardBounce, "不達": HardBounce,
	"softbounces": SoftBounces,
	"complaint":   Complaint, "complained": Complaint, "spam": Complaint, "spamreport": Complaint, "spamcomplaint": Complaint, "abuse": Complaint,
	"manual": Manual, "blocklisted": Import, "blacklisted": Import, "blocked": Import, "suppressed": Import, "import": Import, "forgotten": Forgotten, "disabled": Import,
}

// freeWords are what tools call an address that is fine, or not dead.
var freeWords = map[string]bool{
	"enabled": true, "active": true, "subscribed": true, "confirmed": true, "unconfirmed": true, "pending": true, "valid": true, "soft": true,
	"softbounce": true, "transient": true, "配信中": true, "有効": true,
}

// reasonKey folds a word of a tool.
func reasonKey(s string) string {
	return strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(norm.NFKC.String(s)))
}

// byWord judges an entry by the one word that a tool has for it. An unknown one is kept: whoever imports it decides.
func byWord(e *Entry, word string) {
	key := reasonKey(word)
	if freeWords[key] {
		e.Free = word
		return
	}
	e.Reason = cmp.Or(reasonWords[key], word)
}
