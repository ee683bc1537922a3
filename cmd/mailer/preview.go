package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"mailer/internal/contact"
	"mailer/internal/message"
	"mailer/internal/send"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const previewHelp = `Show the message that a contact would get, to the byte, and send nothing.

CAMPAIGN is its id, its file's name or the file. Without --to it is the first contact of the audience.
Without --part the header lines that people see and the text part are shown.

  mailer preview 2026-12-news --to hanako@example.jp
  mailer preview 2026-12-news --to hanako@example.jp --part raw > message.eml
  mailer preview 2026-12-news --open          # the HTML part, in the browser`

type previewOptions struct {
	to, part, out string
	open          bool
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
	f.StringVar(&o.to, "to", "", "address of the contact")
	f.StringVar(&o.part, "part", "", "html, text or raw: print this alone")
	f.StringVar(&o.out, "out", "", "write the HTML, the text and the raw message into this folder")
	f.BoolVar(&o.open, "open", false, "show the HTML part in the browser")
	return cmd
}

func runPreview(ctx context.Context, a *app, name string, o previewOptions) error {
	switch o.part {
	case "", "html", "text", "raw":
	default:
		return usage("--part is html, text or raw, not %q", o.part)
	}
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	s := &send.Sender{Workspace: ws, Store: st, Now: a.now}
	plan, err := s.Draft(ctx, send.Request{Campaign: campaignArg(ws.Dir, name)})
	if err != nil {
		return err
	}
	m, who, err := s.Preview(ctx, plan, o.to)
	if err != nil {
		return err
	}
	if o.part == "html" && m.HTML == "" {
		return usage("%s has no HTML part: it is a .txt campaign", plan.Name)
	}
	if o.out != "" {
		if err := writePreview(a, o.out, plan.Name, who, m); err != nil {
			return err
		}
	}
	if o.open {
		if err := openPreview(ctx, a, plan.Name, m); err != nil {
			return err
		}
	}
	return showPreview(a, plan.Name, who, m, o)
}

func showPreview(a *app, name string, who contact.Contact, m message.Message, o previewOptions) error {
	if a.out.JSON {
		return a.out.Emit("preview", struct {
			Campaign string `json:"campaign"`
			To       string `json:"to"`
			From     string `json:"from"`
			Subject  string `json:"subject"`
			Text     string `json:"text"`
			HTML     string `json:"html,omitempty"`
			Raw      string `json:"raw"`
		}{name, who.Address, m.From, m.Subject, m.Text, m.HTML, string(m.Raw)})
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
	html := "none"
	if m.HTML != "" {
		html = fmt.Sprintf("%d bytes (--part html, or --open)", len(m.HTML))
	}
	a.out.Printf("From:     %s\nTo:       %s\nSubject:  %s\nHTML:     %s\nMessage:  %d bytes (--part raw)\n\n%s",
		ui.Clean(m.From), ui.Clean(who.Address), ui.Clean(m.Subject), html, len(m.Raw), printable(m.Text))
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

func writePreview(a *app, dir, name string, who contact.Contact, m message.Message) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write the preview: %w", err)
	}
	base := filepath.Join(dir, name+"-"+fileSafe(who.Address))
	for _, f := range []struct{ ext, content string }{{".eml", string(m.Raw)}, {".txt", m.Text}, {".html", m.HTML}} {
		if f.content == "" {
			continue
		}
		if err := os.WriteFile(base+f.ext, []byte(f.content), 0o600); err != nil {
			return fmt.Errorf("write the preview: %w", err)
		}
		a.out.Printf("%s\n", base+f.ext)
	}
	return nil
}

// fileSafe keeps what every file system takes in a name.
func fileSafe(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) || r < ' ' {
			return '_'
		}
		return r
	}, s)
}

// openPreview hands the page to the system's browser. The file stays: the browser reads it after we are gone.
func openPreview(ctx context.Context, a *app, name string, m message.Message) error {
	page, ext := m.HTML, ".html"
	if page == "" {
		page, ext = m.Text, ".txt"
	}
	f, err := os.CreateTemp("", "mailer-"+fileSafe(name)+"-*"+ext)
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
	opener := map[string][]string{"darwin": {"open"}, "windows": {"rundll32", "url.dll,FileProtocolHandler"}}[runtime.GOOS]
	if opener == nil {
		opener = []string{"xdg-open"}
	}
	if out, err := exec.CommandContext(ctx, opener[0], append(opener[1:], f.Name())...).CombinedOutput(); err != nil {
		return fmt.Errorf("open the browser with %s: %w %s; the page is %s", opener[0], err, strings.TrimSpace(string(out)), f.Name())
	}
	a.out.Printf("opened %s\n", f.Name())
	return nil
}

// campaignArg makes a path that a user typed, which is meant from where they are, one from the workspace. Anything that
// is no file there is an id or a name.
func campaignArg(workspace, arg string) string {
	if _, err := os.Stat(arg); err != nil {
		return arg
	}
	full, err := filepath.Abs(arg)
	if err != nil {
		return arg
	}
	rel, err := filepath.Rel(resolved(workspace), resolved(full))
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return arg
	}
	return filepath.ToSlash(rel)
}

// resolved follows links, so that two ways to one folder are the same.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}
