package main

import (
	"context"

	"mailer/internal/store"

	"github.com/spf13/cobra"
)

func newContactsCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "contacts",
		Aliases: []string{"contact"},
		Short:   "See, change, export and forget contacts",
	}
	cmd.AddCommand(newContactsListCmd(a), newContactsCountCmd(a), newContactsShowCmd(a), newContactsSetCmd(a),
		newContactsExportCmd(a), newContactsForgetCmd(a))
	return cmd
}

// who is the flags that say which contacts.
type who struct {
	where   string
	list    string
	segment string
}

func (o *who) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.where, "where", "", "contacts for which this `expression` holds")
	cmd.Flags().StringVar(&o.list, "list", "", "contacts on this `list`")
	cmd.Flags().StringVar(&o.segment, "segment", "", "contacts in this saved segment (`name`)")
}

// people is an open workspace and the contacts that the flags name.
func (o who) people(ctx context.Context, a *app) (*segments, store.Where, error) {
	s, err := a.openSegments(ctx)
	if err != nil {
		return nil, store.Where{}, err
	}
	where, err := s.query(segmentSource{name: o.segment, where: o.where})
	if err == nil && o.list != "" {
		id, ok := s.schema.Lists[o.list]
		if !ok {
			err = usage("there is no list %q; mailer lists shows what there is", o.list)
		}
		where = where.And(store.OnList(id))
	}
	if err != nil {
		s.store.Close()
		return nil, store.Where{}, err
	}
	return s, where, nil
}
