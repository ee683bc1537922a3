package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"mailer/internal/contact"

	"github.com/spf13/cobra"
)

// contactJSON is a contact for scripts.
type contactJSON struct {
	Address string            `json:"address"`
	Fields  map[string]string `json:"fields"`
	Created string            `json:"created_at"`
	Updated string            `json:"updated_at"`
}

func contactLine(c contact.Contact) contactJSON {
	return contactJSON{c.Address, c.Values, c.Created.Format(time.RFC3339), c.Updated.Format(time.RFC3339)}
}

func newContactsListCmd(a *app) *cobra.Command {
	var o who
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List contacts with their first fields",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("limit") && a.out.JSON {
				limit = 0
			}
			return runContactsList(cmd.Context(), a, o, limit)
		},
	}
	o.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, "show at most this `number`; 0: all (the default with --json)")
	return cmd
}

// listColumns is how many fields a list on the screen shows.
const listColumns = 5

func runContactsList(ctx context.Context, a *app, o who, limit int) error {
	s, where, err := o.people(ctx, a)
	if err != nil {
		return err
	}
	defer s.store.Close()
	total, err := s.store.CountContacts(ctx, where)
	if err != nil {
		return err
	}
	fields := s.schema.Fields
	fields = slices.DeleteFunc(slices.Clone(fields), func(f contact.Field) bool { return f.Role == contact.Address })
	fields = fields[:min(listColumns, len(fields))]
	header := []string{"address"}
	for _, f := range fields {
		header = append(header, f.Name)
	}
	var rows [][]string
	shown, enough := 0, errors.New("enough")
	err = s.store.EachContact(ctx, where, func(c contact.Contact) error {
		if limit > 0 && shown == limit {
			return enough
		}
		shown++
		if a.out.JSON {
			return a.out.Emit("contact", contactLine(c))
		}
		row := []string{c.Address}
		for _, f := range fields {
			row = append(row, shorten(c.Values[f.Name], 30))
		}
		rows = append(rows, row)
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		return err
	}
	if a.out.JSON {
		return a.out.Emit("summary", map[string]int64{"contacts": total, "shown": int64(shown)})
	}
	a.out.Table(header, rows)
	if more := total - int64(shown); more > 0 {
		a.out.Printf("... and %d more (--limit 0 shows all)\n", more)
	}
	return nil
}

func newContactsCountCmd(a *app) *cobra.Command {
	var o who
	cmd := &cobra.Command{
		Use:   "count",
		Short: "Count contacts",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, where, err := o.people(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.store.Close()
			n, err := s.store.CountContacts(cmd.Context(), where)
			if err != nil {
				return err
			}
			a.out.Printf("%d\n", n)
			return a.out.Emit("summary", map[string]int64{"contacts": n})
		},
	}
	o.flags(cmd)
	return cmd
}
