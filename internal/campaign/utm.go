package campaign

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"mailer/internal/spelling"
)

// UTM are the parameters that links to the sender's own sites are given, for web statistics. Zero: none.
type UTM struct {
	Source   string `json:"source,omitempty"`
	Medium   string `json:"medium,omitempty"`   // default: email
	Campaign string `json:"campaign,omitempty"` // default: the campaign's id
	Term     string `json:"term,omitempty"`
	Content  string `json:"content,omitempty"`
	Hosts    Paths  `json:"hosts,omitempty"` // further hosts, with what is under them, or AllHosts
}

// String is for Diff.
func (u UTM) String() string {
	b, err := json.Marshal(u)
	if err != nil { // strings only
		panic(err)
	}
	return string(b)
}

// AllHosts among UTM.Hosts is every host there is.
const AllHosts = "all"

// utm reads the parameters of links. They are the same for everybody, so that no field's value gets into statistics.
func (d *Document) utm(head string, n ast.Node, u *UTM) error {
	values, ok := mapping(n)
	if !ok {
		return d.errorIn(head, n, "utm has a value of the wrong kind", "write it as utm: {source: news}")
	}
	keys := map[string]*string{"source": &u.Source, "medium": &u.Medium, "campaign": &u.Campaign, "term": &u.Term, "content": &u.Content}
	for _, v := range values {
		key, _ := scalar(v.Key)
		text, single := scalar(v.Value)
		switch field := keys[key]; {
		case key == "hosts":
			if u.Hosts, single = paths(v.Value); !single {
				return d.errorIn(head, v.Value, "utm.hosts has a value of the wrong kind", "write it as hosts: [shop.example.com], or hosts: all")
			}
		case field == nil:
			known := []string{"source", "medium", "campaign", "term", "content", "hosts"}
			hint := "the keys are " + strings.Join(known, ", ")
			if near := spelling.Nearest(key, known); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			return d.errorIn(head, v.Key, fmt.Sprintf("unknown key %q in utm", key), hint)
		case !single || strings.Contains(text, "{{"):
			return d.errorIn(head, v.Value, "utm."+key+" is a plain text, the same for everybody", "")
		default:
			*field = text
		}
	}
	if u.Source == "" {
		return d.errorIn(head, n, "utm has no source", "statistics sort visits by it; write utm: {source: newsletter}")
	}
	return nil
}
