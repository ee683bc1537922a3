package mailbox_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"mailer/internal/mailbox"
	"mailer/internal/mailtest"
	"mailer/internal/sandbox"

	"github.com/emersion/go-imap/v2"
)

func options(s *mailtest.IMAPServer) mailbox.Options {
	return mailbox.Options{Host: s.Host, Port: s.Port, TLS: mailbox.TLSNone, Username: s.Username, Password: s.Password, Folder: "INBOX", Processed: "Processed", Timeout: 10 * time.Second}
}

func open(t *testing.T, o mailbox.Options) mailbox.Box {
	t.Helper()
	box, err := mailbox.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	return box
}

func fill(t *testing.T, s *mailtest.IMAPServer, n int) {
	t.Helper()
	for i := range n {
		if err := s.Deliver(fmt.Appendf(nil, "Subject: mail %d\r\n\r\nbody\r\n", i)); err != nil {
			t.Fatal(err)
		}
	}
}

// round reads all and moves the first half away, and checks both.
func round(t *testing.T, s *mailtest.IMAPServer, box mailbox.Box, n int) {
	t.Helper()
	ctx := context.Background()
	uids, err := box.List(ctx)
	if err != nil || len(uids) != n {
		t.Fatalf("listed %d, %v, want %d", len(uids), err, n)
	}
	seen := map[uint32]bool{}
	err = box.Read(ctx, uids, func(m mailbox.Message) error {
		if !bytes.HasPrefix(m.Raw, []byte("Subject: mail ")) || !bytes.HasSuffix(m.Raw, []byte("body\r\n")) || m.Received.IsZero() {
			t.Errorf("message %d: %q at %s", m.Number, m.Raw, m.Received)
		}
		seen[m.Number] = true
		return nil
	})
	if err != nil || len(seen) != n {
		t.Fatalf("read %d, %v, want %d", len(seen), err, n)
	}
	if err := box.Done(ctx, uids[:n/2], nil); err != nil {
		t.Fatal(err)
	}
	left, err := box.List(ctx)
	if err != nil || len(left) != n-n/2 || s.Count("Processed") != n/2 {
		t.Errorf("%d left (%v), %d moved, want %d and %d", len(left), err, s.Count("Processed"), n-n/2, n/2)
	}
}

func TestReadAndMove(t *testing.T) {
	for name, caps := range map[string]imap.CapSet{
		"with MOVE":    nil,
		"with UIDPLUS": {imap.CapIMAP4rev1: {}, imap.CapUIDPlus: {}},
		"with neither": {imap.CapIMAP4rev1: {}},
	} {
		t.Run(name, func(t *testing.T) {
			s := mailtest.NewIMAP(t, mailtest.IMAP{Caps: caps})
			fill(t, s, 8)
			round(t, s, open(t, options(s)), 8)
		})
	}
}

// TestMoveWhatIsGone: another sync may have moved it meanwhile.
func TestMoveWhatIsGone(t *testing.T) {
	s := mailtest.NewIMAP(t, mailtest.IMAP{})
	fill(t, s, 2)
	one, two := open(t, options(s)), open(t, options(s))
	uids, err := one.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, box := range []mailbox.Box{one, two} {
		if err := box.Done(context.Background(), uids, nil); err != nil {
			t.Error(err)
		}
	}
	if err := two.Read(context.Background(), uids, func(mailbox.Message) error { return errors.New("read") }); err != nil {
		t.Errorf("reading what is gone: %v", err)
	}
	if n := s.Count("Processed"); n != 2 {
		t.Errorf("%d in Processed, want 2", n)
	}
}

func TestTLS(t *testing.T) {
	ca := mailtest.NewCA(t)
	for _, mode := range []string{mailbox.TLSImplicit, mailbox.TLSStartTLS} {
		t.Run(mode, func(t *testing.T) {
			s := mailtest.NewIMAP(t, mailtest.IMAP{TLS: ca.Config(t), Implicit: mode == mailbox.TLSImplicit})
			fill(t, s, 4)
			o := options(s)
			o.TLS, o.RootCAs = mode, ca.Pool
			round(t, s, open(t, o), 4)

			o.RootCAs = mailtest.NewCA(t).Pool
			wantConfig(t, o, "ca_file")
			o.Insecure = true
			open(t, o)

			for word, config := range map[string]*tls.Config{"expired": ca.Expired(t), "another name": ca.WrongName(t)} {
				s := mailtest.NewIMAP(t, mailtest.IMAP{TLS: config, Implicit: mode == mailbox.TLSImplicit})
				o := options(s)
				o.TLS, o.RootCAs = mode, ca.Pool
				wantConfig(t, o, word)
			}
		})
	}
}

func wantConfig(t *testing.T, o mailbox.Options, word string) {
	t.Helper()
	box, err := mailbox.Open(context.Background(), o)
	if err == nil {
		box.Close()
	}
	var e *mailbox.Error
	if !errors.As(err, &e) || !e.Config || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), o.Password) {
		t.Errorf("error %v, want one about the configuration with %q", err, word)
	}
}

func TestConfigurationErrors(t *testing.T) {
	plain := mailtest.NewIMAP(t, mailtest.IMAP{Username: "bounce", Password: "right password"})
	o := options(plain)
	o.Password = "a wrong secret"
	wantConfig(t, o, "refused the login")

	o = options(plain)
	o.Folder = "NoSuchFolder"
	wantConfig(t, o, "NoSuchFolder")

	o = options(plain)
	o.TLS = mailbox.TLSStartTLS
	wantConfig(t, o, "STARTTLS")

	o = options(plain)
	o.Host = "192.0.2.1"
	wantConfig(t, o, "in clear")

	secure := mailtest.NewIMAP(t, mailtest.IMAP{TLS: mailtest.NewCA(t).Config(t)})
	wantConfig(t, options(secure), "refuses logins")
}

// TestSilence: a server that accepts and says nothing costs the timeout, and no more; the context ends the wait at once.
func TestSilence(t *testing.T) {
	for _, mode := range []string{mailbox.TLSNone, mailbox.TLSImplicit, mailbox.TLSStartTLS} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		o := mailbox.Options{Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, TLS: mode, Timeout: 100 * time.Millisecond}
		var e *mailbox.Error
		if _, err := mailbox.Open(context.Background(), o); !errors.As(err, &e) || e.Config {
			t.Errorf("%s: %v", mode, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		o.Timeout = time.Hour
		if _, err := mailbox.Open(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

func TestConnectionLost(t *testing.T) {
	for _, at := range []string{"LOGIN", "SELECT", "SEARCH", "FETCH", "MOVE"} {
		t.Run(at, func(t *testing.T) {
			s := mailtest.NewIMAP(t, mailtest.IMAP{Hook: func(command string) error {
				if command == at {
					return sandbox.ErrHangUp
				}
				return nil
			}})
			fill(t, s, 3)
			if err := readAll(options(s)); err == nil {
				t.Error("no error")
			}
		})
	}
}

func readAll(o mailbox.Options) error {
	ctx := context.Background()
	box, err := mailbox.Open(ctx, o)
	if err != nil {
		return err
	}
	defer box.Close()
	uids, err := box.List(ctx)
	if err != nil {
		return err
	}
	if err := box.Read(ctx, uids, func(mailbox.Message) error { return nil }); err != nil {
		return err
	}
	return box.Done(ctx, uids, nil)
}

func TestReadStopsWithItsCaller(t *testing.T) {
	s := mailtest.NewIMAP(t, mailtest.IMAP{})
	fill(t, s, 20)
	box := open(t, options(s))
	uids, err := box.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	n := 0
	err = box.Read(context.Background(), uids, func(mailbox.Message) error {
		if n++; n == 3 {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) || n != 3 {
		t.Errorf("%v after %d", err, n)
	}
	if again, err := box.List(context.Background()); err != nil || len(again) != 20 {
		t.Errorf("the connection is of no use any more: %d, %v", len(again), err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	err = box.Read(ctx, uids, func(mailbox.Message) error { cancel(); return nil })
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
