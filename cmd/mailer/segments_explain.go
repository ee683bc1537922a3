package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"mailer/internal/address"
	"mailer/internal/contact"
	"mailer/internal/segment"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

func newSegmentsExplainCmd(a *app) *cobra.Command {
	var o segmentSource
	var who string
	cmd := &cobra.Command{
		Use:   "explain [NAME]",
		Short: "Tell what an expression asks, how many each part of it picks, and why somebody is in or out",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.bind(cmd, args); err != nil {
				return err
			}
			if o.name != "" && o.where != "" {
				return usage("explain takes NAME or --where, not both")
			}
			return runSegmentsExplain(cmd.Context(), a, o, who)
		},
	}
	o.flag(cmd)
	cmd.Flags().StringVar(&who, "address", "", "why is the contact with this `address` in or out")
	return cmd
}

func runSegmentsExplain(ctx context.Context, a *app, o segmentSource, who string) error {
	s, err := a.openSegments(ctx)
	if err != nil {
		return err
	}
	defer s.store.Close()
	src := o.where
	if o.name != "" {
		if src, err = s.load(o.name); err != nil {
			return err
		}
	}
	e, err := segment.Explain(src, s.schema)
	if err != nil && o.name != "" {
		return fmt.Errorf("segment %s: %w", o.name, err)
	}
	if err != nil {
		return fmt.Errorf("--where: %w", err)
	}
	for _, note := range e.Notes {
		a.out.Warnf("%s", note)
	}
	if who != "" {
		return explainContact(ctx, a, s, e, who)
	}
	return explainCounts(ctx, a, s, src, e)
}

// clauseLine is one part of an expression for scripts; Count for everybody, Holds for one contact.
type clauseLine struct {
	Depth int    `json:"depth"`
	Words string `json:"words"`
	Count *int64 `json:"count,omitempty"`
	Holds *bool  `json:"holds,omitempty"`
}

func conditions(clauses []segment.Clause) []store.Where {
	list := make([]store.Where, len(clauses))
	for i, c := range clauses {
		list[i] = store.Where(c.Query)
	}
	return list
}

func indented(c segment.Clause) string { return strings.Repeat("  ", c.Depth) + c.Words }

func explainCounts(ctx context.Context, a *app, s *segments, src string, e segment.Explanation) error {
	bar := counting(a)
	counts, err := s.store.CountEach(ctx, conditions(e.Clauses), bar.set)
	bar.close()
	if err != nil {
		return err
	}
	var rows [][]string
	for i, c := range e.Clauses {
		if err := a.out.Emit("clause", clauseLine{Depth: c.Depth, Words: c.Words, Count: &counts[i]}); err != nil {
			return err
		}
		rows = append(rows, []string{fmt.Sprint(counts[i]), indented(c)})
	}
	how, err := s.how(ctx, e)
	if err != nil {
		return err
	}
	if a.out.JSON {
		return a.out.Emit("summary", struct {
			Expression string `json:"expression"`
			Count      int64  `json:"count"`
			howLine
		}{src, counts[0], how})
	}
	a.out.Table([]string{"contacts", "of whom this is true"}, rows, 0)
	a.out.Printf("\nSQL        %s\narguments  %s\nplan       %s\nindexes    %s\n",
		how.SQL, argumentsText(how.Arguments), ui.Clean(strings.Join(how.Plan, "; ")), ui.Clean(cmp.Or(strings.Join(how.Indexes, ", "), "none")))
	return nil
}

// howLine is how the people are found, for scripts.
type howLine struct {
	SQL       string   `json:"sql"`
	Arguments []any    `json:"arguments"`
	Plan      []string `json:"plan"`    // a sentence a step
	Indexes   []string `json:"indexes"` // fields that have one
}

func (s *segments) how(ctx context.Context, e segment.Explanation) (howLine, error) {
	how := howLine{SQL: e.Query.SQL, Arguments: append([]any{}, e.Query.Args...), Indexes: []string{}}
	var err error
	if how.Plan, err = s.store.QueryPlan(ctx, store.Where(e.Query)); err != nil {
		return how, err
	}
	fields, err := s.store.IndexedFields(ctx)
	for _, f := range fields {
		how.Indexes = append(how.Indexes, f.Name)
	}
	return how, err
}

// argumentsText shows the first arguments; thousands help nobody.
func argumentsText(args []any) string {
	const few = 20
	var list []string
	for _, arg := range args[:min(few, len(args))] {
		list = append(list, ui.Clean(fmt.Sprintf("%#v", arg)))
	}
	if more := len(args) - few; more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func explainContact(ctx context.Context, a *app, s *segments, e segment.Explanation, who string) error {
	addr, err := address.Parse(who)
	if err != nil {
		return usage("--address: %w", err)
	}
	person, ok, err := s.store.Contact(ctx, addr.Key)
	if err != nil {
		return err
	}
	if !ok {
		return usage("there is no contact %s", addr.Text)
	}
	holds, ok, err := s.store.MatchEach(ctx, addr.Key, conditions(e.Clauses))
	if err != nil {
		return err
	}
	if !ok {
		return usage("there is no contact %s", addr.Text)
	}
	var rows [][]string
	for i, c := range e.Clauses {
		if err := a.out.Emit("clause", clauseLine{Depth: c.Depth, Words: c.Words, Holds: &holds[i]}); err != nil {
			return err
		}
		rows = append(rows, []string{yesNo(holds[i]), indented(c)})
	}
	if a.out.JSON {
		return a.out.Emit("summary", map[string]any{"address": person.Address, "in": holds[0], "fields": usedValues(e, person)})
	}
	a.out.Printf("%s is %s\n\n", ui.Clean(person.Address), map[bool]string{true: "in", false: "out"}[holds[0]])
	a.out.Table(nil, rows)
	showValues(a, e, person)
	return nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// usedValues are the contact's cells that the expression looks at; null where one is missing.
func usedValues(e segment.Explanation, p contact.Contact) map[string]*string {
	values := map[string]*string{}
	for _, f := range e.Fields {
		values[f.Name] = nil
		if v, ok := p.Values[f.Name]; ok {
			values[f.Name] = &v
		}
	}
	return values
}

func showValues(a *app, e segment.Explanation, p contact.Contact) {
	var rows [][]string
	for _, f := range e.Fields {
		v, ok := p.Values[f.Name]
		if !ok {
			v = "(missing)"
		}
		rows = append(rows, []string{f.Name, v})
	}
	if len(rows) > 0 {
		a.out.Println()
		a.out.Table(nil, rows)
	}
}
