package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mailer/internal/store"
	"mailer/internal/ui"
)

// shownEffects is how many examples of each kind a dry run shows.
const shownEffects = 5

// plan is what a dry run would do, with examples.
type plan struct {
	created    samples
	changed    samples
	listed     int64
	consent    int64
	fields     map[string]int64 // contacts in which a field changes
	suppressed samples
	skipped    samples
	unlisted   samples
}

// samples are a count and the first of what is counted.
type samples struct {
	count int64
	shown []string
}

func (x *samples) add(text string) {
	if x.count++; len(x.shown) < shownEffects {
		x.shown = append(x.shown, text)
	}
}

// list is the examples in a line.
func (x *samples) list() string {
	text := strings.Join(x.shown, ", ")
	if more := x.count - int64(len(x.shown)); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// effect takes one row of a dry run into account. Scripts get every one.
func (r *importRun) effect(e store.Effect) {
	word := effectWord(e)
	r.plan.see(e, word)
	type cell struct {
		Field string `json:"field"`
		Old   string `json:"old"`
		New   string `json:"new"`
	}
	cells := []cell{}
	for _, c := range e.Changes {
		cells = append(cells, cell{c.Field.Name, c.Old, c.New})
	}
	r.a.out.Emit("effect", struct {
		Line       int64  `json:"line"`
		Address    string `json:"address"`
		Effect     string `json:"effect"`
		Was        string `json:"was,omitempty"`
		Changes    []cell `json:"changes"`
		Listed     bool   `json:"listed"`
		Consent    bool   `json:"consent"`
		Suppressed bool   `json:"suppressed"`
		Repeated   bool   `json:"repeated"`
	}{e.Line, e.Address, word, e.Was, cells, e.Listed, e.Agreed, e.Suppressed, e.Repeated})
}

// effectWord is create, update, unchanged, skip or unlist.
func effectWord(e store.Effect) string {
	switch {
	case e.Op == "touch" && (e.Listed || e.Agreed):
		return "update"
	case e.Op == "touch":
		return "unchanged"
	}
	return e.Op
}

func (p *plan) see(e store.Effect, word string) {
	address := ui.Clean(e.Address)
	switch word {
	case "create":
		p.created.add(address)
	case "update":
		p.changed.add(fmt.Sprintf("line %d  %s  %s", e.Line, address, ui.Clean(changesText(e))))
	case "skip":
		p.skipped.add(address)
	case "unlist":
		p.unlisted.add(address)
	}
	if e.Suppressed && word != "skip" {
		p.suppressed.add(address)
	}
	if p.fields == nil {
		p.fields = map[string]int64{}
	}
	for _, c := range e.Changes {
		if word == "update" {
			p.fields[c.Field.Name]++
		}
	}
	if word == "update" && e.Listed {
		p.listed++
	}
	if word == "update" && e.Agreed {
		p.consent++
	}
}

// changesText is what happens to a contact that exists.
func changesText(e store.Effect) string {
	var changes []string
	for _, c := range e.Changes {
		changes = append(changes, fmt.Sprintf("%s: %q -> %q", c.Field.Name, c.Old, c.New))
	}
	if e.Was != "" {
		changes = append(changes, fmt.Sprintf("address: %s -> %s", e.Was, e.Address))
	}
	if e.Listed {
		changes = append(changes, "put on the list")
	}
	if e.Agreed {
		changes = append(changes, "consent recorded")
	}
	if len(changes) == 0 && e.Repeated {
		return "changed by a row above: its last row wins"
	}
	return strings.Join(changes, ", ")
}

// print tells people what would happen, below the line of counts.
func (p *plan) print(out *ui.Out) {
	if p.created.count > 0 {
		out.Printf("  new: %s\n", p.created.list())
	}
	if p.changed.count > 0 {
		out.Printf("  changed: %s\n", strings.Join(p.parts(), ", "))
		for _, line := range p.changed.shown {
			out.Printf("    %s\n", line)
		}
		if more := p.changed.count - int64(len(p.changed.shown)); more > 0 {
			out.Printf("    and %d more; --json has them all\n", more)
		}
	}
	if p.skipped.count > 0 {
		out.Printf("  skipped, for they exist: %s\n", p.skipped.list())
	}
	if p.unlisted.count > 0 {
		out.Printf("  taken off the list, for the file does not have them: %s\n", p.unlisted.list())
	}
	if p.suppressed.count > 0 {
		out.Printf("  suppressed, and they stay so: %s\n", p.suppressed.list())
	}
}

// shownFields is how many fields the line of changes counts.
const shownFields = 8

// parts counts the changes by field, the most frequent first.
func (p *plan) parts() []string {
	names := slices.SortedFunc(maps.Keys(p.fields), func(a, b string) int {
		return cmp.Or(cmp.Compare(p.fields[b], p.fields[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, name := range names[:min(len(names), shownFields)] {
		parts = append(parts, fmt.Sprintf("%s in %d", ui.Clean(name), p.fields[name]))
	}
	if more := len(names) - shownFields; more > 0 {
		parts = append(parts, ui.Count(more, "more field", "more fields"))
	}
	if p.listed > 0 {
		parts = append(parts, fmt.Sprintf("%d put on the list", p.listed))
	}
	if p.consent > 0 {
		parts = append(parts, fmt.Sprintf("%d with a consent recorded", p.consent))
	}
	if len(parts) == 0 {
		parts = []string{ui.Count(p.changed.count, "row", "rows")}
	}
	return parts
}
