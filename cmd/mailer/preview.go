package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"mailer/internal/campaign"
	"mailer/internal/contact"
	"mailer/internal/message"
	"mailer/internal/send"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const previewHelp = `Show the message that a contact would get, to the byte, and send nothing.

CAMPAIGN is its id, its file's name or the file. Without --to it is the first contact of the audience.
Without --part the header lines that people see and the text part are shown.

--out writes messages into a folder as .html, .txt and .eml, with an index.html to click through them: the one for --to,
or a sample across languages, domains, the longest and the missing values. A file there that no preview wrote is never
overwritten; an earlier preview there is replaced.

  mailer preview 2026-12-news --to hanako@example.jp
  mailer preview 2026-12-news --to hanako@example.jp --part raw > message.eml
  mailer preview 2026-12-news --open               # the HTML part, in the browser
  mailer preview 2026-12-news --out look --open    # a sample, in the browser`

type previewOptions struct {
	request       send.Request
	to, part, out string
	open          bool
	sample        int
}

func newPreviewCmd(a *app) *cobra.Command {
	var o previewOptions
	cmd := &cobra.Command{
		Use:   "preview CAMPAIGN",
		Short: "Show the message that a contact would get",
		Long:  previewHelp,
		Args:  exactArgs(1, "CAMPAIGN"),
		RunE:  func(cmd *cobra.Command, args []string) error { return runPreview(cmd.Context(), a, args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "`address` of the contact")
	f.StringVar(&o.part, "part", "", "print this alone: `html|text|raw`")
	f.StringVar(&o.out, "out", "", "write messages and a page to click through them into this `folder`")
	f.BoolVar(&o.open, "open", false, "show it in the browser")
	f.IntVar(&o.sample, "sample", 20, "with --out and without --to: at most this `number` of messages")
	f.StringVar(&o.request.Segment, "segment", "", "choose among the saved segment of this `name`")
	f.StringVar(&o.request.Where, "where", "", "choose among contacts for which this `expression` holds")
	f.StringSliceVar(&o.request.Lists, "list", nil, "choose among contacts on the list of this `name`")
	cmd.PreRunE = func(*cobra.Command, []string) error { return o.check() }
	return cmd
}

func (o previewOptions) check() error {
	switch o.part {
	case "", "html", "text", "raw":
	default:
		return usage("--part is html, text or raw, not %q", o.part)
	}
	if o.part != "" && o.out != "" && o.to == "" {
		return usage("--part prints one message: name the contact with --to")
	}
	if o.sample < 1 {
		return usage("--sample is a number of messages, 1 or more")
	}
	return nil
}

func runPreview(ctx context.Context, a *app, name string, o previewOptions) error {
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	if rel, _ := within(filepath.Join(ws.Dir, campaign.Dir), o.out); rel == "." && o.out != "" {
		return usage("--out %s: what lies in %s/ is a campaign; name another folder", o.out, campaign.Dir)
	}
	s := &send.Sender{Workspace: ws, Store: st, Now: a.now}
	o.request.Campaign = campaignArg(ws.Dir, name)
	plan, err := s.Draft(ctx, o.request)
	if err != nil {
		return err
	}
	if o.out != "" && o.to == "" {
		return previewSample(ctx, a, s, plan, o)
	}
	m, who, err := s.Preview(ctx, plan, o.to)
	if err != nil {
		return err
	}
	if o.part == "html" && m.HTML == "" {
		return usage("%s has no HTML part: it is a .txt campaign", plan.Name)
	}
	if o.out != "" {
		g := send.NewGallery(o.out, plan.Name, []send.Shown{{Address: who.Address, Message: m}})
		if err := g.Write(); err != nil {
			return err
		}
		for _, path := range append(g.Files(who.Address), g.Page()) {
			a.out.Printf("%s\n", path)
		}
	}
	if o.open {
		if err := openPreview(ctx, a, plan.Name, m); err != nil {
			return err
		}
	}
	return showPreview(a, plan.Name, who, m, o)
}

// previewSample writes a folder of messages.
func previewSample(ctx context.Context, a *app, s *send.Sender, plan *send.Plan, o previewOptions) error {
	all, err := s.Sample(ctx, plan, o.sample)
	if err != nil {
		return err
	}
	g := send.NewGallery(o.out, plan.Name, all)
	if err := g.Write(); err != nil {
		return err
	}
	failed := 0
	rows := [][]string{}
	for _, one := range all {
		line := struct {
			To      string   `json:"to"`
			Subject string   `json:"subject"`
			Why     []string `json:"why"`
			Files   []string `json:"files"`
			Error   string   `json:"error,omitempty"`
		}{To: one.Address, Subject: one.Message.Subject, Why: one.Why, Files: g.Files(one.Address)}
		about := line.Subject
		if one.Err != nil {
			failed++
			line.Error = one.Err.Error()
			about = "cannot be made: " + line.Error
		}
		if err := a.out.Emit("preview", line); err != nil {
			return err
		}
		rows = append(rows, []string{one.Address, strings.Join(one.Why, ", "), about})
	}
	if !a.out.JSON {
		a.out.Table(nil, rows)
	}
	a.out.Printf("%s in %s; open %s\n", ui.Count(len(all)-failed, "message", "messages"), o.out, g.Page())
	if failed > 0 {
		a.out.Warnf("%s cannot be made; mailer check %s says why", ui.Count(failed, "message", "messages"), plan.Name)
	}
	if o.open {
		if err := openFile(ctx, a, g.Page()); err != nil {
			return err
		}
	}
	return a.out.Emit("summary", struct {
		Campaign string `json:"campaign"`
		Messages int    `json:"messages"`
		Failed   int    `json:"failed"`
		Page     string `json:"page"`
	}{plan.Name, len(all) - failed, failed, g.Page()})
}

func showPreview(a *app, name string, who contact.Contact, m message.Message, o previewOptions) error {
	if a.out.JSON {
		return a.out.Emit("preview", struct {
			Campaign string `json:"campaign"`
			To       string `json:"to"`
			From     string `json:"from"`
			FromName string `json:"from_name"`
			Subject  string `json:"subject"`
			Text     string `json:"text"`
			HTML     string `json:"html,omitempty"`
			Raw      string `json:"raw"`
		}{name, who.Address, m.From, m.FromName, m.Subject, m.Text, m.HTML, string(m.Raw)})
	}
	switch o.part {
	case "html":
		_, err := a.out.Data().Write([]byte(m.HTML))
		return err
	case "text":
		_, err := a.out.Data().Write([]byte(m.Text))
		return err
	case "raw":
		_, err := a.out.Data().Write(m.Raw)
		return err
	}
	if o.open || o.out != "" {
		return nil
	}
	from := m.From
	if m.FromName != "" {
		from = fmt.Sprintf("%s <%s>", m.FromName, m.From)
	}
	html := "none"
	if m.HTML != "" {
		html = fmt.Sprintf("%d bytes (--part html, or --open)", len(m.HTML))
	}
	a.out.Printf("From:     %s\nTo:       %s\nSubject:  %s\nHTML:     %s\nMessage:  %d bytes (--part raw)\n\n%s",
		ui.Clean(from), ui.Clean(who.Address), ui.Clean(m.Subject), html, len(m.Raw), printable(m.Text))
	return nil
}

// printable keeps the lines of a text and takes its other control characters out.
func printable(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = ui.Clean(l)
	}
	return strings.Join(lines, "\n")
}

// openPreview shows one message. The file stays: the browser reads it after we are gone.
func openPreview(ctx context.Context, a *app, name string, m message.Message) error {
	page, ext := m.Text, ".txt"
	if m.HTML != "" {
		page, ext = m.Page(), ".html"
	}
	f, err := os.CreateTemp("", "mailer-"+send.FileSafe(name)+"-*"+ext)
	if err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	_, err = f.WriteString(page)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return openFile(ctx, a, f.Name())
}

// browserGrace is how long a browser may take to say that it cannot start. Some openers stay until the window is closed.
const browserGrace = 2 * time.Second

// openFile hands a file to the system's browser.
func openFile(ctx context.Context, a *app, path string) error {
	full, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	var tried []string
	for _, opener := range openers() {
		tried = append(tried, opener[0])
		program, err := exec.LookPath(opener[0])
		if err != nil {
			continue
		}
		if err := start(ctx, program, append(opener[1:], full)); err != nil {
			return fmt.Errorf("open the browser with %s: %w; the page is %s", opener[0], err, full)
		}
		a.out.Printf("opened %s\n", full)
		return nil
	}
	return fmt.Errorf("no program to open a browser was found here (tried %s); open the page yourself: %s", strings.Join(tried, ", "), full)
}

func openers() [][]string {
	switch runtime.GOOS {
	case "darwin":
		return [][]string{{"open"}}
	case "windows":
		return [][]string{{"rundll32", "url.dll,FileProtocolHandler"}}
	}
	return [][]string{{"xdg-open"}, {"wslview"}, {"x-www-browser"}}
}

// start runs a program that may outlive us, and waits as long as an early failure takes. Its output goes nowhere: a
// browser that writes into a pipe which nobody reads any more would end.
func start(ctx context.Context, program string, args []string) error {
	cmd := exec.Command(program, args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the browser, or with us
	select {
	case err := <-ended:
		return err
	case <-time.After(browserGrace):
	case <-ctx.Done():
	}
	return nil
}

// campaignArg makes a path that a user typed, which is meant from where they are, one from the workspace. Anything that
// is no file there is an id or a name.
func campaignArg(workspace, arg string) string {
	if _, err := os.Stat(arg); err != nil {
		return arg
	}
	if rel, ok := within(workspace, arg); ok {
		return filepath.ToSlash(rel)
	}
	return arg
}

// within is a path as it is meant from a folder that it is in.
func within(folder, path string) (string, bool) {
	full, err := filepath.Abs(path)
	if err != nil {
		return "", false
	}
	rel, err := filepath.Rel(resolved(folder), resolved(full))
	return rel, err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// resolved follows links, so that two ways to one folder are the same.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}
