package send

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailer/internal/message"
)

func shown(address, text string) Shown {
	return Shown{Address: address, Why: []string{"the first"}, Message: message.Message{Subject: "<b>", Text: text, HTML: "<p>" + text, Raw: []byte("raw " + text)}}
}

func TestGallery(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "look")
	if err := NewGallery(dir, "news", []Shown{shown("a@example.jp", "one"), {Address: "b@example.jp", Err: errors.New("no <name>")}}).Write(); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`href="news-a@example.jp.html"`, "&lt;b&gt;", "no &lt;name&gt;", `src="news-a@example.jp.html"`} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %s in\n%s", want, page)
		}
	}

	// A second preview takes the place of the first, and what it does not need any more goes.
	if err := NewGallery(dir, "news", []Shown{shown("c@example.jp", "two")}).Write(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "news-a@example.jp.txt")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the earlier preview is still there")
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "news-c@example.jp.txt")); string(got) != "two" {
		t.Errorf("%q", got)
	}
}

// Whatever was not written by a preview, or was changed since, is left as it is, and so is everything else then.
func TestGalleryLeavesForeignFilesAlone(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"a foreign page":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "index.html"), []byte("mine"), 0o600) },
		"a changed page":    func(dir string) error { return appendTo(filepath.Join(dir, "index.html"), "mine") },
		"a changed message": func(dir string) error { return appendTo(filepath.Join(dir, "news-a@example.jp.txt"), "mine") },
		"a link":            func(dir string) error { return link(filepath.Join(dir, "news-a@example.jp.txt")) },
		"a file of the name": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "news-z@example.jp.eml"), []byte("mine"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := NewGallery(dir, "news", []Shown{shown("a@example.jp", "one")}).Write(); err != nil {
				t.Fatal(err)
			}
			if err := spoil(dir); err != nil {
				t.Skip(err) // a system without links
			}
			var refused *UsageError
			if err := NewGallery(dir, "news", []Shown{shown("a@example.jp", "two"), shown("z@example.jp", "two")}).Write(); !errors.As(err, &refused) {
				t.Error(err)
			}
			if got, _ := os.ReadFile(filepath.Join(dir, "news-a@example.jp.eml")); string(got) != "raw one" {
				t.Errorf("overwritten: %q", got)
			}
		})
	}
}

func appendTo(path, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(old, text...), 0o600)
}

func link(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Symlink(filepath.Join(filepath.Dir(path), "elsewhere"), path)
}
