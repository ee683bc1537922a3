package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailer/internal/contact"
	"mailer/internal/spelling"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const fieldsHelp = `List the fields of the contacts, set what they are, delete them.

Every column of an imported file is a field under its own name. A type says how values compare in --where and in
segments; it never changes how they print. A new column is a number, a date, a boolean or a list only if every one of
its cells is; otherwise it is text, and so are names, companies, prefectures, postal codes and telephone numbers always.
An import rejects a cell that does not fit, and text takes any cell.

  number    12, -0.5. Leading zeros, more than 15 digits, 1,234, ¥1,200 and 1E+11 are text: write the number alone
  date      2026-01-05, 2026/1/5, 2026.1.5, 2026年1月5日, 令和8年1月5日, R8/1/5, each with a time or without. A zone
            (2026-01-05T10:00:00+09:00) is kept and not applied: it compares by the time that it shows. 01/02/2026 is
            text, two countries read two days in it
  boolean   true/false, yes/no, on/off, はい/いいえ
  list      a;b or a|b, few words that come again, or any separator in a column named tags. A list that is declared is
            cut at , ; | 、 and new lines

A role says what a field means (the prefecture, the name), whatever its header is called.`

func newFieldsCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "fields",
		Aliases: []string{"field"},
		Short:   "List the fields of contacts, set their types and roles, delete them",
		Long:    fieldsHelp,
	}
	cmd.AddCommand(newFieldsListCmd(a), newFieldsSetCmd(a), newFieldsDeleteCmd(a))
	return cmd
}

func newFieldsListCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the fields with type, role, how many contacts have a value, and one of them",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runFieldsList(cmd.Context(), a) },
	}
}

// fieldJSON is a field for scripts.
type fieldJSON struct {
	Name     string       `json:"name"`
	Type     contact.Type `json:"type"`
	Role     contact.Role `json:"role"`
	Declared bool         `json:"declared"`
}

func runFieldsList(ctx context.Context, a *app) error {
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	fields, err := st.Fields(ctx)
	if err != nil {
		return err
	}
	bar := &lateBar{a: a, label: "count values", unit: "contacts"}
	stats, err := st.FieldStats(ctx, bar.set)
	bar.close()
	if err != nil {
		return err
	}
	var rows [][]string
	for _, f := range fields {
		stat := stats[f.ID]
		if err := a.out.Emit("field", struct {
			fieldJSON
			Values  int64  `json:"values"`
			Example string `json:"example"`
		}{fieldJSON{f.Name, f.Type, f.Role, f.Declared}, stat.Values, stat.Example}); err != nil {
			return err
		}
		how := "inferred"
		if f.Declared {
			how = "set"
		}
		rows = append(rows, []string{f.Name, string(f.Type), how, string(f.Role), fmt.Sprint(stat.Values), shorten(stat.Example, 30)})
	}
	if a.out.JSON {
		return a.out.Emit("summary", map[string]int{"fields": len(fields)})
	}
	if len(rows) == 0 {
		a.out.Println("There are no fields yet: mailer import makes them.")
		return nil
	}
	a.out.Table([]string{"field", "type", "", "means", "values", "example"}, rows, 4)
	return nil
}

// lateBar is a progress bar that starts with the first step, or with the first after some time.
type lateBar struct {
	a           *app
	label, unit string
	after       time.Time
	bar         *ui.Progress
}

func (b *lateBar) set(done, total int64) {
	if b.bar == nil && time.Now().Before(b.after) {
		return
	}
	if b.bar == nil {
		b.bar = b.a.out.Bar(b.label, b.unit, total)
	}
	b.bar.Set(done)
}

// spin is set without a known end.
func (b *lateBar) spin(done int64) { b.set(done, -1) }

func (b *lateBar) close() {
	if b.bar != nil {
		b.bar.Close()
	}
}

type fieldsSetOptions struct{ typ, role string }

func newFieldsSetCmd(a *app) *cobra.Command {
	var o fieldsSetOptions
	cmd := &cobra.Command{
		Use:   "set NAME [--type TYPE] [--role ROLE]",
		Short: "Set the type or the role of a field; the stored values are brought to it in one change",
		Long: `Set the type or the role of a field, or make a field. The stored values are brought to the new type in one change; when
one of them does not fit, nothing is changed. A type that was set is not inferred again. A role belongs to one field:
another one that has it loses it; --role none takes it away.`,
		Args: exactArgs(1, "the NAME of a field"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runFieldsSet(cmd.Context(), a, args[0], o)
		},
	}
	cmd.Flags().StringVar(&o.typ, "type", "", "`type`: "+typeNames())
	cmd.Flags().StringVar(&o.role, "role", "", "`role`: none, "+roleNames())
	return cmd
}

func typeNames() string {
	var names []string
	for _, t := range contact.Types {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

func roleNames() string {
	var names []string
	for _, r := range contact.Roles {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// settle checks the flags.
func (o fieldsSetOptions) settle() (contact.Type, *contact.Role, error) {
	typ, role := contact.Type(o.typ), contact.Role(o.role)
	if o.role == "none" {
		role = contact.NoRole
	}
	switch {
	case o.typ == "" && o.role == "":
		return "", nil, usage("fields set needs --type, one of %s, or --role", typeNames())
	case o.typ != "" && !typ.Valid():
		return "", nil, usage("--type takes %s, not %q", typeNames(), o.typ)
	case o.role == "":
		return typ, nil, nil
	case role != contact.NoRole && !slices.Contains(contact.Roles, role):
		return "", nil, usage("--role takes none, %s, not %q", roleNames(), o.role)
	}
	return typ, &role, nil
}

func runFieldsSet(ctx context.Context, a *app, name string, o fieldsSetOptions) error {
	name = strings.TrimSpace(name)
	typ, role, err := o.settle()
	switch {
	case err != nil:
		return err
	case name == "":
		return usage("a field needs a name")
	case contact.IsEmail(name):
		return usage("email is the address itself, it has no type")
	}
	if err := contact.CheckCell(name); err != nil {
		return usage("field %q: %w", name, err)
	}
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	bar := &lateBar{a: a, label: "rewrite", unit: "contacts"}
	change, err := st.SetField(ctx, name, typ, role, bar.spin)
	bar.close()
	var misfit *store.FieldMisfit
	if errors.As(err, &misfit) {
		return misfit
	}
	if err != nil {
		return err
	}
	f := change.Field
	if change.Created || typ != "" {
		what := fmt.Sprintf("%d stored values were brought to it", change.Rewritten)
		if change.Created {
			what = "a new field"
		}
		a.out.Printf("%s is %s now; %s\n", ui.Clean(name), f.Type, what)
	}
	switch {
	case role != nil && *role == contact.NoRole:
		a.out.Printf("%s has no role now\n", ui.Clean(name))
	case role != nil:
		a.out.Printf("%s means %s now\n", ui.Clean(name), f.Role)
	}
	if change.RoleFrom != "" {
		a.out.Printf("  %s meant it before, and has no role now\n", ui.Clean(change.RoleFrom))
	}
	return a.out.Emit("summary", struct {
		fieldJSON
		Created   bool  `json:"created"`
		Rewritten int64 `json:"rewritten"`
	}{fieldJSON{f.Name, f.Type, f.Role, f.Declared}, change.Created, change.Rewritten})
}

func newFieldsDeleteCmd(a *app) *cobra.Command {
	var erase bool
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a field that holds nothing; --erase deletes what it holds too",
		Long: `Delete a field. One that holds values is left alone, unless --erase is given: they are then erased from every contact, and
no import undo brings them back (what imports and edits changed is still told by mailer import show). A field is not
renamed: its history and the files that are imported know it by its name. To give a column another name, import it with
--map COLUMN=NAME and delete the old field.`,
		Args: exactArgs(1, "the NAME of a field"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runFieldsDelete(cmd.Context(), a, args[0], erase)
		},
	}
	cmd.Flags().BoolVar(&erase, "erase", false, "erase the values of the field from all contacts")
	return cmd
}

func runFieldsDelete(ctx context.Context, a *app, name string, erase bool) error {
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	fields, err := st.Fields(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(fields, func(f contact.Field) bool { return f.Name == name })
	if i < 0 {
		var names []string
		for _, f := range fields {
			names = append(names, f.Name)
		}
		hint := ""
		if near := spelling.Nearest(name, names); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		return usage("there is no field %q (mailer fields list shows them)%s", name, hint)
	}
	bar := &lateBar{a: a, label: "erase", unit: "contacts"}
	change, err := st.DeleteField(ctx, fields[i], erase, bar.spin)
	bar.close()
	if errors.Is(err, store.ErrFieldHolds) {
		return fmt.Errorf("%w; --erase deletes its values too", err)
	}
	if err != nil {
		return err
	}
	a.out.Printf("field %s is deleted, with %s\n", ui.Clean(name), ui.Count(change.Rewritten, "value", "values"))
	return a.out.Emit("summary", struct {
		fieldJSON
		Erased int64 `json:"erased"`
	}{fieldJSON{fields[i].Name, fields[i].Type, fields[i].Role, fields[i].Declared}, change.Rewritten})
}
