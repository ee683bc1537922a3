package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailer/internal/doctor"
	"mailer/internal/mailtest"
)

// A message goes around through a real Postfix and a real Dovecot, and through a filter in between that puts a footer into it or a
// word into its subject.
func TestRoundTripRealServers(t *testing.T) {
	ca := mailtest.NewCA(t)
	dovecot := mailtest.StartDovecot(t, ca, []mailtest.User{{Address: "bounce@" + ourDomain, Password: imapPassword}, {Address: "news@" + ourDomain, Password: relayPassword}})
	ports := mailtest.FreePorts(t, 2)
	footer := mailtest.NewMilter(t, func(body []byte) []byte {
		return bytes.Replace(body, []byte("</body>"), []byte("<p>Checked by a filter.</p></body>"), 1)
	})
	listener := func(port int, more ...string) mailtest.Listener {
		return mailtest.Listener{Port: port, Options: append([]string{"smtpd_tls_security_level = encrypt", "smtpd_sasl_auth_enable = yes",
			"smtpd_relay_restrictions = permit_sasl_authenticated, reject"}, more...)}
	}
	mailtest.StartPostfix(t, mailtest.Postfix{
		Host: "mail." + ourDomain, CA: ca,
		Main: fmt.Sprintf("myorigin = %[1]s\nvirtual_mailbox_domains = %[1]s\nvirtual_mailbox_maps = texthash:$config_directory/mailboxes\nvirtual_transport = lmtp:unix:%[2]s\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = %[3]s\nsmtpd_tls_received_header = yes\n",
			ourDomain, dovecot.LMTP, dovecot.SASL),
		Tables: map[string]string{"mailboxes": "bounce@" + ourDomain + " x\nnews@" + ourDomain + " x\n"},
		SMTPD:  []mailtest.Listener{listener(ports[0]), listener(ports[1], "smtpd_milters = "+footer)},
	})

	bin, dir := binary(t), t.TempDir()
	run := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.Command(bin, append([]string{"-C", dir, "--json"}, args...)...)
		cmd.Env = append(os.Environ(), "MAILER_RELAY_PASSWORD="+relayPassword, "MAILER_IMAP_PASSWORD="+imapPassword)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Fatalf("mailer %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout.Bytes(), stderr.Bytes())
		}
		return stdout.String()
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ca.pem", string(ca.PEM))
	conf := fmt.Sprintf(`
sender: {from: 例題商店 <news@shop.example>, organization: 例題商店株式会社, postal_address: 東京都千代田区千代田1-1, unsubscribe_url: "https://news.shop.example"}
relays:
  main: {host: 127.0.0.1, port: %d, tls: starttls, ca_file: ca.pem, auth: plain, username: news@shop.example, password_env: MAILER_RELAY_PASSWORD, connections: 2}
  filtered: {host: 127.0.0.1, port: %d, tls: starttls, ca_file: ca.pem, auth: plain, username: news@shop.example, password_env: MAILER_RELAY_PASSWORD, connections: 2}
bounces:
  return_path: bounce+{token}@shop.example
  mailbox: {host: 127.0.0.1, port: %d, tls: implicit, ca_file: ca.pem, username: bounce@shop.example, password_env: MAILER_IMAP_PASSWORD}
`, ports[0], ports[1], dovecot.IMAPS)
	write("mailer.yaml", conf)
	made := lastLine(t, run(exitDone, "dkim", "keygen", "--selector", "s1"))
	write("mailer.yaml", conf+fmt.Sprintf("dkim:\n  - {domain: %s, selector: s1, key_file: %s}\n", ourDomain, made["key_file"]))

	ns := mailtest.NewNameserver(t)
	record := made["record"].(string)
	half := len(record) / 2
	zone := fmt.Sprintf("s1._domainkey IN TXT \"%s\" \"%s\"\n_dmarc IN TXT \"v=DMARC1; p=reject\"\n", record[:half], record[half:])
	for origin, text := range map[string]string{".": "", ourDomain: zone} {
		if err := ns.Zone(origin, text); err != nil {
			t.Fatal(err)
		}
	}

	check := func(out string, want map[string]string) {
		t.Helper()
		seen := map[string]bool{}
		for line := range strings.Lines(out) {
			var f doctor.Finding
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Fatal(err)
			}
			level, words, _ := strings.Cut(want[f.Check], " ")
			if level != "" && (string(f.Level) != level || !strings.Contains(f.Found+strings.Join(f.Detail, " "), words)) || level == "" && f.Level.Worse(doctor.Info) && f.Check != "relay_tls" {
				t.Errorf("%s: want %q, got %+v", f.Check, want[f.Check], f)
			}
			seen[f.Check] = true
		}
		for name := range want {
			if !seen[name] {
				t.Errorf("no %s in %s", name, out)
			}
		}
	}
	trip := func(want int, relay string) string {
		return run(want, "doctor", "relay", relay, "--roundtrip", "--wait", "60s", "--resolver", ns.Addr())
	}
	// The test's certificates end within the hour, which relay_tls says.
	check(trip(exitDone, "main"), map[string]string{"arrival": "pass INBOX", "arrival_dkim": "pass d=shop.example", "arrival_alignment": "pass by DKIM", "arrival_headers": "pass ",
		"arrival_list_unsubscribe": "pass covers them", "arrival_tls": "pass TLS 1.3", "arrival_return_path": "pass bounce+", "arrival_delay": "pass ", "arrival_results": "info ", "relay_login": "pass PLAIN"})
	check(trip(exitSafety, "filtered"), map[string]string{"arrival": "pass INBOX", "arrival_dkim": "fail a footer was added to text/html: \"<p> Checked by a filter. </p>\"", "arrival_alignment": "fail ",
		"arrival_list_unsubscribe": "fail no valid signature covers", "arrival_headers": "pass ", "arrival_return_path": "pass "})
	if dovecot.POP3S != 0 { // another mailbox, which is looked into by one session after the other, and left as it is
		who := url.UserPassword("news@"+ourDomain, relayPassword)
		check(run(exitDone, "doctor", "relay", "main", "--roundtrip", "--wait", "60s", "--resolver", ns.Addr(), "--to", "news@"+ourDomain,
			"--source", fmt.Sprintf("pop3s://%s@127.0.0.1:%d", who, dovecot.POP3S)), map[string]string{"arrival": "pass left in the mailbox", "arrival_dkim": "pass "})
		if n := len(dovecot.Mail(t)["news@"+ourDomain]); n != 1 {
			t.Errorf("%d messages are in the other mailbox, want the one of the round trip", n)
		}
	}
	if left := len(dovecot.Mail(t)["bounce@"+ourDomain]); left != 0 {
		t.Errorf("%d messages are left in the INBOX: they should be in Processed", left)
	}
}
