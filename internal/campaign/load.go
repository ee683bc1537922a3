package campaign

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"mailer/internal/spelling"
)

// Dir is the folder of a workspace that holds campaigns.
const Dir = "campaigns"

// ErrNotFound is under the error of Load for a name that no campaign has. It is an fs.ErrNotExist.
var ErrNotFound error = notFoundError{}

type notFoundError struct{}

func (notFoundError) Error() string        { return "no such campaign" }
func (notFoundError) Is(target error) bool { return target == fs.ErrNotExist }

// fileName is a campaign's file name taken apart: 2026-12-news.ja.md.
type fileName struct{ stem, lang, format string }

var languageTag = regexp.MustCompile(`^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$`)

func splitName(file string) fileName {
	base := norm.NFC.String(path.Base(file))
	ext := path.Ext(base)
	n := fileName{stem: strings.TrimSuffix(base, ext), format: strings.TrimPrefix(strings.ToLower(ext), ".")}
	if tag := strings.TrimPrefix(path.Ext(n.stem), "."); languageTag.MatchString(tag) {
		n.stem, n.lang = strings.TrimSuffix(n.stem, "."+tag), tag
	}
	return n
}

func (n fileName) isCampaign() bool {
	return n.stem != "" && (n.format == Markdown || n.format == HTML || n.format == Text)
}

// Load reads the campaign that name stands for: its id, its file's stem, or a path from the workspace.
func Load(workspace fs.FS, name string) (*Campaign, error) {
	name = norm.NFC.String(name)
	if p := path.Clean(strings.ReplaceAll(name, `\`, "/")); fs.ValidPath(p) && splitName(p).isCampaign() {
		if _, err := fs.Stat(workspace, p); err == nil {
			return loadStem(workspace, path.Dir(p), splitName(p).stem)
		}
	}
	stems, err := stemsIn(workspace, Dir)
	if err != nil {
		return nil, err
	}
	return find(workspace, name, stems)
}

// find reads every campaign, because an id may differ from its file's name.
func find(workspace fs.FS, name string, stems []string) (*Campaign, error) {
	var found []*Campaign
	var ids, broken []string
	for _, stem := range stems {
		c, err := loadStem(workspace, Dir, stem)
		switch {
		case err != nil && stem == name:
			return nil, err
		case err != nil:
			broken = append(broken, err.Error())
		case stem == name || c.ID == name:
			found = append(found, c)
		default:
			ids = append(ids, c.ID)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("%q is the name of %s and the id of another, or the id of both: %s; give the path",
			name, found[0].Path, found[1].Path)
	}
	return nil, notFound(name, ids, broken)
}

func notFound(name string, ids, broken []string) error {
	msg := fmt.Sprintf("%q is no id, file name or path in %s/", name, Dir)
	if near := spelling.Nearest(name, ids); near != "" {
		msg += fmt.Sprintf("; did you mean %q?", near)
	}
	if len(broken) > 0 {
		msg += "\nnot readable:\n  " + strings.Join(broken, "\n  ")
	}
	return fmt.Errorf("%w: %s", ErrNotFound, msg)
}

// stemsIn lists the campaigns of a folder by the part of the name that all their languages share.
func stemsIn(workspace fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(workspace, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list campaigns: %w", err)
	}
	var stems []string
	for _, e := range entries {
		n := splitName(e.Name())
		if !e.IsDir() && n.isCampaign() && !slices.Contains(stems, n.stem) {
			stems = append(stems, n.stem)
		}
	}
	return stems, nil
}

// loadStem reads all languages of one campaign.
func loadStem(workspace fs.FS, dir, stem string) (*Campaign, error) {
	entries, err := fs.ReadDir(workspace, dir)
	if err != nil {
		return nil, fmt.Errorf("list campaigns: %w", err)
	}
	var docs []Document
	texts := map[string]string{} // path -> text parts
	for _, e := range entries {
		n := splitName(e.Name())
		if e.IsDir() || !n.isCampaign() || n.stem != stem {
			continue
		}
		file := path.Join(dir, e.Name())
		source, err := fs.ReadFile(workspace, file)
		if err != nil {
			return nil, fmt.Errorf("read campaign: %w", err)
		}
		if n.format == Text && !hasFront(source) && hasRich(entries, n) {
			if texts[file], err = readable(file, source); err != nil {
				return nil, err
			}
			continue
		}
		d, err := Parse(file, source)
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	if err := addTexts(docs, texts); err != nil {
		return nil, err
	}
	return join(stem, docs)
}

// hasFront tells a campaign from a text part, which is text from its first line on.
func hasFront(source []byte) bool {
	first, _, _ := strings.Cut(plainText(source), "\n")
	return strings.TrimRight(first, " \t") == fence
}

// hasRich reports whether a .md or .html file of the same campaign and language lies beside.
func hasRich(entries []fs.DirEntry, n fileName) bool {
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		o := splitName(e.Name())
		return !e.IsDir() && o.stem == n.stem && o.lang == n.lang && (o.format == Markdown || o.format == HTML)
	})
}

// addTexts gives each document its own text part.
func addTexts(docs []Document, texts map[string]string) error {
	for file, text := range texts {
		for i := range docs {
			if d := &docs[i]; d.Language == splitName(file).lang {
				if d.Front.Text != "" {
					return d.errorAt("text", "there is a text part here and in "+file, "keep one of them")
				}
				d.TextPath, d.TextBody = file, text
			}
		}
	}
	return nil
}

// join makes one campaign of its documents; what is a campaign's and not a message's must be the same in all.
func join(stem string, docs []Document) (*Campaign, error) {
	slices.SortFunc(docs, func(a, b Document) int {
		return strings.Compare(a.Language+"\x00"+a.Path, b.Language+"\x00"+b.Path)
	})
	first := docs[0]
	for i, d := range docs[1:] {
		if d.Language == docs[i].Language {
			return nil, &Error{File: d.Path, Msg: "the file has the same name as " + docs[i].Path, Hint: "rename one of them"}
		}
		if key := differs(first.Front, d.Front); key != "" {
			return nil, d.errorAt(key, fmt.Sprintf("%s is not the same as in %s", key, first.Path), "all languages of a campaign share it")
		}
	}
	c := &Campaign{ID: first.Front.ID, Class: first.Front.Class, Document: first, Variants: docs}
	if c.ID == "" {
		c.ID = stem
	}
	c.ID = norm.NFC.String(c.ID)
	if c.Class == "" {
		c.Class = Marketing
	}
	if err := checkID(c.ID); err != nil {
		return nil, first.errorAt("id", err.Error(), `set one with "id:" in the front matter`)
	}
	return c, c.setDefault()
}

// setDefault makes the document of default_language the one for everybody, too.
func (c *Campaign) setDefault() error {
	want := c.Front.DefaultLanguage
	if want == "" {
		return nil
	}
	i := slices.IndexFunc(c.Variants, func(d Document) bool { return d.Language == want })
	if i < 0 {
		return c.errorAt("default_language", fmt.Sprintf("there is no file for the default language %q", want), "")
	}
	c.Document = c.Variants[i]
	return nil
}

func differs(a, b Front) string {
	for _, k := range []struct{ key, a, b string }{
		{"id", a.ID, b.ID}, {"class", a.Class, b.Class}, {"segment", a.Segment, b.Segment}, {"list", a.List, b.List},
		{"language_field", a.LanguageField, b.LanguageField}, {"default_language", a.DefaultLanguage, b.DefaultLanguage},
		{"not_after", a.NotAfter, b.NotAfter}, {"late", a.Late, b.Late},
		{"windows", a.Windows.String(), b.Windows.String()}, {"quiet", a.Quiet.String(), b.Quiet.String()},
	} {
		if k.a != k.b {
			return k.key
		}
	}
	return ""
}
