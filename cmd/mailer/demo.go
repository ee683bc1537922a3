package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"mailer/examples"
	"mailer/internal/address"
	"mailer/internal/delivery"
	"mailer/internal/sandbox"

	"github.com/spf13/cobra"
)

const demoHelp = `Show the whole loop on 1,100 invented people, Japanese and international, without mailing anybody: a temporary workspace,
import, segment, plan, send to a sandbox in the same process, bounces, report. Every command is shown before its output and
runs as you would run it. At the end it is checked that every planned recipient is accounted for.`

//go:embed demo
var demoFiles embed.FS

func newDemoCmd(a *app) *cobra.Command {
	var keep string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole loop on invented people, without mailing anybody",
		Long:  demoHelp,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), a, keep) },
	}
	cmd.Flags().StringVar(&keep, "keep", "", "make the workspace in this new `folder`, and leave it")
	return cmd
}

func runDemo(ctx context.Context, a *app, keep string) error {
	begun := time.Now()
	dir, err := demoFolder(keep)
	if err != nil {
		return err
	}
	if keep == "" {
		defer os.RemoveAll(dir)
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	box, err := sandbox.Start(ctx, sandbox.Options{Scenario: "named", Seed: 1, Greylist: time.Second})
	if err != nil {
		return err
	}
	defer box.Close()
	d := &demo{a: a, dir: dir, exe: exe, box: box}
	if err := d.play(ctx); err != nil {
		return err
	}
	verdict, err := d.check(ctx)
	if err != nil {
		return err
	}
	verdict.Seconds = time.Since(begun).Seconds()
	if keep != "" {
		a.out.Printf("\nThe workspace is in %s.\n", dir)
	}
	return d.tell(verdict)
}

// demoFolder is the workspace-to-be: a new one, or one that the user named and that holds nothing.
func demoFolder(keep string) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "mailer-demo-")
	}
	if entries, err := os.ReadDir(keep); err == nil && len(entries) > 0 {
		return "", usage("%s is not empty; name a new folder", keep)
	}
	if err := os.MkdirAll(keep, 0o700); err != nil {
		return "", usage("make the workspace: %w", err)
	}
	return filepath.Abs(keep)
}

// demo is a demonstration that runs.
type demo struct {
	a        *app
	dir, exe string
	box      *sandbox.Sandbox
}

// The campaign and its audience.
const demoCampaign = "winter"

var demoAudience = []string{"--list", "members", "--list", "readers"}

// play shows the loop, a command at a time. The codes are those that the command may end with.
func (d *demo) play(ctx context.Context) error {
	d.a.out.Printf("A sandbox plays relay, recipients and bounce mailbox: smtp %s, imap %s. Nothing leaves this machine.\n",
		d.box.SMTPAddr(), d.box.IMAPAddr())
	if err := d.run(ctx, []int{exitDone}, "init", d.dir); err != nil {
		return err
	}
	if err := d.furnish(); err != nil {
		return err
	}
	d.a.out.Printf("\n$ cd %s     # where the demo has put its own mailer.yaml, a campaign and two lists\n", d.dir)
	for _, step := range []struct {
		codes []int
		args  []string
	}{
		{[]int{exitSome}, []string{"import", "lists/kaiin-cp932.csv", "--list", "members", "--consent-source", "membership form", "--rejects", "rejects.csv"}},
		{[]int{exitSome}, []string{"import", "lists/subscribers-utf8.csv", "--list", "readers", "--consent-source", "web form", "--rejects", "rejects2.csv"}},
		{[]int{exitDone}, []string{"segments", "count", "--where", `都道府県 == "東京都" and 購入回数 >= 10`}},
		{[]int{exitDone}, []string{"preview", demoCampaign, "--to", "sakura_saito@example.jp", "--part", "text"}},
		{[]int{exitDone}, append([]string{"send", demoCampaign, "--dry-run"}, demoAudience...)},
		{[]int{exitLeft}, append([]string{"send", demoCampaign, "--yes"}, demoAudience...)},
		{[]int{exitLeft}, append([]string{"send", demoCampaign, "--yes", "--wait", "3s"}, demoAudience...)},
		{[]int{exitDone}, []string{"bounces", "sync"}},
		{[]int{exitDone}, []string{"campaigns", "recipients", demoCampaign, "--state", "uncertain,deferred"}},
		{[]int{exitDone}, []string{"report", demoCampaign}},
	} {
		if err := d.run(ctx, step.codes, step.args...); err != nil {
			return err
		}
	}
	return d.run(ctx, []int{exitDone}, "why", d.bounced())
}

// bounced is somebody whose message came back: the first in the alphabet, so that every demo shows the same person.
func (d *demo) bounced() string {
	var all []string
	for _, m := range d.box.Messages() {
		if m.Personality == "later-unknown" {
			all = append(all, m.Rcpt)
		}
	}
	if len(all) == 0 {
		return "nobody@example.jp"
	}
	return slices.Min(all)
}

// furnish puts the lists, the campaign and a configuration for the sandbox into the workspace.
func (d *demo) furnish() error {
	for folder, files := range map[string]struct {
		fsys fs.FS
		from string
	}{"lists": {examples.FS, "lists"}, "campaigns": {demoFiles, "demo/campaigns"}} {
		sub, err := fs.Sub(files.fsys, files.from)
		if err != nil {
			return err
		}
		if err := os.CopyFS(filepath.Join(d.dir, folder), sub); err != nil {
			return fmt.Errorf("furnish the workspace: %w", err)
		}
	}
	return d.configure()
}

func (d *demo) configure() error {
	t, err := template.ParseFS(demoFiles, "demo/mailer.yaml")
	if err != nil {
		return err
	}
	ports := make(map[string]string)
	for name, addr := range map[string]string{"SMTP": d.box.SMTPAddr(), "IMAP": d.box.IMAPAddr()} {
		if _, ports[name], err = net.SplitHostPort(addr); err != nil {
			return err
		}
	}
	var text bytes.Buffer
	if err := t.Execute(&text, ports); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.dir, "mailer.yaml"), text.Bytes(), 0o600)
}

// run shows a command line and runs it.
func (d *demo) run(ctx context.Context, codes []int, args ...string) error {
	d.a.out.Printf("\n$ mailer %s\n", quoted(args))
	return d.exec(ctx, codes, d.a.out.People(), args...)
}

// exec runs this program in the workspace, as from a shell. The user's own settings stay outside: one of them could lead
// to a real relay.
func (d *demo) exec(ctx context.Context, codes []int, stdout io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, d.exe, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.dir, stdout, d.a.out.Stderr()
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAILER_") })
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return fmt.Errorf("run mailer %s: %w", args[0], err)
	}
	if code := cmd.ProcessState.ExitCode(); !slices.Contains(codes, code) {
		return fmt.Errorf("mailer %s ended with exit code %d, where the demo expects %d", quoted(args), code, codes)
	}
	return nil
}

// quoted writes arguments as a shell takes them.
func quoted(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		if words[i] = arg; strings.ContainsAny(arg, " \"=<>&|*?$`\\'();#![]{}\u3000") {
			words[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// demoRecipient is what mailer says about one recipient.
type demoRecipient struct {
	Type      string         `json:"message_type"`
	Address   string         `json:"address"`
	State     delivery.State `json:"state"`
	MessageID string         `json:"message_id"`
}

// verdict is the end of the demo.
type verdict struct {
	Recipients int                    `json:"recipients"`
	Messages   int                    `json:"messages"` // that the sandbox took
	States     map[delivery.State]int `json:"states"`
	Problems   []string               `json:"problems"`
	Seconds    float64                `json:"seconds"`
}

// check compares what mailer says about its recipients with what the sandbox saw of them.
func (d *demo) check(ctx context.Context) (verdict, error) {
	var lines bytes.Buffer
	if err := d.exec(ctx, []int{exitDone}, &lines, "campaigns", "recipients", demoCampaign, "--json"); err != nil {
		return verdict{}, err
	}
	var said []demoRecipient
	for dec := json.NewDecoder(&lines); ; {
		var r demoRecipient
		err := dec.Decode(&r)
		if errors.Is(err, io.EOF) {
			return account(said, d.box.Messages()), nil
		}
		if err != nil {
			return verdict{}, fmt.Errorf("read the recipients: %w", err)
		}
		if r.Type == "recipient" {
			said = append(said, r)
		}
	}
}

// account finds everybody whose record and whose mail do not agree.
func account(said []demoRecipient, caught []sandbox.Caught) verdict {
	v := verdict{Recipients: len(said), Messages: len(caught), States: make(map[delivery.State]int)}
	got := make(map[string][]sandbox.Caught)
	for _, m := range caught {
		key := address.Key(m.Rcpt)
		got[key] = append(got[key], m)
	}
	for _, r := range said {
		v.States[r.State]++
		key := address.Key(r.Address)
		if problem := r.disagrees(got[key]); problem != "" {
			v.Problems = append(v.Problems, r.Address+": "+problem)
		}
		delete(got, key)
	}
	for key := range got {
		v.Problems = append(v.Problems, key+": got a message and is no recipient, or is listed twice")
	}
	slices.Sort(v.Problems)
	return v
}

// disagrees says what is wrong between a record and the messages that came; nothing when all is well.
func (r demoRecipient) disagrees(got []sandbox.Caught) string {
	least, most := 0, 0
	switch r.State {
	case delivery.Accepted, delivery.Bounced, delivery.Complained:
		least, most = 1, 1
	case delivery.Uncertain:
		most = 1
	case delivery.Failed, delivery.Deferred, delivery.Excluded:
	default:
		return fmt.Sprintf("still %s", r.State)
	}
	if len(got) < least || len(got) > most {
		return fmt.Sprintf("%s, and got %d messages", r.State, len(got))
	}
	for _, m := range got {
		if m.MessageID != strings.Trim(r.MessageID, "<>") {
			return fmt.Sprintf("%s with Message-ID %s, and got %s", r.State, r.MessageID, m.MessageID)
		}
		if want, ok := demoEnds[m.Personality]; ok && want != r.State {
			return fmt.Sprintf("%s, though its mailbox said %s", r.State, m.Personality)
		}
	}
	return ""
}

// demoEnds are the ends of those who took a message and did not keep it.
var demoEnds = map[string]delivery.State{
	"accept": delivery.Accepted, "later-unknown": delivery.Bounced, "later-full": delivery.Bounced, "complain": delivery.Complained,
	"drop": delivery.Uncertain, "forged": delivery.Accepted, "delayed": delivery.Accepted, "vacation": delivery.Accepted,
}

func (d *demo) tell(v verdict) error {
	for _, p := range v.Problems {
		d.a.out.Printf("WRONG: %s\n", p)
	}
	if err := d.a.out.Emit("summary", v); err != nil {
		return err
	}
	if len(v.Problems) > 0 || v.Recipients == 0 {
		return fmt.Errorf("%d of %d recipients are not accounted for", len(v.Problems), v.Recipients)
	}
	balance := delivery.Balance{Planned: int64(v.Recipients)}
	for state, n := range v.States {
		balance.Add(state, int64(n))
	}
	d.a.out.Printf("\nEverybody is accounted for: %s.\n", balance)
	d.a.out.Printf("Of the accepted, %d bounced and %d complained.\n", v.States[delivery.Bounced], v.States[delivery.Complained])
	d.a.out.Printf("Nobody got the message twice, and whoever is listed without one got none. It took %.1f seconds.\n", v.Seconds)
	return nil
}
