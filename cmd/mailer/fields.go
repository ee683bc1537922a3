package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mailer/internal/contact"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const fieldsHelp = `List the fields of the contacts and set their types.

Every column of an imported file is a field under its own name. A type says how values compare in --where and in
segments; it never changes how they print. A new column is a number, a date or a boolean only if every one of its cells
is; otherwise it is text. An import rejects a cell that does not fit, and text takes any cell.`

func newFieldsCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "fields",
		Aliases: []string{"field"},
		Short:   "List the fields of contacts and set their types",
		Long:    fieldsHelp,
	}
	cmd.AddCommand(newFieldsListCmd(a), newFieldsSetCmd(a))
	return cmd
}

func newFieldsListCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the fields with their types",
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
	var rows [][]string
	for _, f := range fields {
		if err := a.out.Emit("field", fieldJSON{f.Name, f.Type, f.Role, f.Declared}); err != nil {
			return err
		}
		how := "inferred"
		if f.Declared {
			how = "set"
		}
		rows = append(rows, []string{f.Name, string(f.Type), how, string(f.Role)})
	}
	if a.out.JSON {
		return a.out.Emit("summary", map[string]int{"fields": len(fields)})
	}
	if len(rows) == 0 {
		a.out.Println("There are no fields yet: mailer import makes them.")
		return nil
	}
	a.out.Table([]string{"field", "type", "", "means"}, rows)
	return nil
}

func newFieldsSetCmd(a *app) *cobra.Command {
	var typ string
	cmd := &cobra.Command{
		Use:   "set NAME --type TYPE",
		Short: "Set the type of a field; the stored values are brought to it in one change",
		Long: `Set the type of a field, or make a field. The stored values are brought to the new type in one change; when one of them
does not fit, nothing is changed. A type that was set is not inferred again.`,
		Args: exactArgs(1, "the NAME of a field"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runFieldsSet(cmd.Context(), a, args[0], contact.Type(typ))
		},
	}
	cmd.Flags().StringVar(&typ, "type", "", "`type`: "+typeNames())
	return cmd
}

func typeNames() string {
	var names []string
	for _, t := range contact.Types {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

func runFieldsSet(ctx context.Context, a *app, name string, typ contact.Type) error {
	name = strings.TrimSpace(name)
	switch {
	case !typ.Valid():
		return usage("fields set needs --type, one of %s", typeNames())
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
	change, err := st.SetFieldType(ctx, name, typ)
	var misfit *store.FieldMisfit
	if errors.As(err, &misfit) {
		return misfit
	}
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d stored values were brought to it", change.Rewritten)
	if change.Created {
		what = "a new field"
	}
	a.out.Printf("%s is %s now; %s\n", ui.Clean(name), typ, what)
	return a.out.Emit("summary", struct {
		fieldJSON
		Created   bool  `json:"created"`
		Rewritten int64 `json:"rewritten"`
	}{fieldJSON{name, typ, change.Field.Role, true}, change.Created, change.Rewritten})
}
