package main

import (
	"context"

	"mailer/internal/contact"
	"mailer/internal/segment"

	"github.com/spf13/cobra"
)

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
