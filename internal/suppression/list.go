package suppression

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailer/internal/contact"

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
	columns columns // of a table; empty: of a plain list; nil: not known yet
}

// columns are the places of the columns of a table, by their names as columnKey folds them.
type columns map[string]int

func (c columns) has(name string) bool { _, ok := c[name]; return ok }

// only reports whether there is no column but these.
func (c columns) only(names ...string) bool {
	for name := range c {
		if !slices.Contains(names, name) {
			return false
		}
	}
	return true
}

// values is the row of a list: a cell by the folded name of its column, and whether there is such a column.
type values func(column string) (cell string, have bool)

func (v values) of(column string) string {
	cell, _ := v(column)
	return cell
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

// HeaderError says that a table has no column of addresses that is known.
type HeaderError struct{ Names []string }

func (e *HeaderError) Error() string {
	return fmt.Sprintf("no column is named as a mail address; the columns are %s", strings.Join(e.Names, ", "))
}

// Row reads one row. ok is false for a row that is no entry: the header, a comment. The error is a *HeaderError: to take
// such a table for a list of addresses would suppress everybody in it.
func (l *List) Row(line int64, cells []string) (e Entry, ok bool, err error) {
	if len(cells) == 0 || len(l.columns) == 0 && strings.HasPrefix(cells[0], "#") { // in a table it may begin an address
		return Entry{}, false, nil
	}
	if l.columns == nil {
		if columns := header(cells); columns != nil {
			l.columns = columns
			l.recognise(columns)
			return Entry{}, false, nil
		}
		if !slices.ContainsFunc(cells, holdsAt) && l.tool.name != Plain {
			if names := filled(cells); len(names) > 1 {
				return Entry{}, false, &HeaderError{names}
			}
			return Entry{Line: line, Address: firstAddress(cells)}, true, nil // a title, or a slip: what comes behind decides
		}
		l.columns = columns{}
		if l.tool.name == unknown {
			*l.tool = *toolNamed(Plain)
		}
	}
	if len(l.columns) == 0 {
		return l.judge(line, Entry{Address: firstAddress(cells)}, func(string) (string, bool) { return "", false }), true, nil
	}
	value := func(column string) (string, bool) {
		i, ok := l.columns[column]
		if ok && i < len(cells) {
			return strings.TrimSpace(cells[i]), true
		}
		return "", ok
	}
	return l.judge(line, Entry{Address: values(value).of("address")}, value), true, nil
}

// holdsAt reports whether a cell may be an address.
func holdsAt(cell string) bool { return strings.ContainsAny(cell, "@＠") }

// filled is the cells that hold something.
func filled(cells []string) (all []string) {
	for _, cell := range cells {
		if cell = strings.TrimSpace(cell); cell != "" {
			all = append(all, cell)
		}
	}
	return all
}

// Object reads one object of a JSON list. ok is false for one that holds no address.
func (l *List) Object(number int64, members map[string]string) (e Entry, ok bool) {
	c, byKey := columns{}, map[string]string{}
	best := 0
	for _, name := range slices.Sorted(maps.Keys(members)) {
		key, rank := columnKey(name), addressRank(name)
		if key != "address" {
			c[key], byKey[key] = 0, members[name]
		}
		if rank > best && members[name] != "" {
			best, byKey["address"] = rank, members[name]
		}
	}
	if best == 0 {
		return Entry{}, false
	}
	c["address"] = 0
	if l.tool.name == unknown {
		l.recognise(c)
	}
	return l.judge(number, Entry{Address: byKey["address"]}, func(column string) (string, bool) {
		cell, have := byKey[column]
		return strings.TrimSpace(cell), have
	}), true
}

func (l *List) judge(line int64, e Entry, v values) Entry {
	e.Line = line
	for _, column := range []string{"since", "created", "createdat", "lastupdatetime", "date", "time"} {
		if e.Since.IsZero() {
			e.Since = readTime(v.of(column))
		}
	}
	l.tool.judge(&e, v)
	return e
}

// recognise finds the tool by its columns. The first that fits wins.
func (l *List) recognise(c columns) {
	if l.tool.sure {
		return
	}
	file := l.tool.file
	for i := range tools {
		if t := &tools[i]; t.fits != nil && t.fits(c, file) {
			found := *t
			l.tool = &found
			return
		}
	}
	l.tool = toolNamed(Table)
}

// weakAddressColumns are names of the column of the address, unless another one is named surely: an address can be one of
// the post, a key a number.
var weakAddressColumns = []string{"address", "mail", "recipient", "key", "メール", "アドレス"}

// addressRank says how surely a column holds the addresses: 2 surely, 1 if no other one does, 0 not.
func addressRank(name string) int {
	key := columnKey(name)
	switch {
	case key == "subscriberemail" || key == "contactemail" || contact.RoleOf(name) == contact.Address:
		return 2
	case slices.Contains(weakAddressColumns, key):
		return 1
	}
	return 0
}

// columnKey folds case, width, spaces and hyphens of a column's name.
func columnKey(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" _-\t\ufeff?", r) {
			return -1
		}
		return r
	}, strings.ToLower(norm.NFKC.String(name)))
}

// header returns the columns of a first row that names them, nil for a row that is an entry already. The first column that
// is surely the address is it.
func header(cells []string) columns {
	c := columns{}
	best, at := 0, 0
	for i, cell := range cells {
		if holdsAt(cell) {
			return nil
		}
		if rank := addressRank(cell); rank > best {
			best, at = rank, i
		}
		if key := columnKey(cell); !c.has(key) {
			c[key] = i
		}
	}
	if best == 0 {
		return nil
	}
	delete(c, columnKey(cells[at]))
	c["address"] = at
	return c
}

// firstAddress is the first cell that looks like an address, else the first.
func firstAddress(cells []string) string {
	for _, cell := range cells {
		if holdsAt(cell) {
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

// isFalse reads a flag of a tool that says no.
func isFalse(s string) bool {
	n, err := strconv.ParseFloat(s, 64)
	switch strings.ToLower(s) {
	case "false", "no", "n", "f", "off", "-", "いいえ":
		return true
	}
	return err == nil && n == 0 || strings.HasPrefix(s, "0000-00-00")
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
