package main

import (
	"context"
	"slices"

	"mailer/internal/address"
	"mailer/internal/contact"
	"mailer/internal/store"

	"github.com/spf13/cobra"
)

const contactsSetHelp = `Change the fields of one contact: NAME=VALUE for each. An empty value erases the field.

The change is kept like an import: mailer import list shows its number, mailer import undo takes it back.`

func newContactsSetCmd(a *app) *cobra.Command {
	var create bool
	var list string
	cmd := &cobra.Command{
		Use:   "set ADDRESS NAME=VALUE...",
		Short: "Change fields of one contact, or add a contact",
		Long:  contactsSetHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) == 1 && !create && list == "" {
				return usage("contacts set needs ADDRESS and NAME=VALUE")
			}
			return runContactsSet(cmd.Context(), a, args, create, list)
		},
	}
	cmd.Flags().BoolVar(&create, "create", false, "add the contact when there is none")
	cmd.Flags().StringVar(&list, "list", "", "put the contact on this `list` too")
	return cmd
}

func runContactsSet(ctx context.Context, a *app, args []string, create bool, list string) error {
	who, err := address.Parse(args[0])
	if err != nil {
		return usage("address %q: %w", args[0], err)
	}
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	c, exists, err := st.Contact(ctx, who.Key)
	if err != nil {
		return err
	}
	if exists {
		who.Text = c.Address // its spelling is not the matter here
	} else if !create {
		return usage("%s is no contact; --create adds it", who.Text)
	}
	fields, err := st.Fields(ctx)
	if err != nil {
		return err
	}
	columns, cells, err := assignments(fields, args[1:])
	if err != nil {
		return err
	}
	totals, id, err := edit(ctx, st, store.ImportSpec{Kind: "edit", Source: "contacts set", Options: "{}", Columns: columns, List: list, Clears: true},
		store.Row{Line: 1, Address: who.Text, Key: who.Key, Cells: cells})
	if err != nil {
		return err
	}
	what := "unchanged"
	switch {
	case totals.Created > 0:
		what = "created"
	case totals.Updated > 0:
		what = "updated"
	}
	a.out.Printf("%s: %s (mailer import undo %d takes it back)\n", who.Text, what, id)
	if totals.Suppressed > 0 {
		a.out.Warnf("%s is suppressed and stays so", who.Text)
	}
	return a.out.Emit("summary", map[string]any{"address": who.Text, "result": what, "change_set": id})
}

// assignments reads NAME=VALUE. The first equals sign that ends a field's name divides.
func assignments(fields []contact.Field, args []string) (columns []contact.Field, cells []string, err error) {
	byName := map[string]contact.Field{}
	for _, f := range fields {
		byName[f.Name] = f
	}
	for _, arg := range args {
		name, value, ok := cutKnown(arg, byName)
		if !ok {
			return nil, nil, usage("%q: write NAME=VALUE with the name of a field; mailer fields list shows them, mailer fields set NAME --type text makes one", arg)
		}
		f := byName[name]
		if slices.ContainsFunc(columns, func(c contact.Field) bool { return c.ID == f.ID }) {
			return nil, nil, usage("%q is set twice", name)
		}
		if err := contact.CheckCell(value); err != nil {
			return nil, nil, usage("%s: %w", name, err)
		}
		if !contact.Fits(f.Type, value) {
			return nil, nil, usage("%w", &contact.MismatchError{Field: f, Cell: value})
		}
		columns, cells = append(columns, f), append(cells, value)
	}
	return columns, cells, nil
}

// cutKnown cuts behind the name of a field, which may hold equals signs itself.
func cutKnown(arg string, fields map[string]contact.Field) (name, value string, ok bool) {
	for i := range len(arg) {
		if arg[i] != '=' {
			continue
		}
		if _, known := fields[arg[:i]]; known {
			return arg[:i], arg[i+1:], true
		}
	}
	return "", "", false
}

// edit applies one row as a change set of its own.
func edit(ctx context.Context, st *store.Store, spec store.ImportSpec, row store.Row) (store.Totals, int64, error) {
	set, err := st.BeginImport(ctx, spec)
	if err == nil {
		err = st.Apply(ctx, set, []store.Row{row})
	}
	if err == nil {
		err = st.FinishImport(ctx, set, 0)
	}
	if err != nil {
		return store.Totals{}, 0, err
	}
	return set.Totals, set.ID, nil
}
