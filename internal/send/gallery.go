package send

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mailer/internal/contact"
	"mailer/internal/message"
)

// Shown is the message of one recipient of a sample, or why there is none.
type Shown struct {
	Address string
	Why     []string
	Message message.Message
	Err     error
}

// Sample makes the messages of up to n recipients that stand for all of them.
func (s *Sender) Sample(ctx context.Context, p *Plan, n int) ([]Shown, error) {
	c, err := s.composer(ctx, p)
	if err != nil {
		return nil, err
	}
	sampler := c.template.Sampler()
	err = s.Store.EachContact(ctx, p.Audience.Sendable(), func(x contact.Contact) error {
		sampler.Add(message.Recipient{Address: x.Address, Values: x.Values})
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	var all []Shown
	for _, pick := range sampler.Picks(n) {
		one := Shown{Address: pick.Address, Why: pick.Why}
		one.Message, _, one.Err = c.render(0, pick.Address, pick.Values)
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, &UsageError{"nobody is in the audience to show messages for: import contacts, or name one with --to"}
	}
	return all, nil
}

// A Gallery is a folder of previews with a page to click through them. It knows the files that it wrote by their hashes,
// which its page holds, and touches no other.
type Gallery struct {
	Dir      string
	Campaign string
	files    map[string][]byte
	entries  []galleryEntry
}

type galleryEntry struct {
	Address, Subject, Why, Err string
	HTML, Text, Raw            string // file names
}

const (
	galleryPage = "index.html"
	galleryMark = "<!-- mailer preview "
)

// NewGallery lays the messages out as files.
func NewGallery(dir, campaign string, all []Shown) *Gallery {
	g := &Gallery{Dir: dir, Campaign: campaign, files: map[string][]byte{}}
	for _, s := range all {
		e := galleryEntry{Address: s.Address, Subject: s.Message.Subject, Why: strings.Join(s.Why, ", ")}
		if s.Err != nil {
			e.Err = s.Err.Error()
			g.entries = append(g.entries, e)
			continue
		}
		base := FileSafe(campaign + "-" + s.Address)
		for g.files[base+".eml"] != nil { // a/b@ and a:b@ are one name to a file system
			base += "_"
		}
		e.Raw, e.Text = base+".eml", base+".txt"
		g.files[e.Raw], g.files[e.Text] = s.Message.Raw, []byte(s.Message.Text)
		if s.Message.HTML != "" {
			e.HTML = base + ".html"
			g.files[e.HTML] = []byte(s.Message.Page())
		}
		g.entries = append(g.entries, e)
	}
	return g
}

// Page is the path of the page to click through.
func (g *Gallery) Page() string { return filepath.Join(g.Dir, galleryPage) }

// Files are the paths of the messages of one recipient.
func (g *Gallery) Files(address string) []string {
	paths := []string{}
	for _, e := range g.entries {
		for _, name := range []string{e.Raw, e.Text, e.HTML} {
			if e.Address == address && name != "" {
				paths = append(paths, filepath.Join(g.Dir, name))
			}
		}
	}
	return paths
}

// Write puts the files into the folder. A file in the way that no preview wrote, or that was changed since, stops it
// before anything is written; what is left of an earlier preview goes.
func (g *Gallery) Write() error {
	index, err := g.index()
	if err != nil {
		return err
	}
	g.files[galleryPage] = index
	if err := os.MkdirAll(g.Dir, 0o700); err != nil {
		return fmt.Errorf("write the preview: %w", err)
	}
	ours := g.written()
	for name := range g.files {
		if err := g.mayReplace(name, ours); err != nil {
			return err
		}
	}
	for name := range ours {
		if g.files[name] == nil && g.mayReplace(name, ours) == nil {
			if err := os.Remove(filepath.Join(g.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove an earlier preview: %w", err)
			}
		}
	}
	for _, name := range g.names() {
		if err := os.WriteFile(filepath.Join(g.Dir, name), g.files[name], 0o600); err != nil {
			return fmt.Errorf("write the preview: %w", err)
		}
	}
	return nil
}

// names puts the page last: a preview that was cut short does not look whole.
func (g *Gallery) names() []string {
	var names []string
	for name := range g.files {
		if name != galleryPage {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return append(names, galleryPage)
}

// mayReplace: there is no such file, or it is as an earlier preview left it, or as this one would.
func (g *Gallery) mayReplace(name string, ours map[string]string) error {
	path := filepath.Join(g.Dir, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode().IsRegular() {
		var have []byte
		if have, err = os.ReadFile(path); err == nil {
			if name == galleryPage && ours != nil || ours[name] == digest(have) || string(have) == string(g.files[name]) {
				return nil
			}
		}
	}
	if err != nil {
		return fmt.Errorf("write the preview: %w", err)
	}
	return &UsageError{fmt.Sprintf("%s is there already and is no preview's; name another folder with --out", path)}
}

// written is what an earlier preview wrote here: names and hashes. nil: there was none.
func (g *Gallery) written() map[string]string {
	page, err := os.ReadFile(filepath.Join(g.Dir, galleryPage))
	if err != nil {
		return nil
	}
	head, rest, ok := strings.Cut(string(page), "\n")
	list, ok2 := strings.CutPrefix(head, galleryMark)
	sum, list, ok3 := strings.Cut(strings.TrimSuffix(list, " -->"), " ")
	ours := map[string]string{}
	if !ok || !ok2 || !ok3 || sum != digest([]byte(rest)) || json.Unmarshal([]byte(list), &ours) != nil {
		return nil
	}
	for name := range ours {
		if !filepath.IsLocal(name) || name != filepath.Base(name) {
			return nil
		}
	}
	return ours
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// index is the page; its first line says what belongs to it.
func (g *Gallery) index() ([]byte, error) {
	var page strings.Builder
	if err := galleryTemplate.Execute(&page, map[string]any{"Campaign": g.Campaign, "Entries": g.entries}); err != nil {
		return nil, fmt.Errorf("write the preview: %w", err)
	}
	hashes := map[string]string{}
	for name, content := range g.files {
		hashes[name] = digest(content)
	}
	list, err := json.Marshal(hashes) // escapes > so that no name ends the comment
	if err != nil {
		return nil, fmt.Errorf("write the preview: %w", err)
	}
	return []byte(galleryMark + digest([]byte(page.String())) + " " + string(list) + " -->\n" + page.String()), nil
}

// FileSafe keeps what every file system takes in a name.
func FileSafe(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|%#`, r) || r < ' ' {
			return '_'
		}
		return r
	}, s)
}

var galleryTemplate = template.Must(template.New(galleryPage).Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{.Campaign}}: preview</title>
<style>
  body { margin: 0; font: 15px/1.5 system-ui, sans-serif; display: flex; height: 100vh; color-scheme: light dark; }
  nav { width: 320px; flex: none; overflow: auto; padding: 12px 16px; box-sizing: border-box; border-right: 1px solid #8888; }
  h1 { font-size: 17px; margin: 0 0 8px; }
  ol { padding: 0 0 0 20px; } li { margin: 0 0 14px; overflow-wrap: anywhere; }
  small { display: block; opacity: .75; } .bad { color: #c00; }
  main { flex: 1; display: flex; justify-content: center; background: #8882; }
  iframe { border: 0; width: 100%; height: 100%; background: Canvas; }
  body:has(#phone:checked) iframe { width: 375px; }
</style>
</head>
<body>
<nav>
<h1>{{.Campaign}}</h1>
<label><input type="checkbox" id="phone"> as wide as a phone</label>
<ol>
{{range .Entries}}<li><strong>{{.Address}}</strong>
{{if .Err}}<small class="bad">{{.Err}}</small>{{else}}<small>{{.Subject}}</small>
{{with .HTML}}<a href="{{.}}" target="message">HTML</a> · {{end}}<a href="{{.Text}}" target="message">text</a> · <a href="{{.Raw}}" download>raw</a>{{end}}
{{with .Why}}<small>{{.}}</small>{{end}}</li>
{{end}}</ol>
</nav>
<main><iframe name="message" sandbox="allow-popups" title="message"{{range .Entries}}{{if .First}} src="{{.First}}"{{break}}{{end}}{{end}}></iframe></main>
</body>
</html>
`))

// First is what the page shows at the beginning.
func (e galleryEntry) First() string {
	if e.HTML != "" {
		return e.HTML
	}
	return e.Text
}
