package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newListsCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "lists",
		Short: "Show the lists and how many are on them",
		Long:  "Show the lists, how many contacts are on each, and of how many it is recorded that they agreed.\nmailer import FILE --list NAME makes a list and adds to it.",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runLists(cmd.Context(), a) },
	}
}

// listLine is a list for scripts.
type listLine struct {
	List      string `json:"list"`
	Contacts  int64  `json:"contacts"`
	Consented int64  `json:"consented"`
	Created   string `json:"created"`
}

func runLists(ctx context.Context, a *app) error {
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	lists, err := st.ListSizes(ctx)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, l := range lists {
		created := l.Created.In(ws.Config.Location())
		if err := a.out.Emit("list", listLine{l.Name, l.Contacts, l.Consented, created.Format(time.RFC3339)}); err != nil {
			return err
		}
		rows = append(rows, []string{l.Name, fmt.Sprint(l.Contacts), fmt.Sprint(l.Consented), created.Format("2006-01-02 15:04")})
	}
	switch {
	case a.out.JSON:
		return a.out.Emit("summary", map[string]int{"lists": len(lists)})
	case len(rows) == 0:
		a.out.Println("There is no list yet: mailer import FILE --list NAME makes one.")
	default:
		a.out.Table([]string{"list", "contacts", "consent recorded", "made"}, rows, 1, 2)
	}
	return nil
}
