package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mailer/internal/address"
	"mailer/internal/config"
	"mailer/internal/contact"
	"mailer/internal/segment"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

func newSegmentsCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "segments",
		Aliases: []string{"segment"},
		Short:   "Pick people by an expression: count, explain, sample, save",
		Long:    segment.Help, // so that `mailer help segments` is the manual
	}
	cmd.AddCommand(newSegmentsListCmd(a), newSegmentsSaveCmd(a), newSegmentsCountCmd(a), newSegmentsExplainCmd(a), newSegmentsSampleCmd(a))
	return cmd
}

// segmentSource is the flags that say which people: a saved segment, an expression, or both.
type segmentSource struct {
	name  string
	where string
}

func (o *segmentSource) flag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.where, "where", "", "contacts for which this `expression` holds")
}

// bind takes NAME from the arguments.
func (o *segmentSource) bind(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage("%s takes one segment, got %q; an expression goes in quotes behind --where", cmd.CommandPath(), args)
	}
	if len(args) == 1 {
		o.name = args[0]
	}
	if o.name == "" && strings.TrimSpace(o.where) == "" {
		return usage("%s needs the NAME of a saved segment or --where EXPR", cmd.CommandPath())
	}
	return nil
}

// segments is an open workspace in which expressions are compiled.
type segments struct {
	ws     *config.Workspace
	store  *store.Store
	schema segment.Schema
}

func (a *app) openSegments(ctx context.Context) (*segments, error) {
	ws, st, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	schema, err := segmentSchema(ctx, a, ws, st)
	if err != nil {
		st.Close()
		return nil, err
	}
	return &segments{ws, st, schema}, nil
}

// segmentSchema is what expressions of a workspace may speak of.
func segmentSchema(ctx context.Context, a *app, ws *config.Workspace, st *store.Store) (segment.Schema, error) {
	schema, err := st.Vocabulary(ctx)
	schema.Now, schema.Location = a.now(), ws.Config.Location()
	return schema, err
}

func (s *segments) files() fs.FS { return os.DirFS(s.ws.Dir) }

// load reads a saved segment. A name under which there is none is a wrong argument.
func (s *segments) load(name string) (string, error) {
	src, err := segment.Load(s.files(), name)
	var system *fs.PathError
	if err != nil && !errors.As(err, &system) {
		return "", usage("%w", err)
	}
	return src, err
}

// query compiles what the flags say. The expression of a saved segment is named in its errors.
func (s *segments) query(o segmentSource) (store.Where, error) {
	var where store.Where
	if o.name != "" {
		src, err := s.load(o.name)
		if err != nil {
			return where, err
		}
		q, err := segment.Compile(src, s.schema)
		if err != nil {
			return where, fmt.Errorf("segment %s: %w", o.name, err)
		}
		where = store.Where(q)
	}
	q, err := segment.Compile(o.where, s.schema)
	if err != nil {
		return where, fmt.Errorf("--where: %w", err)
	}
	if strings.TrimSpace(o.where) == "" {
		return where, nil
	}
	return where.And(store.Where(q)), nil
}

func newSegmentsListCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the saved segments, and say which of them do not work",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.openSegments(cmd.Context())
			if err != nil {
				return err
			}
			defer s.store.Close()
			return listSegments(a, s)
		},
	}
}

type segmentLine struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
	Error      string `json:"error,omitempty"`
}

func listSegments(a *app, s *segments) error {
	names, err := segment.Names(s.files())
	if err != nil {
		return err
	}
	var rows [][]string
	broken := 0
	for _, name := range names {
		line := describeSegment(s, name)
		text := oneLine(line.Expression)
		if line.Error != "" {
			broken++
			text = "BROKEN: " + firstLine(line.Error)
		}
		rows = append(rows, []string{name, text})
		if err := a.out.Emit("segment", line); err != nil {
			return err
		}
	}
	if a.out.JSON {
		return a.out.Emit("summary", map[string]int{"segments": len(names), "broken": broken})
	}
	if len(rows) == 0 {
		a.out.Println("No segment is saved. mailer segments save NAME --where EXPR saves one.")
		return nil
	}
	a.out.Table([]string{"segment", "expression"}, rows)
	return nil
}

func describeSegment(s *segments, name string) segmentLine {
	src, err := segment.Load(s.files(), name)
	if err == nil {
		_, err = segment.Compile(src, s.schema)
	}
	line := segmentLine{Name: name, Expression: src}
	if err != nil {
		line.Error = err.Error()
	}
	return line
}

// oneLine is an expression without its comment lines, on one line.
func oneLine(src string) string {
	var kept []string
	for line := range strings.Lines(src) {
		if t := strings.TrimSpace(line); !strings.HasPrefix(t, "#") && !strings.HasPrefix(t, "//") {
			kept = append(kept, t)
		}
	}
	return strings.TrimSpace(strings.Join(kept, " "))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func newSegmentsSaveCmd(a *app) *cobra.Command {
	var o segmentSource
	var replace bool
	cmd := &cobra.Command{
		Use:   "save NAME --where EXPR",
		Short: "Save an expression under a name",
		Long: `Save an expression as segments/NAME.expr, once it has been checked against the fields and lists of the workspace.
A segment that is there already is changed only with --replace.`,
		Args: exactArgs(1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = strings.TrimSuffix(args[0], segment.Ext)
			return runSegmentsSave(cmd.Context(), a, o, replace)
		},
	}
	o.flag(cmd)
	cmd.Flags().BoolVar(&replace, "replace", false, "change a segment that is there already")
	return cmd
}

func runSegmentsSave(ctx context.Context, a *app, o segmentSource, replace bool) error {
	if err := segment.CheckName(o.name); err != nil {
		return usage("%w", err)
	}
	if strings.TrimSpace(o.where) == "" {
		return usage("segments save needs --where EXPR; for everybody write --where true")
	}
	s, err := a.openSegments(ctx)
	if err != nil {
		return err
	}
	defer s.store.Close()
	where, err := s.query(segmentSource{where: o.where})
	if err != nil {
		return err
	}
	if err := writeSegment(s.ws.Dir, o, replace); err != nil {
		return err
	}
	n, err := s.store.CountContacts(ctx, where)
	if err != nil {
		return err
	}
	file := segment.Path(o.name)
	a.out.Printf("saved %s: %s\n", ui.Clean(file), ui.Count(n, "contact", "contacts"))
	return a.out.Emit("summary", struct {
		Segment string `json:"segment"`
		File    string `json:"file"`
		Count   int64  `json:"count"`
	}{o.name, file, n})
}

// writeSegment writes the file whole or not at all. Saving the same expression again is no change.
func writeSegment(dir string, o segmentSource, replace bool) error {
	text := strings.TrimSpace(o.where) + "\n"
	path := filepath.Join(dir, filepath.FromSlash(segment.Path(o.name)))
	old, err := os.ReadFile(path)
	switch {
	case err == nil && string(old) == text:
		return nil
	case err == nil && !replace:
		return usage("segment %s is there already; --replace changes it", o.name)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("save segment %s: %w", o.name, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("save segment %s: %w", o.name, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".saving-*")
	if err != nil {
		return fmt.Errorf("save segment %s: %w", o.name, err)
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("save segment %s: %w", o.name, err)
	}
	return nil
}

func newSegmentsCountCmd(a *app) *cobra.Command {
	var o segmentSource
	cmd := &cobra.Command{
		Use:   "count [NAME]",
		Short: "Count the contacts in a segment",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.bind(cmd, args); err != nil {
				return err
			}
			return runSegmentsCount(cmd.Context(), a, o)
		},
	}
	o.flag(cmd)
	return cmd
}

func runSegmentsCount(ctx context.Context, a *app, o segmentSource) error {
	s, err := a.openSegments(ctx)
	if err != nil {
		return err
	}
	defer s.store.Close()
	where, err := s.query(o)
	if err != nil {
		return err
	}
	n, err := s.store.CountContacts(ctx, where)
	if err != nil {
		return err
	}
	all, err := s.store.CountContacts(ctx, store.Where{})
	if err != nil {
		return err
	}
	a.out.Printf("%d of %d contacts\n", n, all)
	return a.out.Emit("summary", struct {
		Segment string `json:"segment,omitempty"`
		Where   string `json:"where,omitempty"`
		Count   int64  `json:"count"`
		All     int64  `json:"contacts"`
	}{o.name, o.where, n, all})
}

func newSegmentsSampleCmd(a *app) *cobra.Command {
	var o segmentSource
	var n int
	var seed string
	cmd := &cobra.Command{
		Use:   "sample [NAME]",
		Short: "Show some contacts of a segment",
		Long: `Show some contacts of a segment, with the fields that its expression looks at. The choice is random but stable: the same
seed picks the same people, also after others have come and gone.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.bind(cmd, args); err != nil {
				return err
			}
			if n < 1 || n > 10000 {
				return usage("--number is from 1 to 10000")
			}
			return runSegmentsSample(cmd.Context(), a, o, n, seed)
		},
	}
	o.flag(cmd)
	cmd.Flags().IntVarP(&n, "number", "n", 10, "the `number` of contacts to show")
	cmd.Flags().StringVar(&seed, "seed", "", "another seed (any `text`) picks other people")
	return cmd
}

func runSegmentsSample(ctx context.Context, a *app, o segmentSource, n int, seed string) error {
	s, err := a.openSegments(ctx)
	if err != nil {
		return err
	}
	defer s.store.Close()
	where, err := s.query(o)
	if err != nil {
		return err
	}
	columns, err := s.columns(o)
	if err != nil {
		return err
	}
	people, err := s.store.Sample(ctx, where, n, seed)
	if err != nil {
		return err
	}
	header := []string{"address"}
	for _, f := range columns {
		header = append(header, f.Name)
	}
	var rows [][]string
	for _, p := range people {
		row := []string{p.Address}
		for _, f := range columns {
			row = append(row, p.Values[f.Name])
		}
		rows = append(rows, row)
		if err := a.out.Emit("contact", map[string]any{"address": p.Address, "fields": p.Values}); err != nil {
			return err
		}
	}
	if !a.out.JSON {
		a.out.Table(header, rows)
	}
	return a.out.Emit("summary", map[string]any{"sampled": len(people), "seed": seed})
}

// columns are the fields that the expressions look at; the first ones of the workspace when they look at none.
func (s *segments) columns(o segmentSource) ([]contact.Field, error) {
	const few = 5
	var columns []contact.Field
	sources := []string{o.where}
	if o.name != "" {
		src, err := s.load(o.name)
		if err != nil {
			return nil, err
		}
		sources = append(sources, src)
	}
	seen := map[int64]bool{}
	for _, src := range sources {
		e, err := segment.Explain(src, s.schema)
		if err != nil {
			return nil, err
		}
		for _, f := range e.Fields {
			if !seen[f.ID] {
				seen[f.ID] = true
				columns = append(columns, f)
			}
		}
	}
	if len(columns) == 0 {
		columns = s.schema.Fields[:min(few, len(s.schema.Fields))]
	}
	return columns, nil
}

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
	if err != nil {
		return err
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
	counts, err := s.store.CountEach(ctx, conditions(e.Clauses))
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
	if a.out.JSON {
		return a.out.Emit("summary", struct {
			Expression string `json:"expression"`
			SQL        string `json:"sql"`
			Arguments  []any  `json:"arguments"`
			Count      int64  `json:"count"`
		}{src, e.Query.SQL, append([]any{}, e.Query.Args...), counts[0]})
	}
	a.out.Table([]string{"contacts", "of whom this is true"}, rows, 0)
	a.out.Printf("\nSQL        %s\narguments  %s\n", e.Query.SQL, argumentsText(e.Query.Args))
	return nil
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
