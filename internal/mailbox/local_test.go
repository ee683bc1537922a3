package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailer/internal/mailbox"
	"mailer/internal/mailtest"
)

// put writes a file and the folders it lies in.
func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// names are the files below a folder that hold mail, flags and all.
func names(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"new/*", "cur/*", ".*/new/*", ".*/cur/*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if rel, err := filepath.Rel(dir, f); err != nil {
				t.Fatal(err)
			} else if filepath.Base(f) != ".hidden" {
				all = append(all, filepath.ToSlash(rel))
			}
		}
	}
	return all
}

func newMaildir(t *testing.T) mailbox.Options {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "Maildir")
	put(t, dir+"/new/3.c.host", "Subject: three\n\n")
	put(t, dir+"/cur/1.a.host:2,", "Subject: one\n\n")
	put(t, dir+"/cur/2.b.host:2,R", "Subject: two\r\n\r\n")
	put(t, dir+"/new/.hidden", "Subject: no\n\n")
	put(t, dir+"/tmp/4.d.host", "Subject: half wri")
	if err := os.Mkdir(dir+"/cur/5.folder", 0o700); err != nil {
		t.Fatal(err)
	}
	return mailbox.Options{Protocol: mailbox.Maildir, Path: dir, Processed: "Processed", Review: "Review"}
}

func TestMaildir(t *testing.T) {
	for _, tt := range []struct {
		after, review string
		want          []string
		remembers     bool
	}{
		{"", "Review", []string{"cur/5.folder", ".Processed/cur/1.a.host:2,S", ".Processed/cur/3.c.host:2,S", ".Review/cur/2.b.host:2,R"}, false},
		{"delete", "Review", []string{"cur/5.folder", ".Review/cur/2.b.host:2,R"}, false},
		{"flag", "", []string{"cur/1.a.host:2,S", "cur/2.b.host:2,FR", "cur/3.c.host:2,S", "cur/5.folder"}, true},
		{"leave", "Review", []string{"new/3.c.host", "cur/1.a.host:2,", "cur/2.b.host:2,R", "cur/5.folder"}, true},
	} {
		t.Run(tt.after, func(t *testing.T) {
			o := newMaildir(t)
			o.After, o.Review = tt.after, tt.review
			box := open(t, o)
			wantRead(t, box, "one", "two", "three")
			if got := names(t, o.Path); !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
			mark := box.Mark()
			if (mark != "") != tt.remembers {
				t.Errorf("mark %q", mark)
			}
			put(t, o.Path+"/new/6.e.host", "Subject: six\n\n")
			later := open(t, o)
			later.Resume(mark)
			wantRead(t, later, "six")
			if o.After == "" { // a folder of the Maildir is one, too
				o.Folder, o.Processed = "Review", "Seen/2026"
				wantRead(t, open(t, o), "two")
				if got := names(t, o.Path+"/.Seen.2026"); !slices.Equal(got, []string{"cur/2.b.host:2,RS"}) {
					t.Errorf("moved from a folder: %q", got)
				}
			}
		})
	}
}

// A mail program renames messages while they are read, and another reader takes some away.
func TestMaildirMoves(t *testing.T) {
	o := newMaildir(t)
	box := open(t, o)
	ctx := context.Background()
	numbers, err := box.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rename := func(from, to string) {
		if err := os.Rename(filepath.Join(o.Path, from), filepath.Join(o.Path, to)); err != nil {
			t.Fatal(err)
		}
	}
	rename("new/3.c.host", "cur/3.c.host:2,F")
	if err := os.Remove(o.Path + "/cur/1.a.host:2,"); err != nil {
		t.Fatal(err)
	}
	var got []string
	err = box.Read(ctx, numbers, func(m mailbox.Message) error { got = append(got, subject(m.Raw)); return nil })
	if err != nil || !slices.Equal(got, []string{"two", "three"}) {
		t.Errorf("read %q, %v", got, err)
	}
	rename("cur/3.c.host:2,F", "cur/3.c.host:2,FS")
	if err := box.Done(ctx, numbers, nil); err != nil {
		t.Error(err)
	}
	if got := names(t, o.Path); !slices.Equal(got, []string{"cur/5.folder", ".Processed/cur/2.b.host:2,RS", ".Processed/cur/3.c.host:2,FS"}) {
		t.Errorf("%q", got)
	}
}

const (
	firstFrom  = "From MAILER-DAEMON  Thu Nov 26 13:30:00 2026\n"
	secondFrom = "From 1234@xxx Thu Nov 26 13:30:00 +0900 2026\n"
	mboxText   = firstFrom + "Subject: one\n\nFrom here on it is text.\n\nFrom now on, too.\n>From quoted\n>>From twice\n\n" +
		secondFrom + "Subject: two\r\n\r\nbody\r\n\n" + "From - Thu Nov 26 13:30:00 2026\nSubject: three\n\n"
)

func TestMbox(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "box"), mboxText)
	o := mailbox.Options{Protocol: mailbox.Path, Path: path}
	box := open(t, o)
	numbers, err := box.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var raw []string
	if err := box.Read(context.Background(), numbers, func(m mailbox.Message) error { raw = append(raw, string(m.Raw)); return nil }); err != nil {
		t.Fatal(err)
	}
	want := []string{"Subject: one\r\n\r\nFrom here on it is text.\r\n\r\nFrom now on, too.\r\nFrom quoted\r\n>From twice\r\n", "Subject: two\r\n\r\nbody\r\n", "Subject: three\r\n"}
	if !slices.Equal(raw, want) {
		t.Errorf("%q\nwant %q", raw, want)
	}
	wantRead(t, box, "one", "two", "three")
	mark := box.Mark()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(firstFrom + "Subject: four\n\n"); err != nil {
		t.Fatal(err)
	}
	wantRead(t, box, "four") // the session goes on
	box = open(t, o)
	box.Resume(mark)
	wantRead(t, box, "four")
	mark = box.Mark()
	box = open(t, o)
	box.Resume(mark)
	wantRead(t, box)

	// The end of the last message comes late: the whole of it is read.
	for _, more := range []string{"Subj", "ect: five\n\nbo", "dy\n", "\n" + firstFrom + "Subject: six\n\n"} {
		if more == "Subj" {
			more = firstFrom + more
		}
		if _, err := f.WriteString(more); err != nil {
			t.Fatal(err)
		}
		box = open(t, o)
		box.Resume(mark)
		got := read(t, box)
		mark = box.Mark()
		switch {
		case strings.HasSuffix(more, "bo"), strings.HasPrefix(more, "dy"):
			if !slices.Equal(got, []string{"one", "two", "three", "four", "five"}) {
				t.Errorf("%q: read %q", more, got)
			}
		case len(got) != 1:
			t.Errorf("%q: read %q", more, got)
		}
	}

	// Another file by that name, as large: all of it is new.
	put(t, path, strings.Repeat(firstFrom+"Subject: other\n\n", 20))
	box = open(t, o)
	box.Resume(mark)
	if got := read(t, box); len(got) != 20 {
		t.Errorf("read %q", got)
	}
	wantConfigLocal(t, mailbox.Options{Protocol: mailbox.Mbox, Path: put(t, path+"2", "Subject: no mbox\n\n")}, "is no mbox")
	wantConfigLocal(t, mailbox.Options{Protocol: mailbox.Mbox, Path: path, After: mailbox.AfterDelete}, "only read")
	put(t, path+"3", "")
	wantRead(t, open(t, mailbox.Options{Protocol: mailbox.Mbox, Path: path + "3"}))
}

// wantConfigLocal wants opening or listing to fail for good.
func wantConfigLocal(t *testing.T, o mailbox.Options, words string) {
	t.Helper()
	box, err := mailbox.Open(context.Background(), o)
	if err == nil {
		_, err = box.List(context.Background())
		box.Close()
	}
	var e *mailbox.Error
	if !errors.As(err, &e) || !e.Config || !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want %q", err, words)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	one := put(t, dir+"/b.eml", "Subject: b\n\nx")
	put(t, dir+"/a.eml", firstFrom+"Subject: a\n\nx")
	put(t, dir+"/.hidden", "Subject: no\n\n")
	put(t, dir+"/sub/c.eml", "Subject: no\n\n")
	for _, o := range []mailbox.Options{{Protocol: mailbox.Path, Path: dir}, {Protocol: mailbox.File, Path: dir}} {
		wantRead(t, open(t, o), "a", "b")
	}
	wantRead(t, open(t, mailbox.Options{Protocol: mailbox.Path, Path: one}), "b")
	wantConfigLocal(t, mailbox.Options{Protocol: mailbox.Path, Path: dir + "/none"}, "no such file")
	wantConfigLocal(t, mailbox.Options{Protocol: mailbox.Maildir, Path: dir}, "is no Maildir")
	wantConfigLocal(t, mailbox.Options{Protocol: mailbox.Mbox, Path: dir}, "is no file")
}

func TestStdin(t *testing.T) {
	for text, want := range map[string]string{
		"Subject: piped\n\nx":             "piped",
		firstFrom + "Subject: local\n\nx": "local",
		"Subject: " + strings.Repeat("x", 100) + "\n\n" + strings.Repeat("y", mailbox.MaxMessage): strings.Repeat("x", 100),
	} {
		in := strings.NewReader(text)
		wantRead(t, open(t, mailbox.Options{Protocol: mailbox.Stdin, Stdin: in}), want)
		if in.Len() > 0 {
			t.Errorf("%d bytes not taken", in.Len())
		}
	}
	box := open(t, mailbox.Options{Protocol: mailbox.Stdin, Stdin: strings.NewReader(" \n")})
	if _, err := box.List(context.Background()); err == nil {
		t.Error("an empty mail")
	}
}

// The same mail is the same bytes, wherever it is read: recorded once, it is known everywhere.
func TestSameBytesEverywhere(t *testing.T) {
	const mail = "Subject: one\n\nline\n\n.dot\nlone \r CR\r\nmixed\n"
	s := mailtest.NewIMAP(t, mailtest.IMAP{})
	if err := s.Deliver([]byte(mail)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put(t, dir+"/Maildir/new/1.a.host", mail)
	if err := os.Mkdir(dir+"/Maildir/cur", 0o700); err != nil {
		t.Fatal(err)
	}
	pop := &pop3Server{}
	pop.put(strings.ReplaceAll(strings.ReplaceAll(mail, "\r\n", "\n"), "\n", "\r\n"))
	for _, o := range []mailbox.Options{
		options(s), startPOP3(t, pop),
		{Protocol: mailbox.Maildir, Path: dir + "/Maildir"},
		{Protocol: mailbox.Mbox, Path: put(t, dir+"/mbox", firstFrom+mail+"\n")},
		{Protocol: mailbox.File, Path: put(t, dir+"/mail.eml", mail)},
		{Protocol: mailbox.Stdin, Stdin: strings.NewReader(mail)},
	} {
		box := open(t, o)
		numbers, err := box.List(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := box.Read(context.Background(), numbers, func(m mailbox.Message) error { got = string(m.Raw); return nil }); err != nil {
			t.Fatal(err)
		}
		if want := "Subject: one\r\n\r\nline\r\n\r\n.dot\r\nlone \r CR\r\nmixed\r\n"; got != want {
			t.Errorf("%s: %q, want %q", box.Name(), got, want)
		}
	}
}

func TestLocate(t *testing.T) {
	maildir := newMaildir(t).Path
	for source, want := range map[string]string{
		"imaps://user%40a@mail.example/Bounces/2026": "imap mail.example:993 implicit user@a Bounces/2026 move",
		"imap://u:p@mail.example:144":                "imap mail.example:144 starttls u p  move",
		"imap://localhost":                           "imap localhost:143 none configured  move",
		"pop3s://u@mail.example":                     "pop3 mail.example:995 implicit u  leave",
		"pop3://127.0.0.1":                           "pop3 127.0.0.1:110 none configured  leave",
		"maildir:/var/mail/x":                        "maildir /var/mail/x leave",
		"maildir:///var/mail/x":                      "maildir /var/mail/x leave",
		"mbox:mbox":                                  "mbox mbox leave",
		"file:a.eml":                                 "file a.eml leave",
		"./a.eml":                                    "path ./a.eml leave",
		maildir:                                      "maildir " + maildir + " leave",
		"-":                                          "stdin leave",
	} {
		o := mailbox.Options{Protocol: "imap", Host: "configured.example", Port: 993, Username: "configured", After: "move"}
		if err := o.Locate(source); err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		var got string
		switch o.Protocol {
		case "imap", "pop3":
			got = strings.Replace(fmt.Sprintf("%s %s:%d %s %s %s %s %s", o.Protocol, o.Host, o.Port, o.TLS, o.Username, o.Password, o.Folder, o.After), "  ", " ", 1)
			want = strings.Replace(want, "  ", " ", 1)
		case "stdin":
			got = o.Protocol + " " + o.After
		default:
			got = o.Protocol + " " + o.Path + " " + o.After
		}
		if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
	for _, source := range []string{"", "ftp://example.jp", "imaps://", "imaps://host:port", "imap:", "maildir:", "INBOX"} {
		if err := (&mailbox.Options{}).Locate(source); !errors.Is(err, mailbox.ErrSource) {
			t.Errorf("%q: %v", source, err)
		}
	}
}
