package mailbox_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"mailer/internal/mailbox"
	"mailer/internal/mailtest"

	"github.com/emersion/go-imap/v2/imapclient"
)

// TestDovecot: what the servers of our own making agree to, a real one does, too.
func TestDovecot(t *testing.T) {
	ca := mailtest.NewCA(t)
	const user, password = "bounce@shop.example", `im\ap "p@ss`
	d := mailtest.StartDovecot(t, ca, []mailtest.User{{Address: user, Password: password}})
	c, err := imapclient.DialTLS(net.JoinHostPort(d.Host, strconv.Itoa(d.IMAPS)), &imapclient.Options{TLSConfig: mailtest.Trust(t, ca.PEM)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(user, password).Wait(); err != nil {
		t.Fatal(err)
	}
	deliver := func(folder string, n ...int) {
		t.Helper()
		for _, i := range n {
			text := fmt.Sprintf("Subject: mail %d\r\n\r\n.dot\r\nbody\r\n", i)
			cmd := c.Append(folder, int64(len(text)), nil)
			if _, err := cmd.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
		}
	}
	create := func(folder string) {
		t.Helper()
		if err := c.Create(folder, nil).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	o := mailbox.Options{Host: d.Host, Port: d.IMAPS, TLS: mailbox.TLSImplicit, RootCAs: ca.Pool, Username: user, Password: password,
		Processed: "Processed", Review: "Review", Timeout: 20 * time.Second}

	t.Run("IMAP", func(t *testing.T) {
		deliver("INBOX", 1, 2, 3)
		box := open(t, o)
		wantRead(t, box, "mail 1", "mail 2", "mail 3")
		told := make(chan error, 1)
		go func() { told <- box.(mailbox.Waiter).Wait(context.Background(), nil) }()
		time.Sleep(100 * time.Millisecond) // it may be idle by now or not: both must do
		deliver("INBOX", 4)
		select {
		case err := <-told:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("not told of new mail")
		}
		wantRead(t, box, "mail 4")
		for folder, want := range map[string][]string{"Processed": {"mail 1", "mail 3", "mail 4"}, "Review": {"mail 2"}} {
			there := o
			there.Folder, there.After = folder, mailbox.AfterLeave
			wantRead(t, open(t, there), want...)
		}
		there := o
		there.Folder, there.After, there.Auth = "Processed", mailbox.AfterDelete, mailbox.AuthLogin
		wantRead(t, open(t, there), "mail 1", "mail 3", "mail 4")
		wantRead(t, open(t, there))
	})

	t.Run("UIDVALIDITY", func(t *testing.T) {
		create("Bounces")
		deliver("Bounces", 1, 2)
		there := o
		there.Folder, there.After = "Bounces", mailbox.AfterFlag
		there.Review = ""
		box := open(t, there)
		wantRead(t, box, "mail 1", "mail 2")
		mark := box.Mark()
		deliver("Bounces", 3)
		box = open(t, there)
		box.Resume(mark)
		wantRead(t, box, "mail 3")
		mark = box.Mark()
		if err := box.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Delete("Bounces").Wait(); err != nil {
			t.Fatal(err)
		}
		create("Bounces")
		deliver("Bounces", 4, 5, 6, 7)
		box = open(t, there)
		box.Resume(mark)
		wantRead(t, box, "mail 4", "mail 5", "mail 6", "mail 7")
	})

	t.Run("POP3", func(t *testing.T) {
		if d.POP3S == 0 {
			mailtest.Skip(t, "dovecot's POP3 server is missing (apt-get install dovecot-pop3d)")
		}
		deliver("INBOX", 1, 2, 3)
		pop := o
		pop.Protocol, pop.Port, pop.After = mailbox.POP3, d.POP3S, mailbox.AfterDelete
		raws := func(o mailbox.Options) (all []string) {
			o.After = mailbox.AfterLeave
			box, err := mailbox.Open(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer box.Close()
			numbers, err := box.List(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if err := box.Read(context.Background(), numbers, func(m mailbox.Message) error { all = append(all, string(m.Raw)); return nil }); err != nil {
				t.Fatal(err)
			}
			return all
		}
		if a, b := raws(o), raws(pop); len(a) != 3 || !slices.Equal(a, b) {
			t.Errorf("IMAP %q, POP3 %q", a, b)
		}
		box, err := mailbox.Open(context.Background(), pop)
		if err != nil {
			t.Fatal(err)
		}
		wantRead(t, box, "mail 1", "mail 2", "mail 3")
		mark := box.Mark()
		if err := box.Close(); err != nil {
			t.Error(err)
		}
		deliver("INBOX", 4)
		box = open(t, pop)
		box.Resume(mark)
		wantRead(t, box, "mail 4")

		pop.Password = "a wrong secret"
		wantConfig(t, pop, "refused the login")
	})
}
