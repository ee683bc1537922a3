package mailtest

import (
	"crypto/tls"
	"fmt"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
)

// A mail goes in by an authenticated submission and comes out over IMAPS; who is not there is refused.
func TestPostfixAndDovecot(t *testing.T) {
	ca := NewCA(t)
	dovecot := StartDovecot(t, ca, []User{{Address: "news@shop.example", Password: "pass word"}, {Address: "full@shop.example", Quota: "1K"}})
	port := FreePorts(t, 1)[0]
	postfix := StartPostfix(t, Postfix{Host: "mail.shop.example", CA: ca,
		Main: fmt.Sprintf(`
virtual_mailbox_domains = shop.example
virtual_mailbox_maps = texthash:$config_directory/mailboxes
virtual_transport = lmtp:unix:%s
smtpd_sasl_type = dovecot
smtpd_sasl_path = %s
`, dovecot.LMTP, dovecot.SASL),
		Tables: map[string]string{"mailboxes": "news@shop.example x\nfull@shop.example x\n"},
		SMTPD: []Listener{{Port: port, Options: []string{"smtpd_tls_security_level = encrypt", "smtpd_sasl_auth_enable = yes",
			"smtpd_relay_restrictions = permit_sasl_authenticated, reject"}}},
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	send := func(to string) error {
		client, err := smtp.Dial(addr)
		if err != nil {
			return err
		}
		defer client.Close()
		if err := client.StartTLS(&tls.Config{RootCAs: ca.Pool, ServerName: "127.0.0.1"}); err != nil {
			return err
		}
		if err := client.Auth(smtp.PlainAuth("", "news@shop.example", "pass word", "127.0.0.1")); err != nil {
			return err
		}
		if err := client.Mail("news@shop.example"); err != nil {
			return err
		}
		if err := client.Rcpt(to); err != nil {
			return err
		}
		w, err := client.Data()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "Subject: hello\r\n\r\n%s\r\n", strings.Repeat("a line of text\r\n", 200))
		return w.Close()
	}
	if err := send("news+extension@shop.example"); err != nil {
		t.Fatal(err)
	}
	if err := send("full@shop.example"); err != nil { // its bounce goes to news@
		t.Fatal(err)
	}
	if err := send("nobody@shop.example"); err == nil || !strings.Contains(err.Error(), "5.1.1") {
		t.Errorf("an unknown user: %v", err)
	}
	postfix.WaitEmpty(t, time.Minute)
	all := dovecot.Mail(t)
	if len(all) != 1 || len(all["news@shop.example"]) != 2 {
		t.Fatalf("mailboxes: %q", all)
	}
	text := fmt.Sprintf("%s", all)
	if !strings.Contains(text, "Delivered-To: news+extension@shop.example\n") || !strings.Contains(text, "5.2.2") {
		t.Errorf("the mailbox holds %s", text)
	}
	client, err := imapclient.DialTLS(fmt.Sprintf("127.0.0.1:%d", dovecot.IMAPS), &imapclient.Options{TLSConfig: Trust(t, ca.PEM)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Login("news@shop.example", "pass word").Wait(); err != nil {
		t.Fatal(err)
	}
	if box, err := client.Select("INBOX", nil).Wait(); err != nil || box.NumMessages != 2 {
		t.Errorf("INBOX: %v, %v", box, err)
	}
}
