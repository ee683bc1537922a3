package main

import (
	"context"

	"mailer/internal/store"

	"github.com/spf13/cobra"
)

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
	bar := counting(a)
	n, err := s.store.CountWith(ctx, where, bar.set)
	bar.close()
	if err != nil {
		return err
	}
	all, err := s.store.CountContacts(ctx, store.Where{})
	if err != nil {
		return err
	}
	all = max(all, n) // somebody may have been forgotten between the two
	a.out.Printf("%d of %d contacts\n", n, all)
	return a.out.Emit("summary", struct {
		Segment string `json:"segment,omitempty"`
		Where   string `json:"where,omitempty"`
		Count   int64  `json:"count"`
		All     int64  `json:"contacts"`
	}{o.name, o.where, n, all})
}
