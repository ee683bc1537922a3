package send

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailer/internal/config"
	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/message"
)

// The address to unsubscribe at may be any that the configuration takes; what goes into the header is a URI.
func TestMailtoOfAnyAddress(t *testing.T) {
	for _, to := range []string{"bounce+{token}@example.com", "stop@example.com", "配信+{token}@例え.jp", "a&b=c?d#e/100%+{token}@example.com"} {
		c := &composer{sender: config.Sender{UnsubscribeMailto: to}}
		got := c.mailto("u11-abc")
		u, err := url.Parse(got)
		if err != nil {
			t.Fatal(err)
		}
		address, err := url.PathUnescape(u.Opaque)
		if want := strings.ReplaceAll(to, "{token}", "u11-abc"); err != nil || address != want || !ascii(got) || strings.ContainsAny(got, " ,<>") {
			t.Errorf("%s: %s is for %q: %v", to, got, address, err)
		}
		if subject := u.Query().Get("subject"); !strings.HasPrefix(subject, "unsubscribe") || !strings.Contains(address+subject, "u11-abc") {
			t.Errorf("%s: %s", to, got)
		}
	}
	if got := (&composer{bounces: config.Bounces{ReturnPathPattern: "bounce+{token}@example.com"}}).mailto("x"); got != "mailto:bounce+x@example.com?subject=unsubscribe" {
		t.Error(got)
	}
}

// A domain with letters beyond ASCII goes out as DNS has it, and needs no SMTPUTF8; a local part does.
func TestEnvelopeOfAnIDN(t *testing.T) {
	for pattern, utf8 := range map[string]bool{"bounce@例え.jp": false, "bounce@example.jp": false, "返送@例え.jp": true} {
		e := (&composer{bounces: config.Bounces{ReturnPathPattern: pattern}, tokens: delivery.Keys{1: make([]byte, 32)}.Signer()}).envelope(1, "a@example.com", message.Message{})
		if e.SMTPUTF8 != utf8 || strings.HasSuffix(e.From, "@例え.jp") {
			t.Errorf("%s: %+v", pattern, e)
		}
	}
}

// A recipient's own file is in the workspace, whatever links lie there.
func TestWorkspaceFilesStayInside(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{filepath.Join(outside, "secret"): "secret", filepath.Join(dir, "in.pdf"): "in"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out.pdf": filepath.Join(outside, "secret"), "folder": outside, "link.pdf": "in.pdf"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			mailtest.Skip(t, "no symbolic links here (run on a system with them)")
		}
	}
	files := workspaceFiles(dir)
	for name, inside := range map[string]bool{"in.pdf": true, "link.pdf": true, "out.pdf": false, "folder/secret": false, "../secret": false, "none": false} {
		_, statErr := fs.Stat(files, name)
		_, readErr := fs.ReadFile(files, name)
		if (statErr == nil) != inside || (readErr == nil) != inside {
			t.Errorf("%s: %v, %v", name, statErr, readErr)
		}
	}
}
