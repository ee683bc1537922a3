// Package campaign reads campaign files and freezes them.
//
// A campaign is one file, YAML front matter and a body, or one file a language:
//
//	campaigns/2026-12-news.md          the campaign 2026-12-news
//	campaigns/2026-12-sale.md          for everybody whose language has no file of its own
//	campaigns/2026-12-sale.ja.md
//
//	Load    files -> Campaign: what the user wrote, checked, with the line of everything
//	Freeze  Campaign + layouts + attachments + sender -> Content: everything a message is made of, in one value
//
// Content is what a campaign's id stands for from its first send on. It is stored whole, so that a run that goes on next
// week sends the same message, whatever has happened to the files since; Diff says in words what has happened to them.
package campaign

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// The formats of a body.
const (
	Markdown = "md"
	HTML     = "html"
	Text     = "txt"
)

// The classes of mail. Operational mail is not advertising: it has no unsubscribe, and only an address that is dead or
// has complained is spared from it.
const (
	Marketing   = "marketing"
	Operational = "operational"
)

// How the text part that mailer makes shows links.
const (
	Inline    = "inline"
	Footnotes = "footnotes"
)

// Campaign is one campaign as its files say it. The embedded Document is the one for everybody without a language of
// their own; where there is no such file, it is the first.
type Campaign struct {
	ID    string
	Class string
	Document
	Variants []Document // every document, the embedded one included
}

// Document is one file.
type Document struct {
	Path   string `json:"path"` // slash-separated, from the workspace
	Format string `json:"format"`
	Lang   string `json:"lang"` // of the file's name or its front matter, else guessed from the text
	// Language is what a contact's language field is compared with: the tag in the file's name. Empty: for everybody.
	Language string         `json:"language"`
	Front    Front          `json:"front"`
	Body     string         `json:"body"` // lines end in \n
	BodyLine int            `json:"body_line"`
	Lines    map[string]int `json:"lines,omitempty"` // where each key of the front matter has its value
	TextPath string         `json:"text_path,omitempty"`
	TextBody string         `json:"text_body,omitempty"` // own text part: the .txt file beside a .md or .html file
}

// Front is the front matter.
type Front struct {
	ID              string  `yaml:"id" json:"id,omitempty"`
	Subject         string  `yaml:"subject" json:"subject"`
	From            string  `yaml:"from" json:"from,omitempty"`         // default: sender.from of mailer.yaml
	ReplyTo         string  `yaml:"reply_to" json:"reply_to,omitempty"` // default: sender.reply_to
	ToName          string  `yaml:"to_name" json:"to_name,omitempty"`   // template of the name in To; default: none
	Preheader       string  `yaml:"preheader" json:"preheader,omitempty"`
	UTM             UTM     `yaml:"utm" json:"utm,omitzero"`
	Layout          string  `yaml:"layout" json:"layout,omitempty"`
	Lang            string  `yaml:"lang" json:"lang,omitempty"`
	LanguageField   string  `yaml:"language_field" json:"language_field,omitempty"`
	DefaultLanguage string  `yaml:"default_language" json:"default_language,omitempty"`
	Segment         string  `yaml:"segment" json:"segment,omitempty"`
	List            string  `yaml:"list" json:"list,omitempty"`
	Class           string  `yaml:"class" json:"class,omitempty"`
	Charset         string  `yaml:"charset" json:"charset,omitempty"`
	Attach          Paths   `yaml:"attach" json:"attach,omitempty"`
	Embed           Paths   `yaml:"embed" json:"embed,omitempty"`
	Headers         Headers `yaml:"headers" json:"headers,omitempty"`
	Text            string  `yaml:"text" json:"text,omitempty"`             // own text part
	TextLinks       string  `yaml:"text_links" json:"text_links,omitempty"` // inline or footnotes
	BaseURL         string  `yaml:"base_url" json:"base_url,omitempty"`     // what relative links are meant from
	NotAfter        string  `yaml:"not_after" json:"not_after,omitempty"`   // nobody gets it any more from then on
	Windows         Spans   `yaml:"windows" json:"windows,omitempty"`       // when it may go, instead of hours.windows of mailer.yaml
	Quiet           Spans   `yaml:"quiet" json:"quiet,omitempty"`           // when it may not, instead of hours.quiet
	Late            string  `yaml:"late" json:"late,omitempty"`             // how late a scheduled send may begin: 1h, always, never
}

// Paths is one path or a list of them, from the workspace.
type Paths []string

// Header is one header field that the front matter adds.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"` // a template
}

// Headers keep the order of the file.
type Headers []Header

// Error is a campaign file that cannot be used, and where.
type Error struct {
	File      string
	Line, Col int // 0: the whole file
	Msg       string
	Hint      string // what to do
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Col > 0 {
		fmt.Fprintf(&b, ":%d", e.Col)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(e.Reason())
	return b.String()
}

// Reason is the error without its place.
func (e *Error) Reason() string {
	if e.Hint == "" {
		return e.Msg
	}
	return e.Msg + "; " + e.Hint
}

var idPattern = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]{0,99}$`)

// checkID keeps ids to what can be typed without quotes: an id names the campaign on the command line and in reports.
func checkID(id string) error {
	if idPattern.MatchString(id) {
		return nil
	}
	return fmt.Errorf("%q cannot be a campaign's id: letters, digits, '.', '_' and '-', at most 100", id)
}

// guessLang tells Japanese, which kana give away, from everything else; it decides the words of a layout's footer.
func guessLang(text string) string {
	for _, r := range text {
		if unicode.In(r, unicode.Hiragana, unicode.Katakana) {
			return "ja"
		}
	}
	return "en"
}
