package campaign

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// Partial is a piece of a message that bodies and layouts take in by its name: {{include "footer"}}.
type Partial struct {
	Name string  `json:"name"`
	HTML *Layout `json:"html,omitempty"` // a .md file's is Markdown
	Text *Layout `json:"text,omitempty"` // nil: it is made from HTML
}

// partialDir is where they are, in the workspace and among the embedded files.
const partialDir = "partials/"

var (
	includes    = regexp.MustCompile(`\{\{-?\s*include\s+"([^"\n]*)"`)
	partialName = regexp.MustCompile(`^[\p{L}\p{N}_-]{1,60}$`)
)

// partials finds everything that a document's templates take in, and what that takes in. A name without a file is left
// to Compile, which knows its place.
func partials(workspace fs.FS, v *Variant) ([]Partial, error) {
	found := map[string]Partial{}
	var failed error
	var scan func(text string)
	scan = func(text string) {
		for _, m := range includes.FindAllStringSubmatch(text, -1) {
			name := m[1]
			if _, seen := found[name]; seen || !partialName.MatchString(name) {
				continue
			}
			p := Partial{Name: name}
			found[name] = p
			var errHTML, errText error
			p.HTML, errHTML = firstLayout(workspace, name, ".html", ".md")
			p.Text, errText = firstLayout(workspace, name, ".txt", ".md")
			failed = cmp.Or(failed, errHTML, errText)
			found[name] = p
			for _, l := range []*Layout{p.HTML, p.Text} {
				if l != nil {
					scan(l.Source)
				}
			}
		}
	}
	for _, l := range []*Layout{v.HTMLLayout, v.TextLayout} {
		if l != nil {
			scan(l.Source)
		}
	}
	scan(v.Body)
	scan(v.Front.Text)
	scan(v.TextBody)
	var list []Partial
	for _, p := range found {
		if p.HTML != nil || p.Text != nil {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b Partial) int { return strings.Compare(a.Name, b.Name) })
	return list, failed
}

// firstLayout is the workspace's file of one of these kinds, else the embedded one, else nil.
func firstLayout(workspace fs.FS, name string, kinds ...string) (*Layout, error) {
	for _, kind := range kinds {
		if l, err := readLayout(workspace, "templates/"+partialDir+name+kind); !errors.Is(err, fs.ErrNotExist) {
			return l, err
		}
	}
	for _, kind := range kinds {
		if l, err := embedded(partialDir + name + kind); err == nil {
			return l, nil
		}
	}
	return nil, nil
}

// ownPartials are the ones that the user wrote. What came with mailer is left out of a comparison, like such a layout's
// text: an upgrade is not an edit.
func ownPartials(all []Partial) []Partial {
	var own []Partial
	for _, p := range all {
		if p.HTML != nil && !p.HTML.Builtin || p.Text != nil && !p.Text.Builtin {
			own = append(own, Partial{p.Name, p.HTML.identity(), p.Text.identity()})
		}
	}
	return own
}

func (d *diff) partials(old, now Variant) {
	before, after := ownPartials(old.Partials), ownPartials(now.Partials)
	for _, p := range before {
		i := slices.IndexFunc(after, func(n Partial) bool { return n.Name == p.Name })
		if i < 0 {
			d.add("the partial %s is gone", p.Name)
			continue
		}
		d.layout(p.HTML, after[i].HTML)
		d.layout(p.Text, after[i].Text)
	}
	for _, p := range after {
		if !slices.ContainsFunc(before, func(o Partial) bool { return o.Name == p.Name }) {
			d.add("the partial %s is new", p.Name)
		}
	}
}

// MissingPartial says what to do about a name that no file has.
func MissingPartial(name string) string {
	if !partialName.MatchString(name) {
		return fmt.Sprintf("%q cannot be a partial's name: letters, digits, _ and -", name)
	}
	return fmt.Sprintf("there is no partial %q; write templates/partials/%s.html, .md or .txt", name, name)
}
