package segment

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp/syntax"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"mailer/internal/contact"
	"mailer/internal/spelling"

	"github.com/expr-lang/expr/ast"
	"golang.org/x/text/unicode/norm"
)

// The functions of the language, by what they give. A name is in one of the two.
var (
	// conditionFunctions are true or false of a contact by themselves.
	conditionFunctions = []string{"has", "list", "sample", "received", "bounced", "complained", "unsubscribed", "opened", "clicked", "suppressed",
		"sent_since", "not_sent_since", "bounced_since", "complained_since", "unsubscribed_since", "opened_since", "clicked_since",
		"added_since", "consented", "consented_since"}

	// termFunctions give something to compare.
	termFunctions = []string{"field", "date", "ago", "ahead", "today", "now", "prefecture", "region"}
)

// function reads a function that is a condition.
func (c *checker) function(n *ast.CallNode, name string) (cond, error) {
	switch name {
	case "has":
		return c.has(n)
	case "list":
		return c.onList(n)
	case "sample":
		return c.sample(n)
	case "suppressed":
		return suppressed{}, c.noArguments(n, name)
	case "sent_since", "not_sent_since":
		since, err := c.moment(n, name)
		if name == "not_sent_since" {
			return negation{sent{since}}, err
		}
		return sent{since}, err
	case "added_since":
		since, err := c.moment(n, name)
		return added{since}, err
	case "consented":
		return consented{}, c.noArguments(n, name)
	case "consented_since":
		since, err := c.moment(n, name)
		return consented{&since}, err
	case "received":
		campaign, err := c.campaign(n, name)
		return received{campaign}, err
	case "unsubscribed":
		if len(n.Arguments) == 0 {
			return unsubscribed{}, nil
		}
	}
	if of, ok := strings.CutSuffix(name, "_since"); ok {
		since, err := c.moment(n, name)
		return happened{event: events[of], since: since}, err
	}
	campaign, err := c.campaign(n, name)
	return happened{event: events[name], campaign: campaign}, err
}

func (c *checker) noArguments(n *ast.CallNode, name string) error {
	if len(n.Arguments) > 0 {
		return c.fail(n, "%s takes no argument: %[1]s()", name)
	}
	return nil
}

// campaign reads the argument of received("ID") and its like; without one any campaign is meant.
func (c *checker) campaign(n *ast.CallNode, name string) (sending, error) {
	if len(n.Arguments) == 0 {
		return sending{}, nil
	}
	s, ok := n.Arguments[0].(*ast.StringNode)
	if !ok || len(n.Arguments) > 1 {
		return sending{}, c.fail(n.Arguments[0], `%s takes the id of a campaign in quotes, as in %[1]s("2026-11-news"), or nothing for any campaign`, name)
	}
	id, ok := c.campaigns[norm.NFC.String(s.Value)]
	if !ok {
		names := slices.Sorted(maps.Keys(c.campaigns))
		return sending{}, c.failNear(s, quoted(spelling.Nearest(s.Value, names)), "no campaign %q was sent yet%s", s.Value, among(names, "mailer send CAMPAIGN sends one"))
	}
	if !slices.Contains(c.used.campaigns, s.Value) {
		c.used.campaigns = append(c.used.campaigns, s.Value)
	}
	return sending{name: s.Value, id: id, few: c.fewInCampaign != nil && c.fewInCampaign(id)}, nil
}

// moment reads the argument of sent_since("3d") and its like: a distance back from now, or a date.
func (c *checker) moment(n *ast.CallNode, name string) (moment, error) {
	usage := fmt.Sprintf(`%s takes a distance back from now or a date, as in %[1]s("3d") or %[1]s("2026-01-05")`, name)
	if len(n.Arguments) != 1 {
		return moment{}, c.fail(n, "%s", usage)
	}
	t, err := c.term(n.Arguments[0])
	if err != nil {
		return moment{}, err
	}
	s, isSpan := t.value.(span)
	if text, ok := t.value.(string); ok {
		if distancePattern.MatchString(text) {
			s, err = shift(c.now, c.location, -1, text, text+" ago")
		} else if s, err = parseSpan(text, c.location); err != nil {
			err = fmt.Errorf("%q is neither a distance nor a date; %s", text, usage)
		}
		if err != nil {
			return moment{}, c.fail(n.Arguments[0], "%s", err)
		}
	} else if !isSpan {
		return moment{}, c.fail(n.Arguments[0], "%s", usage)
	}
	at := time.Date(s.from.Year(), s.from.Month(), s.from.Day(), s.from.Hour(), s.from.Minute(), s.from.Second(), 0, c.location)
	return moment{at.UnixMilli(), s.String()}, nil
}

// sample reads sample(PERCENT) and sample(PERCENT, "SEED").
func (c *checker) sample(n *ast.CallNode) (cond, error) {
	const usage = `sample takes a percentage and, for other people, a seed in quotes, as in sample(5) or sample(0.5, "seed")`
	if len(n.Arguments) < 1 || len(n.Arguments) > 2 {
		return nil, c.fail(n, usage)
	}
	t, err := c.term(n.Arguments[0])
	if err != nil {
		return nil, err
	}
	percent, ok := t.value.(float64)
	if whole, isInt := t.value.(int); isInt {
		percent, ok = float64(whole), true
	}
	if !ok {
		return nil, c.fail(n.Arguments[0], usage)
	}
	if !(0 < percent && percent <= 100) {
		return nil, c.fail(n.Arguments[0], "%s percent of the contacts cannot be taken; write more than 0 and at most 100", t.words())
	}
	s := sampled{percent: percent}
	if len(n.Arguments) == 2 {
		seed, err := c.term(n.Arguments[1])
		if err != nil {
			return nil, err
		}
		if s.seed, ok = seed.value.(string); !ok {
			return nil, c.fail(n.Arguments[1], usage)
		}
	}
	return s, nil
}

// pattern checks a regular expression; its error points at the part that is wrong.
func (c *checker) pattern(n ast.Node, pattern string) error {
	_, err := syntax.Parse(pattern, syntax.Perl)
	var e *syntax.Error
	if !errors.As(err, &e) {
		return err
	}
	at := n.Location().From
	if i := strings.Index(c.src.slice(n.Location()), e.Expr); i > 0 {
		at += utf8.RuneCountInString(c.src.slice(n.Location())[:i])
	}
	return c.src.fail(at, "this is no regular expression (RE2): %s: %s", e.Code, e.Expr)
}

// place reads prefecture(), prefecture(FIELD), and region likewise: what the cell says, under one name.
func (c *checker) place(n *ast.CallNode, name string) (subject, error) {
	var of subject
	var err error
	switch len(n.Arguments) {
	case 0:
		of, err = c.prefectureField(n, name)
	case 1:
		of, err = c.subject(n.Arguments[0])
	default:
		err = c.fail(n, "%s takes one field, as in %[1]s(住所), or nothing for the field that holds the prefecture", name)
	}
	if err != nil {
		return of, err
	}
	if of.path == "" || of.typ != contact.Text && of.typ != contact.Number {
		return of, c.fail(n.Arguments[0], "%s takes a text field that holds a prefecture or an address; %s is none", name, of.name)
	}
	s := subject{name: name + "()", typ: contact.Text, expr: sqlPrefecture(of.expr), fold: foldPrefecture}
	if name == "region" {
		s.expr, s.fold = sqlRegion(of.expr), foldRegion
	}
	if len(n.Arguments) == 1 {
		s.name = name + "(" + of.name + ")"
	}
	return s, nil
}

// prefectureField is the first field that by its name holds prefectures.
func (c *checker) prefectureField(n *ast.CallNode, name string) (subject, error) {
	street := ""
	for _, f := range c.ordered {
		switch f.Role {
		case contact.Prefecture:
			return c.field(n, f.Name)
		case contact.Street:
			street = f.Name
		}
	}
	if street != "" {
		return subject{}, c.failNear(n, name+"("+spelled(street)+")", "no field is known to hold prefectures")
	}
	return subject{}, c.fail(n, "no field is known to hold prefectures; name the one that does, as in %s(住所)", name)
}

// share is which part of 2^63 a percentage is. It grows with the percentage, so that smaller samples lie within larger
// ones.
func share(percent float64) int64 {
	if percent >= 100 {
		return math.MaxInt64
	}
	return int64(percent / 100 * (1 << 63))
}
