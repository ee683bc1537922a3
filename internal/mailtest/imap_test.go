package mailtest

import (
	"fmt"
	"testing"

	"mailer/internal/sandbox"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

func TestMoveKeepsCount(t *testing.T) {
	s := NewIMAP(t, IMAP{})
	for i := range 5 {
		if err := s.Deliver(fmt.Appendf(nil, "Subject: %d\r\n\r\n", i)); err != nil {
			t.Fatal(err)
		}
	}
	c := DialIMAP(t, s.Addr, s.Username, s.Password)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Create("Processed", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	set := imap.UIDSetNum(1, 3, 5)
	data, err := c.Move(set, "Processed").Wait()
	if err != nil {
		t.Fatal(err)
	}
	if uids, ok := data.DestUIDs.(imap.UIDSet); !ok || uids.String() != "1:3" {
		t.Errorf("moved to %v", data.DestUIDs)
	}
	if n := c.Mailbox().NumMessages; n != 2 {
		t.Errorf("the client counts %d messages", n)
	}
	if _, err := c.Move(set, "Processed").Wait(); err != nil {
		t.Errorf("moving what is gone: %v", err)
	}
	if s.Count("INBOX") != 2 || s.Count("Processed") != 3 || s.Count("None") != 0 {
		t.Errorf("INBOX %d, Processed %d", s.Count("INBOX"), s.Count("Processed"))
	}
	if left := ReadIMAP(t, s.Addr, s.Username, s.Password, "INBOX"); string(left[0]) != "Subject: 1\r\n\r\n" {
		t.Errorf("left %q", left)
	}
}

func TestIMAPOverTLS(t *testing.T) {
	ca := NewCA(t)
	implicit := NewIMAP(t, IMAP{TLS: ca.Config(t), Implicit: true, Username: "u", Password: "p"})
	starttls := NewIMAP(t, IMAP{TLS: ca.Config(t), Username: "u", Password: "p"})
	o := &imapclient.Options{TLSConfig: Trust(t, ca.PEM)}
	for name, dial := range map[string]func() (*imapclient.Client, error){
		"implicit": func() (*imapclient.Client, error) { return imapclient.DialTLS(implicit.Addr, o) },
		"starttls": func() (*imapclient.Client, error) { return imapclient.DialStartTLS(starttls.Addr, o) },
	} {
		c, err := dial()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := c.Login("u", "wrong").Wait(); err == nil {
			t.Errorf("%s: a wrong password is right", name)
		}
		if err := c.Login("u", "p").Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
	c, err := imapclient.DialInsecure(starttls.Addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("u", "p").Wait(); err == nil {
		t.Error("a login in clear is taken where TLS is offered")
	}
}

func TestIMAPFaults(t *testing.T) {
	var fault error
	s := NewIMAP(t, IMAP{Hook: func(command string) error {
		if command == "SEARCH" {
			return fault
		}
		return nil
	}})
	c := DialIMAP(t, s.Addr, s.Username, s.Password)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	fault = &imap.Error{Type: imap.StatusResponseTypeNo, Text: "not now"}
	if _, err := c.UIDSearch(&imap.SearchCriteria{}, nil).Wait(); err == nil {
		t.Error("NO is taken for OK")
	}
	fault = nil
	if _, err := c.UIDSearch(&imap.SearchCriteria{}, nil).Wait(); err != nil {
		t.Error(err)
	}
	fault = sandbox.ErrHangUp
	if _, err := c.UIDSearch(&imap.SearchCriteria{}, nil).Wait(); err == nil {
		t.Error("the connection lives on")
	}
}
