package arrival

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // reads all charsets that mail has
)

// Kinds of differences.
const (
	HeaderChanged    = "header_changed"
	HeaderRemoved    = "header_removed"
	HeaderDuplicated = "header_duplicated"
	HeaderAdded      = "header_added" // a field of a name that is signed though we did not write it
	FooterAdded      = "footer_added"
	LinksRewritten   = "links_rewritten"
	Reencoded        = "reencoded"
	CharsetChanged   = "charset_changed"
	PartAdded        = "part_added"
	PartRemoved      = "part_removed"
	SpaceChanged     = "space_changed" // line breaks or blanks
	TextChanged      = "text_changed"
)

// Difference is one thing that happened to a message on its way.
type Difference struct {
	Kind  string
	Field string // of the header; empty: the body
	Text  string // in words
}

// ofInterest are fields that nobody on the way has to add or to touch.
var ofInterest = []string{"From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "Sender", "MIME-Version", "Content-Type",
	"Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post", "List-ID", "List-Help", "Feedback-ID"}

// Compare says how what arrived differs from what was sent. White space in header fields is not looked at, nor what
// servers add above.
func Compare(sent, got Mail) []Difference {
	return append(compareHeaders(sent, got), compareBodies(sent, got)...)
}

func compareHeaders(sent, got Mail) []Difference {
	var all []Difference
	seen := map[string]bool{}
	for _, f := range sent.Fields {
		key := strings.ToLower(f.Name)
		if seen[key] || key == "dkim-signature" && carries(got, sent.All(f.Name)) { // others sign above ours
			continue
		}
		seen[key] = true
		all = append(all, compareField(f.Name, sent.All(f.Name), got.All(f.Name))...)
	}
	for _, name := range ofInterest {
		if key := strings.ToLower(name); !seen[key] && len(got.All(name)) > 0 {
			all = append(all, Difference{HeaderAdded, name, fmt.Sprintf("%s was added: %s", name, short(got.Get(name)))})
		}
	}
	return all
}

// carries reports whether all values still stand in the header.
func carries(m Mail, values []string) bool {
	var have []string
	for _, v := range m.All("DKIM-Signature") {
		have = append(have, bare(v))
	}
	for _, v := range values {
		if !slices.Contains(have, bare(v)) {
			return false
		}
	}
	return true
}

// bare is a text without white space: a server may fold a field at another place.
func bare(s string) string { return strings.Join(strings.Fields(s), "") }

func compareField(name string, sent, got []string) []Difference {
	switch {
	case len(got) == 0:
		return []Difference{{HeaderRemoved, name, name + " was removed"}}
	case len(got) > len(sent):
		return []Difference{{HeaderDuplicated, name, fmt.Sprintf("%s is there %d times, and %d were sent", name, len(got), len(sent))}}
	case len(got) < len(sent):
		return []Difference{{HeaderRemoved, name, fmt.Sprintf("%s is there %d times, and %d were sent", name, len(got), len(sent))}}
	}
	var all []Difference
	for i := range sent {
		if sent[i] == got[i] {
			continue
		}
		d := Difference{HeaderChanged, name, fmt.Sprintf("%s was changed: %s became %s", name, short(sent[i]), short(got[i]))}
		switch {
		case bare(sent[i]) == bare(got[i]):
			d.Text = name + " was folded at another place, and a blank came in or went"
		case decoded(sent[i]) == decoded(got[i]):
			d.Text = name + " says the same in another encoding: " + short(got[i])
		}
		all = append(all, d)
	}
	return all
}

func decoded(s string) string {
	var h message.Header
	h.Set("X", s)
	text, err := h.Text("X")
	if err != nil {
		return s
	}
	return unfold(text)
}

// short is a text for a line of evidence.
func short(s string) string {
	const most = 120
	r := []rune(unfold(s))
	if len(r) > most {
		return `"` + string(r[:most]) + `…"`
	}
	return `"` + string(r) + `"`
}

// leaf is a part that holds no others.
type leaf struct {
	kind     string // text/plain
	charset  string
	encoding string
	content  []byte // decoded, in UTF-8 where it is text
}

// most bounds the parts and the depth that are looked at.
const (
	mostParts = 200
	mostDepth = 20
)

// leaves are the parts of a message in their order.
func (m Mail) leaves() []leaf {
	var b bytes.Buffer
	for _, f := range m.Fields {
		b.WriteString(f.Raw + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(m.Body)
	e, err := message.Read(&b)
	if e == nil || err != nil && !readable(err) {
		return nil
	}
	var all []leaf
	walk(e, 0, &all)
	return all
}

func readable(err error) bool { return message.IsUnknownCharset(err) || message.IsUnknownEncoding(err) }

func walk(e *message.Entity, depth int, all *[]leaf) {
	if r := e.MultipartReader(); r != nil && depth < mostDepth {
		for n := 0; n < mostParts && len(*all) < mostParts; n++ {
			part, err := r.NextPart()
			if part == nil || err != nil && !readable(err) {
				return
			}
			walk(part, depth+1, all)
		}
		return
	}
	kind, params, _ := e.Header.ContentType()
	content, err := io.ReadAll(e.Body)
	if err != nil && len(content) == 0 {
		return
	}
	encoding := strings.ToLower(strings.TrimSpace(e.Header.Get("Content-Transfer-Encoding")))
	if encoding == "" {
		encoding = "7bit"
	}
	*all = append(*all, leaf{kind: strings.ToLower(kind), charset: strings.ToLower(params["charset"]), encoding: encoding, content: content})
}

func compareBodies(sent, got Mail) []Difference {
	if bytes.Equal(relaxed(sent.Body), relaxed(got.Body)) {
		return nil
	}
	ours, theirs := sent.leaves(), got.leaves()
	if len(theirs) == 0 {
		return []Difference{{Kind: TextChanged, Text: "the body cannot be read as the message that was sent"}}
	}
	var all []Difference
	used := make([]bool, len(theirs))
	pairs := pair(ours, theirs)
	for i, j := range pairs {
		if j < 0 {
			all = append(all, Difference{Kind: PartRemoved, Text: "the part " + ours[i].kind + " was removed"})
			continue
		}
		used[j] = true
		all = append(all, compareParts(ours[i], theirs[j])...)
	}
	for j, l := range theirs {
		if used[j] {
			continue
		}
		d := Difference{Kind: PartAdded, Text: fmt.Sprintf("a part %s was added", l.kind)}
		if strings.HasPrefix(l.kind, "text/") {
			d.Text += ": " + short(string(l.content))
		}
		all = append(all, d)
	}
	if len(all) == 0 {
		all = append(all, Difference{Kind: SpaceChanged, Text: "the parts are the same, and what stands between them was written anew (boundaries, blank lines)"})
	}
	return all
}

// relaxed is the body as relaxed canonicalization has it (RFC 6376 section 3.4.4): what it hides breaks no signature of ours.
func relaxed(body []byte) []byte {
	var out []byte
	for line := range bytes.Lines(body) {
		line = bytes.TrimRight(line, " \t\r\n")
		blank := false
		for _, c := range line {
			if c == ' ' || c == '\t' {
				blank = true
				continue
			}
			if blank {
				out, blank = append(out, ' '), false
			}
			out = append(out, c)
		}
		out = append(out, '\n')
	}
	return append(bytes.TrimRight(out, "\n"), '\n')
}

// pair finds to each part of ours what became of it: the next of its kind that begins alike, else the next of its kind.
func pair(ours, theirs []leaf) []int {
	pairs := make([]int, len(ours))
	used := make([]bool, len(theirs))
	for i, l := range ours {
		pairs[i] = -1
		best := -1
		for j, t := range theirs {
			if used[j] || t.kind != l.kind {
				continue
			}
			if score := alike(l.content, t.content); score > best {
				pairs[i], best = j, score
			}
		}
		if pairs[i] >= 0 {
			used[pairs[i]] = true
		}
	}
	return pairs
}

// alike is how much two contents share at their beginning.
func alike(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func compareParts(a, b leaf) []Difference {
	var all []Difference
	if a.encoding != b.encoding {
		all = append(all, Difference{Kind: Reencoded, Text: fmt.Sprintf("%s was re-encoded from %s to %s", a.kind, a.encoding, b.encoding)})
	}
	if charset(a) != charset(b) {
		all = append(all, Difference{Kind: CharsetChanged, Text: fmt.Sprintf("%s went from charset %s to %s", a.kind, charset(a), charset(b))})
	}
	if bytes.Equal(relaxed(a.content), relaxed(b.content)) {
		return all
	}
	if !strings.HasPrefix(a.kind, "text/") {
		return append(all, Difference{Kind: TextChanged, Text: fmt.Sprintf("the content of the part %s was changed", a.kind)})
	}
	return append(all, compareTexts(a.kind, string(a.content), string(b.content))...)
}

func charset(l leaf) string {
	if l.charset == "" && strings.HasPrefix(l.kind, "text/") {
		return "us-ascii"
	}
	return l.charset
}

var link = regexp.MustCompile(`(?i)\b(?:https?://|mailto:)[^\s"'<>)\]]+`)

func compareTexts(kind, a, b string) []Difference {
	var all []Difference
	before, after := links(kind, a), links(kind, b)
	if n, example := rewritten(before, after); n > 0 {
		all = append(all, Difference{Kind: LinksRewritten, Text: fmt.Sprintf("%d of %d links in %s were rewritten, such as %s", n, len(before), kind, example)})
		a, b = link.ReplaceAllString(a, "·"), link.ReplaceAllString(b, "·")
	}
	if bare(a) == bare(b) {
		if len(all) == 0 {
			all = append(all, Difference{Kind: SpaceChanged, Text: "line breaks or blanks in " + kind + " were changed"})
		}
		return all
	}
	ours, theirs := words(kind, a), words(kind, b)
	head := 0
	for head < len(ours) && head < len(theirs) && ours[head] == theirs[head] {
		head++
	}
	ours, theirs = ours[head:], theirs[head:]
	tail := 0
	for tail < len(ours) && tail < len(theirs) && ours[len(ours)-1-tail] == theirs[len(theirs)-1-tail] {
		tail++
	}
	rest := theirs[len(theirs)-tail:]
	gone, come := strings.Join(ours[:len(ours)-tail], " "), strings.Join(theirs[:len(theirs)-tail], " ")
	switch {
	case gone == "" && ends(rest):
		all = append(all, Difference{Kind: FooterAdded, Text: fmt.Sprintf("a footer was added to %s: %s", kind, short(come))})
	case gone == "":
		all = append(all, Difference{Kind: TextChanged, Text: fmt.Sprintf("text was put into %s: %s", kind, short(come))})
	case come == "":
		all = append(all, Difference{Kind: TextChanged, Text: fmt.Sprintf("text was taken out of %s: %s", kind, short(gone))})
	default:
		all = append(all, Difference{Kind: TextChanged, Text: fmt.Sprintf("the text of %s was changed: %s became %s", kind, short(gone), short(come))})
	}
	return all
}

// words are what a text is compared by; a tag of HTML is a word of its own.
func words(kind, text string) []string {
	if kind == "text/html" {
		text = strings.NewReplacer("<", " <", ">", "> ").Replace(text)
	}
	return strings.Fields(text)
}

// ends reports whether nothing but the end of a page follows.
func ends(rest []string) bool {
	return !slices.ContainsFunc(rest, func(word string) bool { return !strings.HasPrefix(word, "</") || !strings.HasSuffix(word, ">") })
}

func links(kind, text string) []string {
	all := link.FindAllString(text, -1)
	if kind == "text/html" {
		for i := range all {
			all[i] = html.UnescapeString(all[i])
		}
	}
	return all
}

// rewritten counts the links that are gone, where as many are there as before: more come in with a footer.
func rewritten(before, after []string) (n int, example string) {
	have := map[string]bool{}
	for _, l := range after {
		have[l] = true
	}
	for i, l := range before {
		if have[l] || len(after) < len(before) {
			continue
		}
		if n++; n == 1 {
			example = l + " -> " + after[i]
		}
	}
	return n, example
}
