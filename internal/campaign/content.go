package campaign

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"mailer/internal/address"
	"mailer/internal/spelling"
	"mailer/templates"
)

// Content is everything a campaign's messages are made of, as one JSON value. Nothing else is read when one is rendered.
type Content struct {
	ID              string    `json:"id"`
	Class           string    `json:"class"`
	LanguageField   string    `json:"language_field,omitempty"` // empty: the fields lang and language are tried
	DefaultLanguage string    `json:"default_language,omitempty"`
	Variants        []Variant `json:"variants"`
	Sender          Sender    `json:"sender"`
	Timezone        string    `json:"timezone"`
}

// Sender is who the mail is from, as mailer.yaml said it.
type Sender struct {
	From          string `json:"from"`
	ReplyTo       string `json:"reply_to,omitempty"`
	Organization  string `json:"organization,omitempty"`
	PostalAddress string `json:"postal_address,omitempty"`

	Identities map[string]Sender `json:"-"` // the others that from: may name
}

// Variant is one document with what its message takes in. A nil layout: the body is the whole part.
type Variant struct {
	Document
	Sender     *Sender   `json:"sender,omitempty"` // whom from: names; nil: the campaign's
	HTMLLayout *Layout   `json:"html_layout,omitempty"`
	TextLayout *Layout   `json:"text_layout,omitempty"`
	Partials   []Partial `json:"partials,omitempty"` // by name
	Attach     []File    `json:"attach_files,omitempty"`
	Embed      []File    `json:"embed_files,omitempty"`
	// AttachPaths are templates of paths: each recipient's own files, which are read when the message is made.
	AttachPaths []string `json:"attach_paths,omitempty"`
}

// Layout is the frame of a part.
type Layout struct {
	Name    string `json:"name"`
	Source  string `json:"source"`
	Builtin bool   `json:"builtin,omitempty"`
}

// File is a file that goes with the message.
type File struct {
	Name    string `json:"name"` // as the recipient sees it
	Content []byte `json:"content"`
}

// AttachmentError is a file of attach: or embed: that cannot be taken in.
type AttachmentError struct {
	Campaign string // the campaign's file
	Line     int
	Key      string // attach or embed
	Path     string
	Err      error
}

func (e *AttachmentError) Error() string {
	return fmt.Sprintf("%s:%d: %s", e.Campaign, e.Line, e.Reason())
}

// Reason is the error without its place.
func (e *AttachmentError) Reason() string {
	err := reason(e.Err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = errors.New("there is no such file")
	case errors.Is(err, fs.ErrInvalid):
		err = errors.New("the path leads out of the workspace")
	}
	return fmt.Sprintf("%s %s: %v; paths are meant from the workspace's folder", e.Key, e.Path, err)
}

// reason is a file's error without its path.
func reason(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Unwrap gives the underlying error.
func (e *AttachmentError) Unwrap() error { return e.Err }

// MaxFiles bounds what goes with one message: relays refuse more, and every byte is sent to everybody.
const MaxFiles = 25 << 20

// Freeze reads what a campaign refers to, from the workspace and from the layouts that mailer brings along.
func Freeze(workspace fs.FS, c *Campaign, s Sender, timezone string) (Content, error) {
	out := Content{ID: c.ID, Class: c.Class, Sender: s, Timezone: timezone,
		LanguageField: c.Front.LanguageField, DefaultLanguage: c.Front.DefaultLanguage}
	for _, d := range c.Variants {
		identity, err := d.identify(s)
		if err != nil {
			return Content{}, err
		}
		v, err := freeze(workspace, d)
		if err != nil {
			return Content{}, err
		}
		v.Sender = identity
		out.Variants = append(out.Variants, v)
	}
	return out, nil
}

// identify resolves a from: that is the name of an identity. What that one does not say is the workspace's.
func (d *Document) identify(s Sender) (*Sender, error) {
	name := d.Front.From
	if name == "" || strings.Contains(name, "@") {
		return nil, nil
	}
	i, ok := s.Identities[name]
	if !ok {
		names := slices.Sorted(maps.Keys(s.Identities))
		hint := "it is an address, or the name of one of sender.identities in mailer.yaml"
		if near := spelling.Nearest(name, names); near != "" {
			hint += fmt.Sprintf("; did you mean %q?", near)
		}
		return nil, d.errorAt("from", fmt.Sprintf("from %q is no address and no identity", name), hint)
	}
	d.Front.From = i.From
	if i.Organization == "" {
		i.Organization = s.Organization
	}
	if i.PostalAddress == "" {
		i.PostalAddress = s.PostalAddress
	}
	if i.ReplyTo == "" && sameAddress(i.From, s.From) {
		i.ReplyTo = s.ReplyTo
	}
	return &i, nil
}

// sameAddress: answers to another address than the sender's go there, unless the identity says where.
func sameAddress(a, b string) bool {
	x, errX := address.Parse(a)
	y, errY := address.Parse(b)
	return errX == nil && errY == nil && x.Key == y.Key
}

func freeze(workspace fs.FS, d Document) (Variant, error) {
	v := Variant{Document: d}
	name := d.layout()
	if name != "none" {
		var err error
		if v.HTMLLayout, v.TextLayout, err = layouts(workspace, d, name); err != nil {
			return v, err
		}
	}
	var err error
	if v.Partials, err = partials(workspace, &v); err != nil {
		return v, err
	}
	for _, l := range []*Layout{v.HTMLLayout, v.TextLayout} {
		if l != nil && !l.takesBody(v.Partials) {
			return v, &Error{File: l.Name, Msg: "the layout leaves the campaign's text out", Hint: `put {{template "body" .}} where it belongs`}
		}
	}
	var common []string
	for _, p := range d.Front.Attach {
		if strings.Contains(p, "{{") {
			v.AttachPaths = append(v.AttachPaths, p)
		} else {
			common = append(common, p)
		}
	}
	if v.Attach, err = readFiles(workspace, d, "attach", common); err != nil {
		return v, err
	}
	if v.Embed, err = readFiles(workspace, d, "embed", d.Front.Embed); err != nil {
		return v, err
	}
	size := 0
	for _, f := range slices.Concat(v.Attach, v.Embed) {
		size += len(f.Content)
	}
	if size > MaxFiles {
		return v, d.errorAt("attach", fmt.Sprintf("the files of one message have %d MB", size>>20), fmt.Sprintf("keep them under %d MB", MaxFiles>>20))
	}
	return v, nil
}

var bodyCall = regexp.MustCompile("\\{\\{-?\\s*(template|block)\\s+[\"`]body[\"`]")

// takesBody: the layout has a place for the campaign's text, or a partial has.
func (l *Layout) takesBody(partials []Partial) bool {
	return bodyCall.MatchString(l.Source) || slices.ContainsFunc(partials, func(p Partial) bool {
		return p.HTML != nil && bodyCall.MatchString(p.HTML.Source) || p.Text != nil && bodyCall.MatchString(p.Text.Source)
	})
}

var wholePage = regexp.MustCompile(`(?i)^\s*(<!--.*?-->\s*)*<(!doctype|html)[\s>]`)

// layout is the name of the layout: a body that is a whole HTML page needs none.
func (d Document) layout() string {
	switch {
	case d.Front.Layout != "":
		return d.Front.Layout
	case d.Format == HTML && wholePage.MatchString(d.Body):
		return "none"
	}
	return "default"
}

// layouts finds NAME.html and NAME.txt. A file that is there and cannot be used is an error: mailer's own in its place
// would be a surprise. A layout of the user's own without a text side takes the default one's, so
// that the text part has its footer too.
func layouts(workspace fs.FS, d Document, name string) (html, text *Layout, err error) {
	if d.Format != Text {
		html, err = layout(workspace, name+".html")
	}
	if errors.Is(err, fs.ErrNotExist) {
		hint := fmt.Sprintf("write templates/layouts/%s.html, or use one of %s, or none", name, strings.Join(builtin(), ", "))
		if near := spelling.Nearest(name, builtin()); near != "" {
			hint = fmt.Sprintf("did you mean %q? Or %s", near, hint)
		}
		return nil, nil, d.errorAt("layout", fmt.Sprintf("there is no layout %q", name), hint)
	}
	if err != nil {
		return nil, nil, err
	}
	if text, err = layout(workspace, name+".txt"); errors.Is(err, fs.ErrNotExist) {
		text, err = layout(workspace, "default.txt")
	}
	return html, text, err
}

func layout(workspace fs.FS, file string) (*Layout, error) {
	if !fs.ValidPath(file) || strings.Contains(file, "/") {
		return nil, fs.ErrNotExist
	}
	own, err := readLayout(workspace, "templates/layouts/"+file)
	if errors.Is(err, fs.ErrNotExist) {
		return embedded("layouts/" + file)
	}
	return own, err
}

func readLayout(workspace fs.FS, name string) (*Layout, error) {
	source, err := fs.ReadFile(workspace, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	} else if err != nil {
		return nil, &Error{File: name, Msg: fmt.Sprintf("the file cannot be read: %v", reason(err))}
	}
	text, err := readable(name, source)
	if err != nil {
		return nil, err
	}
	return &Layout{Name: name, Source: text}, nil
}

// embedded is one that mailer brings along.
func embedded(name string) (*Layout, error) {
	l, err := readLayout(templates.FS, name)
	if err == nil {
		l.Name, l.Builtin = "templates/"+name, true
	}
	return l, err
}

func builtin() []string {
	entries, _ := fs.ReadDir(templates.FS, "layouts") // embedded: cannot fail
	var names []string
	for _, e := range entries {
		if n, ok := strings.CutSuffix(e.Name(), ".html"); ok {
			names = append(names, n)
		}
	}
	return names
}

// private are the files that hold passwords, keys and everybody's address.
func private(file string) bool {
	file = strings.ToLower(file)
	return file == "mailer.yaml" || strings.HasPrefix(file, "mailer.db") || strings.HasPrefix(file, "secrets/") || strings.HasPrefix(file, "dkim/")
}

func readFiles(workspace fs.FS, d Document, key string, paths []string) ([]File, error) {
	var files []File
	for _, p := range paths {
		clean := path.Clean(strings.ReplaceAll(p, `\`, "/"))
		content, err := []byte(nil), fs.ErrInvalid
		if private(clean) {
			err = errors.New("it is the workspace's own, with its keys, and is for nobody")
		} else if fs.ValidPath(clean) {
			content, err = fs.ReadFile(workspace, clean)
		}
		if err != nil {
			return nil, &AttachmentError{Campaign: d.Path, Line: d.Lines[key], Key: key, Path: p, Err: err}
		}
		files = append(files, File{Name: path.Base(clean), Content: content})
	}
	return files, nil
}

// Decode reads a stored Content back.
func Decode(text string) (Content, error) {
	var c Content
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return Content{}, fmt.Errorf("read the frozen campaign: %w", err)
	}
	return c, nil
}

// Encode is the stored form.
func (c Content) Encode() (string, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("store the campaign: %w", err)
	}
	return string(b), nil
}

// Hash names the content. What a reader of the mail cannot see is left out: where a file is and where its lines are, and
// the text of a layout that came with mailer (an upgrade is not an edit; the frozen one is sent).
func (c Content) Hash() string {
	c.Variants = slices.Clone(c.Variants)
	for i := range c.Variants {
		v := &c.Variants[i]
		v.Path, v.BodyLine, v.Lines = "", 0, nil
		v.HTMLLayout, v.TextLayout = v.HTMLLayout.identity(), v.TextLayout.identity()
		v.Partials = ownPartials(v.Partials)
		v.TextPath = ""
	}
	b, err := json.Marshal(c)
	if err != nil { // strings, numbers and bytes only
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (l *Layout) identity() *Layout {
	if l == nil || !l.Builtin {
		return l
	}
	return &Layout{Name: l.Name, Builtin: true}
}

// Diff says in words what differs between the frozen content and the files of today.
func Diff(frozen, now Content) []string {
	var d diff
	d.value("class", frozen.Class, now.Class)
	d.value("language_field", frozen.LanguageField, now.LanguageField)
	d.value("default_language", frozen.DefaultLanguage, now.DefaultLanguage)
	d.value("timezone", frozen.Timezone, now.Timezone)
	d.value("sender.from", frozen.Sender.From, now.Sender.From)
	d.value("sender.reply_to", frozen.Sender.ReplyTo, now.Sender.ReplyTo)
	d.value("sender.organization", frozen.Sender.Organization, now.Sender.Organization)
	d.value("sender.postal_address", frozen.Sender.PostalAddress, now.Sender.PostalAddress)
	for _, old := range frozen.Variants {
		i := slices.IndexFunc(now.Variants, func(v Variant) bool { return v.Language == old.Language })
		if i < 0 {
			d.add("%s is gone", old.Path)
			continue
		}
		d.variant(old, now.Variants[i])
	}
	for _, v := range now.Variants {
		if !slices.ContainsFunc(frozen.Variants, func(old Variant) bool { return v.Language == old.Language }) {
			d.add("%s is new", v.Path)
		}
	}
	return d.lines
}

type diff struct{ lines []string }

func (d *diff) add(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diff) value(name, old, now string) {
	if old != now {
		d.add("%s was %q, is now %q", name, short(old), short(now))
	}
}

func (d *diff) variant(old, now Variant) {
	d.value(now.Path+": format", old.Format, now.Format)
	d.value(now.Path+": lang", old.Lang, now.Lang)
	before, after := old.Front.pairs(), now.Front.pairs()
	d.value(now.Path+": utm", old.Front.UTM.String(), now.Front.UTM.String())
	for i := range before {
		d.value(now.Path+": "+before[i][0], before[i][1], after[i][1])
	}
	d.text(now.Path, now.BodyLine, old.Body, now.Body)
	d.identity(now.Path, old.Sender, now.Sender)
	d.text(now.TextPath, 1, old.TextBody, now.TextBody)
	d.layout(old.HTMLLayout, now.HTMLLayout)
	d.layout(old.TextLayout, now.TextLayout)
	d.partials(old, now)
	d.files("attachment", old.Attach, now.Attach)
	d.files("embedded file", old.Embed, now.Embed)
}

// pairs are the keys that Diff can show as they stand; the files behind attach and embed are compared by content.
func (f Front) pairs() [][2]string {
	headers, _ := json.Marshal(f.Headers)
	return [][2]string{{"subject", f.Subject}, {"from", f.From}, {"reply_to", f.ReplyTo}, {"to_name", f.ToName},
		{"preheader", f.Preheader}, {"layout", f.Layout}, {"segment", f.Segment}, {"list", f.List}, {"charset", f.Charset},
		{"headers", string(headers)}, {"text", f.Text}, {"text_links", f.TextLinks}, {"base_url", f.BaseURL}, {"id", f.ID}, {"front matter lang", f.Lang},
		{"attach", strings.Join(f.Attach, ", ")}, {"embed", strings.Join(f.Embed, ", ")},
		{"not_after", f.NotAfter}, {"windows", f.Windows.String()}, {"quiet", f.Quiet.String()}, {"late", f.Late}}
}

// text shows the first line that differs.
func (d *diff) text(file string, line int, old, now string) {
	if old == now {
		return
	}
	a, b := strings.Split(old, "\n"), strings.Split(now, "\n")
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	at := func(lines []string) string {
		if i < len(lines) {
			return fmt.Sprintf("%q", short(lines[i]))
		}
		return "nothing"
	}
	d.add("%s:%d: the line was %s, is now %s", file, line+i, at(a), at(b))
}

func (d *diff) identity(file string, old, now *Sender) {
	var was, is Sender
	if old != nil {
		was = *old
	}
	if now != nil {
		is = *now
	}
	d.value(file+": reply_to of the identity", was.ReplyTo, is.ReplyTo)
	d.value(file+": organization of the identity", was.Organization, is.Organization)
	d.value(file+": postal_address of the identity", was.PostalAddress, is.PostalAddress)
}

func (d *diff) layout(old, now *Layout) {
	switch {
	case old == nil && now == nil:
	case old == nil:
		d.add("the layout %s is new", now.Name)
	case now == nil:
		d.add("the layout %s is not used any more", old.Name)
	case old.Name != now.Name:
		d.add("the layout was %s, is now %s", old.Name, now.Name)
	case old.Builtin != now.Builtin:
		d.add("the layout %s was mailer's own, or is so now", now.Name)
	case !old.Builtin:
		d.text(now.Name, 1, old.Source, now.Source)
	}
}

func (d *diff) files(what string, old, now []File) {
	for i := range max(len(old), len(now)) {
		switch {
		case i >= len(old):
			d.add("the %s %s is new", what, now[i].Name)
		case i >= len(now):
			d.add("the %s %s is gone", what, old[i].Name)
		case old[i].Name != now[i].Name:
			d.add("the %s %s is now %s", what, old[i].Name, now[i].Name)
		case string(old[i].Content) != string(now[i].Content):
			d.add("the %s %s has changed (%d bytes, now %d)", what, now[i].Name, len(old[i].Content), len(now[i].Content))
		}
	}
}

// short keeps a line of a diff readable.
func short(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
