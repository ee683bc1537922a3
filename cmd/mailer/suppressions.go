package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"

	"mailer/internal/address"
	"mailer/internal/contact"
	"mailer/internal/store"
	"mailer/internal/suppression"

	"github.com/spf13/cobra"
)

const suppressionsHelp = `See and change who must not be mailed.

A suppression wins over everything: no import, edit or segment brings the address back. An unsubscribe blocks marketing
only; a dead address, a complaint and your own word block all mail. Each has its reason and its evidence, and a
removal stays in the history.`

func newSuppressionsCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "suppressions",
		Aliases: []string{"suppression"},
		Short:   "See and change who must not be mailed",
		Long:    suppressionsHelp,
	}
	cmd.AddCommand(newSuppressionsListCmd(a), newSuppressionsAddCmd(a), newSuppressionsRemoveCmd(a), newSuppressionsImportCmd(a), newSuppressionsExportCmd(a))
	return cmd
}

func newSuppressionsListCmd(a *app) *cobra.Command {
	var f store.SuppressionFilter
	cmd := &cobra.Command{
		Use:   "list [ADDRESS]",
		Short: "List suppressions with reason and evidence",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("suppressions list takes one ADDRESS, got %d", len(args))
			}
			if len(args) == 1 {
				target, err := parseTarget(args[0])
				if err != nil {
					return err
				}
				f.Key = target.Key
			}
			return runSuppressionsList(cmd.Context(), a, f)
		},
	}
	cmd.Flags().StringVar(&f.Reason, "reason", "", "only this `reason`: "+strings.Join(suppression.Reasons(), ", "))
	cmd.PreRunE = func(*cobra.Command, []string) error { return checkReason(f.Reason) }
	return cmd
}

// suppressionJSON is a suppression for scripts.
type suppressionJSON struct {
	Address  string `json:"address"`
	Scope    string `json:"scope"`
	Blocks   string `json:"blocks"`
	Reason   string `json:"reason"`
	Evidence string `json:"evidence"`
	Since    string `json:"since"`
	Mail     int64  `json:"mail,omitempty"` // the recorded mail that showed it
}

func suppressionLine(r store.SuppressionRow) suppressionJSON {
	return suppressionJSON{r.Key, r.Scope, r.Blocks, r.Reason, r.Evidence, r.Since.Format("2006-01-02T15:04:05.999Z07:00"), r.Bounce}
}

func runSuppressionsList(ctx context.Context, a *app, f store.SuppressionFilter) error {
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	var rows [][]string
	count := 0
	err = st.Suppressions(ctx, f, func(r store.SuppressionRow) error {
		count++
		if !a.out.JSON {
			rows = append(rows, []string{shownKey(r.Suppression), r.Reason, r.Blocks, a.stamp(r.Since), some(int(r.Bounce)), shorten(clean(r.Evidence), 60)})
		}
		return a.out.Emit("suppression", suppressionLine(r))
	})
	if err != nil {
		return err
	}
	if a.out.JSON {
		return a.out.Emit("summary", map[string]int{"suppressions": count})
	}
	switch {
	case len(rows) == 0 && f.Key != "":
		a.out.Println("Nothing of that is suppressed. mailer why ADDRESS tells all that happened with an address.")
		return nil
	case len(rows) == 0 && f.Reason != "":
		a.out.Printf("Nothing is suppressed for %s.\n", f.Reason)
		return nil
	case len(rows) == 0:
		a.out.Println("Nothing is suppressed.")
		return nil
	}
	a.out.List(4, []string{"address", "reason", "blocks", "since", "mail", "evidence"}, rows, 4)
	return nil
}

// shownKey is an address, or a domain with an @ before it.
func shownKey(s store.Suppression) string {
	if s.Scope == suppression.ScopeDomain {
		return "@" + s.Key
	}
	return s.Key
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

type suppressionsAddOptions struct{ reason, blocks, evidence string }

func newSuppressionsAddCmd(a *app) *cobra.Command {
	var o suppressionsAddOptions
	cmd := &cobra.Command{
		Use:   "add ADDRESS...",
		Short: "Never mail these addresses again (@example.com: a whole domain)",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("suppressions add needs an ADDRESS, or @example.com for a domain")
			}
			return runSuppressionsAdd(cmd.Context(), a, args, o)
		},
	}
	o.flags(cmd, suppression.Manual)
	return cmd
}

func (o *suppressionsAddOptions) flags(cmd *cobra.Command, reason string) {
	cmd.Flags().StringVar(&o.reason, "reason", reason, "`reason`: "+strings.Join(suppression.Reasons(), ", "))
	cmd.Flags().StringVar(&o.blocks, "blocks", "", "what it blocks: `marketing|all` (default: as the reason says)")
	cmd.Flags().StringVar(&o.evidence, "evidence", "", "`text` that says where this comes from")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if o.blocks != "" && o.blocks != suppression.BlocksMarketing && o.blocks != suppression.BlocksAll {
			return usage("--blocks takes marketing or all, not %q", o.blocks)
		}
		return checkReason(o.reason)
	}
}

func checkReason(reason string) error {
	if reason == "" || slices.Contains(suppression.Reasons(), reason) {
		return nil
	}
	return usage("--reason takes %s, not %q", strings.Join(suppression.Reasons(), ", "), reason)
}

// over fills in what the target does not say itself.
func (o suppressionsAddOptions) over(s store.Suppression) store.Suppression {
	if s.Reason == "" {
		s.Reason = o.reason
	}
	if s.Blocks == "" {
		s.Blocks = o.blocks
	}
	if s.Blocks == "" {
		s.Blocks = suppression.Blocks(s.Reason)
	}
	if s.Evidence == "" {
		s.Evidence = o.evidence
	}
	return s
}

func runSuppressionsAdd(ctx context.Context, a *app, args []string, o suppressionsAddOptions) error {
	var batch []store.Suppression
	for _, arg := range args {
		s, err := parseTarget(arg)
		if err != nil {
			return err
		}
		batch = append(batch, o.over(s))
	}
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	added, err := st.AddSuppressions(ctx, batch, "suppressions add")
	if err != nil {
		return err
	}
	if err := a.out.Emit("summary", struct {
		Rows     int `json:"rows"`
		Added    int `json:"added"`
		Already  int `json:"already"`
		Rejected int `json:"rejected"`
	}{Rows: len(batch), Added: added, Already: len(batch) - added}); err != nil {
		return err
	}
	a.out.Printf("%d suppressed, %d were already\n", added, len(batch)-added)
	return nil
}

// parseTarget reads an address, or a domain written @example.com.
func parseTarget(text string) (store.Suppression, error) {
	if domain, ok := strings.CutPrefix(strings.TrimSpace(text), "@"); ok {
		return domainTarget(domain)
	}
	key, err := keyOf(text)
	return store.Suppression{Scope: suppression.ScopeAddress, Key: key}, err
}

func domainTarget(domain string) (store.Suppression, error) {
	a, err := address.Parse("postmaster@" + domain)
	if err != nil {
		return store.Suppression{}, usage("domain %q: %w", domain, err)
	}
	return store.Suppression{Scope: suppression.ScopeDomain, Key: a.Domain()}, nil
}

// keyOf is the comparison key of an address that a person typed.
func keyOf(text string) (string, error) {
	a, err := address.Parse(text)
	if err != nil {
		return "", usage("address %q: %w", text, err)
	}
	return a.Key, nil
}

func newSuppressionsRemoveCmd(a *app) *cobra.Command {
	var reason, why string
	cmd := &cobra.Command{
		Use:   "remove ADDRESS",
		Short: "Lift the suppressions of an address (@example.com: of a domain)",
		Args:  exactArgs(1, "ADDRESS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runSuppressionsRemove(cmd.Context(), a, args[0], reason, why)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "lift only this `reason` (default: all)")
	cmd.Flags().StringVar(&why, "evidence", "", "`text` that says why, kept in the history")
	cmd.PreRunE = func(*cobra.Command, []string) error { return checkReason(reason) }
	return cmd
}

func runSuppressionsRemove(ctx context.Context, a *app, text, reason, why string) error {
	target, err := parseTarget(text)
	if err != nil {
		return err
	}
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	lifted, err := st.RemoveSuppression(ctx, target.Scope, target.Key, reason, why)
	if err != nil {
		return err
	}
	if err := a.out.Emit("summary", struct {
		Removed int `json:"removed"`
	}{len(lifted)}); err != nil {
		return err
	}
	if len(lifted) == 0 {
		return fmt.Errorf("%s is not suppressed", shownKey(target))
	}
	for _, s := range lifted {
		a.out.Printf("%s: %s lifted\n", shownKey(s), s.Reason)
		if s.Reason != suppression.Manual && s.Reason != suppression.Import {
			a.out.Warnf("%s was suppressed for %s; mail it only with the person's new consent", shownKey(s), s.Reason)
		}
	}
	return nil
}

func newSuppressionsExportCmd(a *app) *cobra.Command {
	var f store.SuppressionFilter
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write all suppressions as CSV to standard output (--json: a line each)",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runSuppressionsExport(cmd.Context(), a, f) },
	}
	cmd.Flags().StringVar(&f.Reason, "reason", "", "only this `reason`")
	cmd.PreRunE = func(*cobra.Command, []string) error { return checkReason(f.Reason) }
	return cmd
}

func runSuppressionsExport(ctx context.Context, a *app, f store.SuppressionFilter) error {
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	salt, err := st.ForgetSalt(ctx)
	if err != nil {
		return err
	}
	line := func(r store.SuppressionRow) suppressionJSON {
		s := suppressionLine(r)
		if store.IsForgotten(r.Key) {
			s.Evidence = saltMark + salt
		}
		return s
	}
	if a.out.JSON {
		count := 0
		err := st.Suppressions(ctx, f, func(r store.SuppressionRow) error {
			count++
			return a.out.Emit("suppression", line(r))
		})
		if err != nil {
			return err
		}
		return a.out.Emit("summary", map[string]int{"suppressions": count})
	}
	w := csv.NewWriter(a.out.Data())
	if err := w.Write([]string{"address", "scope", "blocks", "reason", "since", "evidence"}); err != nil {
		return err
	}
	err = st.Suppressions(ctx, f, func(r store.SuppressionRow) error {
		s := line(r)
		return w.Write([]string{contact.Guard(s.Address), s.Scope, s.Blocks, s.Reason, s.Since, contact.Guard(importable.Replace(s.Evidence))})
	})
	w.Flush()
	if err != nil {
		return err
	}
	return w.Error()
}

// saltMark begins the evidence of a hash in an export: it tells which database the hash belongs to.
const saltMark = "salt "

// importable takes out of evidence, which comes from strangers' mail, what an import refuses.
var importable = strings.NewReplacer("\ufffd", "?", "\x00", " ")
