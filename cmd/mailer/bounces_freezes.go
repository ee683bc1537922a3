package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mailer/internal/provider"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const bouncesFreezesHelp = `List the receiving providers that are frozen: so many of their recipients turned out dead at once that a block or a fault there is
likelier than that all of them left. What such a provider says of addresses suppresses nobody, until you release it or a
day has passed (cleaning.freeze in mailer.yaml). What came back is recorded all the same.`

// freezeJSON is a frozen provider for scripts.
type freezeJSON struct {
	Provider string `json:"provider"`
	Active   bool   `json:"active"`
	Began    string `json:"began"`
	Until    string `json:"until"`
	Dead     int64  `json:"dead"`
	Of       int64  `json:"of"`
	Held     int64  `json:"held"`
	Released string `json:"released"`
	Word     string `json:"word"`
}

func (a *app) freezeLine(f store.Freeze) freezeJSON {
	return freezeJSON{f.Lane, f.Active(a.now()), stampJSON(f.Began), stampJSON(f.Until), f.Dead, f.Of, f.Held, stampJSON(f.Released), f.Word}
}

// tellFreeze says that a provider's dead addresses are not believed any more, or would not be, and what a person can say to it.
func (a *app) tellFreeze(f store.Freeze, dryRun bool) {
	a.out.Emit("freeze", a.freezeLine(f))
	if dryRun {
		a.out.Warnf("%s would be frozen: %s. None of them would be suppressed before you say so", clean(f.Lane), clean(f.Why()))
		return
	}
	a.out.Warnf("%s is frozen until %s: %s. None of them was suppressed; a block or a fault there says such things too. Mail to it goes on. "+
		"mailer bounces release %s --suppress, if they are dead; --keep, if not", clean(f.Lane), a.stamp(f.Until), clean(f.Why()), clean(f.Lane))
}

// freezeText is what a frozen provider holds back, and what to do about it.
func (a *app) freezeText(f store.Freeze) string {
	state := "is frozen until " + a.stamp(f.Until)
	if !f.Active(a.now()) {
		state = "was frozen until " + a.stamp(f.Until)
	}
	return fmt.Sprintf("%s %s, %s held back: mailer bounces freezes", clean(f.Lane), state, ui.Count(f.Held, "dead address", "dead addresses"))
}

func newBouncesFreezesCmd(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "freezes",
		Short: "List the providers whose bounces are not believed for a time",
		Long:  bouncesFreezesHelp,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runBouncesFreezes(cmd.Context(), a, all) },
	}
	cmd.Flags().BoolVar(&all, "all", false, "those of the past too")
	return cmd
}

func runBouncesFreezes(ctx context.Context, a *app, all bool) error {
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	found, err := st.Freezes(ctx, all)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, f := range found {
		if err := a.out.Emit("freeze", a.freezeLine(f)); err != nil {
			return err
		}
		state := "over"
		switch {
		case f.Held > 0 && !f.Active(a.now()):
			state = "over, waits for your word"
		case f.Active(a.now()):
			state = "until " + a.stamp(f.Until)
		case !f.Released.IsZero():
			state = "released " + a.stamp(f.Released) + " (" + f.Word + ")"
		}
		rows = append(rows, []string{clean(f.Lane), a.stamp(f.Began), fmt.Sprintf("%d of %d", f.Dead, f.Of), fmt.Sprint(f.Held), state})
	}
	if a.out.JSON {
		return a.out.Emit("summary", map[string]int{"freezes": len(found)})
	}
	if len(rows) == 0 {
		if all {
			a.out.Println("No provider was ever frozen.")
		} else {
			a.out.Println("No provider is frozen. --all shows those of the past.")
		}
		return nil
	}
	a.out.List(2, []string{"provider", "since", "dead", "held back", ""}, rows, 2, 3)
	gap := "\n"
	for _, f := range found {
		if f.Held > 0 {
			a.out.Printf(gap+"mailer bounces release %s --suppress, if those held back are dead; --keep, if it was a block or a fault there\n", clean(f.Lane))
			gap = ""
		}
	}
	return nil
}

const bouncesReleaseHelp = `Say what the dead addresses of a frozen provider are (mailer bounces freezes): suppressed after all, or not.

  mailer bounces release docomo --suppress     # they are dead: suppress those that were held back
  mailer bounces release docomo --keep         # it was a block or a fault there: forget it`

func newBouncesReleaseCmd(a *app) *cobra.Command {
	var suppress, keep bool
	cmd := &cobra.Command{
		Use:   "release PROVIDER",
		Short: "End the freeze of a provider and say what its dead addresses are",
		Long:  bouncesReleaseHelp,
		Args:  exactArgs(1, "PROVIDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if suppress == keep {
				return usage("bounces release takes --suppress (the addresses are dead) or --keep (they are not)")
			}
			return runBouncesRelease(cmd.Context(), a, args[0], suppress)
		},
	}
	cmd.Flags().BoolVar(&suppress, "suppress", false, "suppress the addresses that were held back")
	cmd.Flags().BoolVar(&keep, "keep", false, "keep them")
	return cmd
}

func runBouncesRelease(ctx context.Context, a *app, name string, suppress bool) error {
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	providers, err := ws.Providers()
	if err != nil {
		return err
	}
	lane := laneNamed(providers, name)
	found, err := st.Freezes(ctx, false)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(found, func(f store.Freeze) bool { return f.Lane == lane }) {
		return fmt.Errorf("%s is not frozen: mailer bounces freezes lists those that are", lane)
	}
	n, err := st.ReleaseFreeze(ctx, lane, suppress)
	if err != nil {
		return err
	}
	suppressed := int64(0)
	what := "kept"
	if suppress {
		suppressed, what = n, "suppressed"
	}
	if err := a.out.Emit("summary", struct {
		Provider   string `json:"provider"`
		Addresses  int64  `json:"addresses"`
		Suppressed int64  `json:"suppressed"`
	}{lane, n, suppressed}); err != nil {
		return err
	}
	a.out.Printf("%s is released: %s %s\n", clean(lane), ui.Count(n, "address", "addresses"), what)
	return nil
}

// laneNamed is the provider that a person names, by its name or one of its domains; "" for none.
func laneNamed(providers provider.Table, name string) string {
	if name == "" {
		return ""
	}
	if p, ok := providers.Find(name); ok {
		return p.Name
	}
	return provider.Canonical(name)
}

const bouncesRotateHelp = `Make a new key for the signatures that lead bounces, complaints and unsubscribes back to their messages. What is sent from the next
run on is signed with it. The old keys still prove what they have signed.

There is no need to do it regularly: nobody guesses 80 bits. It can be done eight times.`

func newBouncesRotateKeyCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-key",
		Short: "Sign with a new key; old signatures still hold",
		Long:  bouncesRotateHelp,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, st, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer st.Close()
			version, err := st.RotateTokenKey(cmd.Context())
			if errors.Is(err, store.ErrNoMoreKeys) {
				return &exit{exitUsage, err}
			}
			if err != nil {
				return err
			}
			a.out.Printf("key %d signs from the next run on; those before it still hold\n", version)
			return a.out.Emit("summary", map[string]int{"version": version})
		},
	}
}
