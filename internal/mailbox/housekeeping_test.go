package mailbox_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/mailbox"
	"mailer/internal/mailtest"

	"github.com/emersion/go-imap/v2"
)

// read reads all new messages, calls the first filed, the second for a person, the third filed and so on, and returns their subjects.
func read(t *testing.T, box mailbox.Box) []string {
	t.Helper()
	ctx := context.Background()
	numbers, err := box.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var subjects []string
	var filed, review []uint32
	err = box.Read(ctx, numbers, func(m mailbox.Message) error {
		subjects = append(subjects, subject(m.Raw))
		if len(subjects)%2 == 1 {
			filed = append(filed, m.Number)
		} else {
			review = append(review, m.Number)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Done(ctx, filed, review); err != nil {
		t.Fatal(err)
	}
	return subjects
}

func subject(raw []byte) string {
	_, rest, _ := strings.Cut(string(raw), "Subject: ")
	text, _, _ := strings.Cut(rest, "\r\n")
	return text
}

func wantRead(t *testing.T, box mailbox.Box, want ...string) {
	t.Helper()
	if got := read(t, box); !slices.Equal(got, want) {
		t.Errorf("%s: read %q, want %q", box.Name(), got, want)
	}
}

// flags of an IMAP folder's messages: "1 \Seen" for each.
func flags(t *testing.T, s *mailtest.IMAPServer, folder string) []string {
	t.Helper()
	c := mailtest.DialIMAP(t, s.Addr, s.Username, s.Password)
	defer c.Close()
	if _, err := c.Select(folder, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	var all imap.SeqSet
	all.AddRange(1, 0)
	got, err := c.Fetch(all, &imap.FetchOptions{UID: true, Flags: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, m := range got {
		slices.Sort(m.Flags)
		lines = append(lines, fmt.Sprint(m.UID, m.Flags))
	}
	return lines
}

func TestAfterIMAP(t *testing.T) {
	for _, tt := range []struct {
		after, review            string
		inbox, processed, person int
		flags                    []string
		remembers                bool
	}{
		{mailbox.AfterMove, "Review", 0, 2, 2, nil, false},
		{mailbox.AfterMove, "", 0, 4, 0, nil, false},
		{mailbox.AfterDelete, "Review", 0, 0, 2, nil, false},
		{mailbox.AfterFlag, "Review", 2, 0, 2, []string{`1 [\Seen mailerread]`, `3 [\Seen mailerread]`}, true},
		{mailbox.AfterFlag, "", 4, 0, 0, []string{`1 [\Seen mailerread]`, `2 [\Flagged mailerread]`, `3 [\Seen mailerread]`, `4 [\Flagged mailerread]`}, true},
		{mailbox.AfterLeave, "Review", 4, 0, 0, []string{"1 []", "2 []", "3 []", "4 []"}, true},
	} {
		t.Run(tt.after+" "+tt.review, func(t *testing.T) {
			s := mailtest.NewIMAP(t, mailtest.IMAP{})
			fill(t, s, 4)
			o := options(s)
			o.After, o.Review = tt.after, tt.review
			box := open(t, o)
			wantRead(t, box, "mail 0", "mail 1", "mail 2", "mail 3")
			if got := []int{s.Count("INBOX"), s.Count("Processed"), s.Count("Review")}; !slices.Equal(got, []int{tt.inbox, tt.processed, tt.person}) {
				t.Errorf("INBOX, Processed, Review: %v", got)
			}
			if tt.flags != nil {
				if got := flags(t, s, "INBOX"); !slices.Equal(got, tt.flags) {
					t.Errorf("flags %q, want %q", got, tt.flags)
				}
			}
			wantRead(t, box) // the same session knows
			fill(t, s, 1)
			mark := box.Mark()
			if (mark != "") != tt.remembers {
				t.Errorf("mark %q", mark)
			}
			later := open(t, o)
			later.Resume(mark)
			wantRead(t, later, "mail 0")
		})
	}
}

// A server may give messages in any order: what was not done with is not passed over, though a later one was.
func TestOutOfOrder(t *testing.T) {
	s := mailtest.NewIMAP(t, mailtest.IMAP{})
	fill(t, s, 3)
	o := options(s)
	o.After = mailbox.AfterLeave
	for done, want := range map[uint32][]string{3: {"mail 0", "mail 1", "mail 2"}, 2: {"mail 0", "mail 1", "mail 2"}, 1: {"mail 1", "mail 2"}} {
		box := open(t, o)
		ctx := context.Background()
		if err := box.Read(ctx, []uint32{1, 2, 3, 77}, func(mailbox.Message) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := box.Done(ctx, []uint32{done}, nil); err != nil {
			t.Fatal(err)
		}
		later := open(t, o)
		later.Resume(box.Mark())
		wantRead(t, later, want...)
		if err := box.Done(ctx, []uint32{1, 2}, []uint32{3}); err != nil {
			t.Fatal(err)
		}
		later.Resume(box.Mark())
		wantRead(t, later)
	}
}

// Where mail is deleted, one that is left for a person is not read each time.
func TestLeftForAPerson(t *testing.T) {
	s := mailtest.NewIMAP(t, mailtest.IMAP{})
	fill(t, s, 4)
	o := options(s)
	o.After, o.Review = mailbox.AfterDelete, ""
	wantRead(t, open(t, o), "mail 0", "mail 1", "mail 2", "mail 3")
	if n := s.Count("INBOX"); n != 2 {
		t.Errorf("%d left", n)
	}
	wantRead(t, open(t, o))
}

// A mark of another folder by that name, and one that is no mark, lead to nothing being passed over.
func TestForeignMark(t *testing.T) {
	s := mailtest.NewIMAP(t, mailtest.IMAP{})
	fill(t, s, 2)
	o := options(s)
	o.After = mailbox.AfterLeave
	for _, mark := range []string{"", "1 1 1", "x", "4294967295 1", "seen AAAA", "12"} {
		box := open(t, o)
		box.Resume(mark)
		if n, err := box.List(context.Background()); err != nil || len(n) != 2 {
			t.Errorf("%q: %d, %v", mark, len(n), err)
		}
	}
}

func TestWait(t *testing.T) {
	s := mailtest.NewIMAP(t, mailtest.IMAP{})
	box := open(t, options(s))
	wait := func(ctx context.Context, stop <-chan struct{}) <-chan error {
		told := make(chan error, 1)
		go func() { told <- box.(mailbox.Waiter).Wait(ctx, stop) }()
		return told
	}
	ends := func(what string, told <-chan error, want error) {
		t.Helper()
		select {
		case err := <-told:
			if err != want {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: still waiting", what)
		}
	}
	for range 3 {
		told := wait(context.Background(), nil)
		fill(t, s, 1)
		ends("mail came", told, nil)
	}
	wantRead(t, box, "mail 0", "mail 0", "mail 0")
	stop := make(chan struct{})
	told := wait(context.Background(), stop)
	close(stop)
	ends("stopped", told, nil)
	ctx, cancel := context.WithCancel(context.Background())
	told = wait(ctx, nil)
	time.AfterFunc(50*time.Millisecond, cancel)
	ends("cancelled", told, context.Canceled)
}

// What the server says of today only is no mistake of the configuration.
func TestPassingRefusals(t *testing.T) {
	for _, command := range []string{"LOGIN", "SELECT"} {
		for _, code := range []imap.ResponseCode{imap.ResponseCodeUnavailable, imap.ResponseCodeInUse, "AUTHENTICATIONFAILED"} {
			s := mailtest.NewIMAP(t, mailtest.IMAP{Hook: func(c string) error {
				if c == command {
					return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: "not now"}
				}
				return nil
			}})
			o := options(s)
			o.Auth = mailbox.AuthLogin
			_, err := mailbox.Open(context.Background(), o)
			var e *mailbox.Error
			if !errorsAs(err, &e) || e.Config != (code == "AUTHENTICATIONFAILED") {
				t.Errorf("%s %s: %v", command, code, err)
			}
		}
	}
}
