package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"mailer/internal/pace"
)

// design is the example of the documentation; what it says must load as it stands.
const design = `sender:
  from: Example News <news@example.com>
  reply_to: info@example.com
  organization: Example Inc.            # printed in the footer
  postal_address: 1-1 Chiyoda, Tokyo
  unsubscribe_url: ""
  unsubscribe_mailto: ""
timezone: Asia/Tokyo
expires: 72h
retry: [1m, 5m, 15m, 30m, 1h, 2h, 4h]
relays:
  main:
    host: smtp.example.com
    port: 587
    tls: starttls
    auth: auto
    username: news
    password_env: MAILER_RELAY_PASSWORD
    connections: 10
    messages_per_connection: 0
    rates: [100/s, 50000/d]
    pipelining: auto
    weight: 1
dkim:
  - {domain: example.com, selector: s2026, key_file: dkim/s2026.pem}
bounces:
  return_path: bounce+{token}@example.com
  mailbox: {protocol: imap, host: imap.example.com, port: 993, tls: implicit, username: bounce,
            password_env: MAILER_IMAP_PASSWORD, folder: INBOX, processed: Processed}
domains:
  docomo.ne.jp: {connections: 2, rates: [10/s]}
`

func load(t *testing.T, text string, env map[string]string, overrides ...Override) (*Workspace, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := Load(dir, lookupIn(env), overrides...)
	return w, shorten(err, dir)
}

func lookupIn(env map[string]string) Lookup {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

// What is done with mail that was read follows from where it lies, and from whether there is a folder to move it to.
func TestMailboxDefaults(t *testing.T) {
	for text, want := range map[string]string{
		"host: h":                             "imap h:143 starttls [INBOX] move Processed Review",
		"host: h, port: 993, folder: Bounces": "imap h:993 implicit [Bounces] move Processed Review",
		"host: h, folder: [INBOX, Junk], processed: ''": "imap h:143 starttls [INBOX Junk] leave  Review",
		"host: h, protocol: pop3, tls: implicit":        "pop3 h:995 implicit [INBOX] leave Processed Review",
		"host: h, protocol: pop3, after: delete":        "pop3 h:110 starttls [INBOX] delete Processed Review",
		"host: h, after: flag, review: ''":              "imap h:143 starttls [INBOX] flag Processed ",
		"protocol: maildir, path: /var/mail/x":          "maildir /var/mail/x:0  [INBOX] move Processed Review",
		"protocol: mbox, path: mbox":                    "mbox mbox:0  [INBOX] leave Processed Review",
	} {
		login := ", username: u, password_env: P}}"
		if strings.HasPrefix(text, "protocol") {
			login = "}}"
		}
		w, err := load(t, "bounces: {mailbox: {"+text+login, nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		m := w.Config.Bounces.Mailbox
		got := fmt.Sprintf("%s %s%s:%d %s %s %s %s %s", m.Protocol, m.Host, m.Path, m.Port, m.TLS, m.Folder, m.After, m.Processed, m.Review)
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", text, got, want)
		}
	}
}

// shorten takes the temporary folder out of what is compared.
func shorten(err error, dir string) error {
	var all Errors
	var one *Error
	switch {
	case errors.As(err, &all):
		for _, e := range all {
			e.File = strings.TrimPrefix(e.File, dir+string(filepath.Separator))
		}
	case errors.As(err, &one):
		one.File = strings.TrimPrefix(one.File, dir+string(filepath.Separator))
	}
	return err
}

func TestLoadDesign(t *testing.T) {
	w, err := load(t, design, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Sender = Sender{From: "Example News <news@example.com>", ReplyTo: "info@example.com",
		Organization: "Example Inc.", PostalAddress: "1-1 Chiyoda, Tokyo"}
	want.Timezone = "Asia/Tokyo"
	want.Relays = Relays{{Name: "main", Host: "smtp.example.com", Port: 587, TLS: TLSStartTLS, Auth: AuthAuto,
		Username: "news", Secret: Secret{Env: "MAILER_RELAY_PASSWORD"}, Connections: 10,
		Rates: []pace.Rate{{N: 100, Per: time.Second}, {N: 50000, Per: 24 * time.Hour}}, Pipelining: PipeliningAuto, Weight: 1, Timeout: 5 * time.Minute}}
	want.DKIM = []DKIM{{"example.com", "s2026", "dkim/s2026.pem"}}
	want.Bounces = Bounces{ReturnPathPattern: "bounce+{token}@example.com", Mailbox: Mailbox{Protocol: "imap",
		Host: "imap.example.com", Port: 993, TLS: TLSImplicit, Auth: AuthAuto, Username: "bounce",
		Secret: Secret{Env: "MAILER_IMAP_PASSWORD"}, Folder: Folders{"INBOX"}, After: AfterMove, Processed: "Processed", Review: "Review",
		Poll: time.Minute, Timeout: time.Minute}}
	want.Bounces.Retention = 365 * 24 * time.Hour
	want.Domains = Lanes{{Name: "docomo.ne.jp", Connections: 2, Rates: []pace.Rate{{N: 10, Per: time.Second}}}}
	if !reflect.DeepEqual(w.Config, want) {
		t.Errorf("got  %+v\nwant %+v", w.Config, want)
	}
	if len(w.Warnings) != 0 {
		t.Errorf("warnings %v", w.Warnings)
	}
	if got := w.Config.Bounces.ReturnPath("b1x-y"); got != "bounce+b1x-y@example.com" {
		t.Errorf("return path %s", got)
	}
}

func TestEmptyFileIsTheDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing yet\n", "---\n", "relays:\n", "\ufeff"} {
		w, err := load(t, text, nil)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if !reflect.DeepEqual(w.Config, Default()) {
			t.Errorf("%q: got %+v", text, w.Config)
		}
	}
}

func TestRelaysKeepTheirOrder(t *testing.T) {
	w, err := load(t, "relays:\n  zebra: {host: z.example}\n  apple: {host: a.example, port: 465}\n  mid: {host: 127.0.0.1, tls: none}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.Relay("")
	if err != nil || r.Name != "zebra" || r.Port != 587 || r.TLS != TLSStartTLS {
		t.Errorf("first relay %+v, %v", r, err)
	}
	if r, err := w.Relay("apple"); err != nil || r.TLS != TLSImplicit {
		t.Errorf("apple %+v, %v", r, err)
	}
	if r, err := w.Relay("mid"); err != nil || r.Port != 25 {
		t.Errorf("mid %+v, %v", r, err)
	}
	if _, err := w.Relay("aple"); err == nil || !strings.Contains(err.Error(), `did you mean "apple"?`) {
		t.Errorf("unknown relay: %v", err)
	}
}

func TestErrorsHaveTheirPlace(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown key", "sendr:\n  from: a@b.c\n", `mailer.yaml:1:1: unknown key "sendr" (did you mean "sender"?)`},
		{"nested unknown key", "relays:\n  main:\n    hots: x\n    host: smtp.example\n", `mailer.yaml:3:5: relays.main: unknown key "hots" (did you mean "host"?)`},
		{"swapped letters", "timezoen: UTC\n", `(did you mean "timezone"?)`},
		{"nothing near", "frobnicate: 1\n", `mailer.yaml:1:1: unknown key "frobnicate"`},
		{"flow mapping", "dkim:\n  - {domain: a.example, selektor: s, key_file: k}\n", `mailer.yaml:2:25: dkim.0: unknown key "selektor" (did you mean "selector"?)`},
		{"number wanted", "relays: {m: {host: h, port: x25}}", `mailer.yaml:1:29: relays.m.port: must be a whole number, not "x25"`},
		{"quoted number", "relays: {m: {host: h, port: \"25\"}}", `must be a whole number, not "25"`},
		{"bool wanted", "relays: {m: {host: h, insecure: yes please}}", `relays.m.insecure: must be true or false, not "yes please"`},
		{"list wanted", "retry: 5m", `mailer.yaml:1:8: retry: must be a list, such as [a, b], not "5m"`},
		{"value wanted", "timezone: [UTC]", `mailer.yaml:1:11: timezone: must be a single value, not a list`},
		{"mapping wanted", "sender: news@example.com", `sender: must hold keys and values, not "news@example.com"`},
		{"mapping instead of a value", "timezone:\n  name: UTC\n", `mailer.yaml:2:3: timezone: must be a single value, not keys and values`},
		{"duplicate key", "timezone: UTC\ntimezone: UTC\n", `mailer.yaml:2:1: mapping key "timezone" already defined`},
		{"tab", "sender:\n\tfrom: a@example.com\n", `mailer.yaml:2:1: there is a tab before the key: YAML wants spaces`},
		{"bad yaml", "sender: [\n", `mailer.yaml:1:9: `},
		{"two documents", "timezone: UTC\n---\ntimezone: UTC\n", "more than one YAML document"},
		{"not utf-8", "sender: {organization: \x83\x81}\n", "is not UTF-8"},
		{"bad span", "expires: soon", `mailer.yaml:1:10: expires: "soon" is not a time span`},
		{"bad rate", "relays: {m: {host: h, rates: [10/s, 10]}}", `relays.m.rates.1: "10" is not a rate`},
		{"bad tls", "relays: {m: {host: h, tls: ssl}}", `"ssl" is not one of starttls, implicit, none`},
		{"bad level", "checks: {dkim: fatal}", `checks.dkim: "fatal" is not one of error, warn, off`},
		{"unknown check", "checks: {dkimm: off}", `(did you mean "dkim"?)`},
		{"timezone", "timezone: Asia/Tokio", `mailer.yaml:1:11: timezone: no time zone is named "Asia/Tokio"`},
		{"from", "sender:\n  from: news at example\n", `mailer.yaml:2:9: sender.from: "news at example" is not an address`},
		{"injected header", "sender:\n  from: \"a@b.example\\r\\nBcc: x@y.example\"\n", `sender.from: must be one line`},
		{"clear text abroad", "relays: {m: {host: smtp.example, tls: none}}", `mailer.yaml:1:39: relays.m.tls: none is for this machine only`},
		{"host with port", "relays: {m: {host: \"smtp.example:25\"}}", `the port has a key of its own`},
		{"port range", "relays: {m: {host: h, port: 70000}}", `relays.m.port: must be between 1 and 65535`},
		{"no host", "relays:\n  m: {port: 25}\n", `mailer.yaml:2:6: relays.m.host: is missing`},
		{"two passwords", "relays: {m: {host: h, username: u, password_env: A, password_file: b}}", `relays.m: has 2 passwords`},
		{"no password", "relays: {m: {host: h, username: u}}", `relays.m: has a username and no password`},
		{"no username", "relays: {m: {host: h, password_env: A}}", `relays.m: has a password and no username`},
		{"mechanism without user", "relays: {m: {host: h, auth: plain}}", `relays.m.auth: plain needs a username`},
		{"token twice", `bounces: {return_path: "{token}{token}@e.example"}`, `{token} must stand in it once`},
		{"token in the domain", `bounces: {return_path: "a@{token}.example"}`, `must stand before the @`},
		{"unquoted token", `bounces: {return_path: {token}@e.example}`, `mailer.yaml:1:`},
		{"long local part", `bounces: {return_path: "a-very-long-prefix-that-leaves-no-room-for-it+{token}@e.example"}`, "64 characters"},
		{"return path with a name", `bounces: {return_path: "B <b@e.example>"}`, "bounces.return_path: "},
		{"mailbox without host", "bounces: {mailbox: {username: u}}", `bounces.mailbox.host: is missing`},
		{"mailbox protocol", "bounces: {mailbox: {protocol: nntp, host: h, username: u, password_env: P}}", `"nntp" is not one of imap, pop3, maildir, mbox`},
		{"mailbox auth", "bounces: {mailbox: {host: h, auth: cram-md5, username: u, password_env: P}}", `bounces.mailbox.auth: "cram-md5" is not one of auto, plain, login, xoauth2`},
		{"maildir without path", "bounces: {mailbox: {protocol: maildir}}", `bounces.mailbox.path: is missing`},
		{"mbox with a host", "bounces: {mailbox: {protocol: mbox, host: h, path: p}}", `bounces.mailbox.host: a mbox lies on this machine`},
		{"imap with a path", "bounces: {mailbox: {path: p, host: h, username: u, password_env: P}}", `bounces.mailbox.path: is for maildir and mbox`},
		{"pop3 cannot move", "bounces: {mailbox: {protocol: pop3, host: h, after: move, username: u, password_env: P}}", `bounces.mailbox.after: move cannot be done`},
		{"mbox is only read", "bounces: {mailbox: {protocol: mbox, path: p, after: delete}}", `bounces.mailbox.after: delete cannot be done`},
		{"move to nowhere", "bounces: {mailbox: {host: h, after: move, processed: '', username: u, password_env: P}}", `bounces.mailbox.processed: is missing`},
		{"delete mail for a person", "bounces: {mailbox: {host: h, after: delete, review: '', username: u, password_env: P}}", `bounces.mailbox.review: is missing`},
		{"review among the read", "bounces: {mailbox: {host: h, folder: [INBOX, Review], username: u, password_env: P}}", `bounces.mailbox.review: must be another folder than Review`},
		{"no folder", "bounces: {mailbox: {host: h, folder: [], username: u, password_env: P}}", `bounces.mailbox.folder: must not be empty`},
		{"too often", "bounces: {mailbox: {host: h, poll: 0s, username: u, password_env: P}}", `bounces.mailbox.poll: must be a second or longer`},
		{"same folder", "bounces: {mailbox: {host: h, username: u, password_env: P, processed: INBOX}}", "another folder than INBOX"},
		{"dkim", "dkim:\n  - {domain: a.example}\n", `mailer.yaml:2:5: dkim.0.key_file: is missing`},
		{"lane", "domains: {no domain: {connections: 1}}", `"no domain" is not a domain name`},
		{"http unsubscribe", "sender: {unsubscribe_url: http://example.com/u}", "is not an https address"},
		{"unknown anchor", "timezone: *zone", "mailer.yaml:1:11: timezone: no anchor &zone"},
		{"merges itself", "relays: &r\n  <<: *r\n", "mailer.yaml:2:"},
		{"negative span", "retry: [-5m]", `retry.0: "-5m" is not a time span`},
		{"no retry", "retry: []", "retry: must hold at least one"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.text, nil)
			var one *Error
			if !errors.As(err, &one) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestAllErrorsAtOnceInOrder(t *testing.T) {
	_, err := load(t, "timezone: Mars/Base\nexpires: -1h\nrelays:\n  m:\n    prot: 25\n    tls: ssl\n    host: smtp.example\n", nil)
	var all Errors
	if !errors.As(err, &all) || len(all) != 4 {
		t.Fatalf("got %v, want four errors", err)
	}
	for i, line := range []int{1, 2, 5, 6} {
		if all[i].Line != line {
			t.Errorf("error %d is at line %d, want %d: %v", i, all[i].Line, line, all[i])
		}
	}
}

func TestAnchors(t *testing.T) {
	w, err := load(t, `relays:
  a: &base {host: a.example, connections: 3, rates: [5/s]}
  b:
    host: b.example
    <<: *base
  c: *base
timezone: &z UTC
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, host := range []string{"a.example", "b.example", "a.example"} {
		if r := w.Config.Relays[i]; r.Host != host || r.Connections != 3 || len(r.Rates) != 1 {
			t.Errorf("relay %d: %+v", i, r)
		}
	}
}

func TestPrecedence(t *testing.T) {
	const file = "timezone: UTC\nrelays:\n  my-relay: {host: file.example, username: u, password_env: FILE, rates: [1/s]}\ndkim:\n  - {domain: d.example, selector: s, key_file: k}\n"
	env := map[string]string{
		"MAILER_RELAYS_MY_RELAY_HOST":          "env.example",
		"MAILER_RELAYS_MY_RELAY_PASSWORD_FILE": "/run/secret",
		"MAILER_RELAYS_MY_RELAY_RATES":         "2/s, 100/h",
		"MAILER_RELAYS_MY_RELAY_CONNECTIONS":   "4",
		"MAILER_DKIM_0_KEY_FILE":               "other.pem",
		"MAILER_TIMEZONE":                      "Asia/Tokyo",
		"MAILER_EXPIRES":                       "", // empty counts as not set
	}
	w, err := load(t, file, env, Override{Key: "relays.my-relay.connections", Value: "7", Flag: "--concurrency"})
	if err != nil {
		t.Fatal(err)
	}
	r := w.Config.Relays[0]
	if r.Host != "env.example" || r.Secret != (Secret{File: "/run/secret"}) || r.Connections != 7 ||
		!reflect.DeepEqual(r.Rates, []pace.Rate{{N: 2, Per: time.Second}, {N: 100, Per: time.Hour}}) {
		t.Errorf("relay %+v", r)
	}
	if c := w.Config; c.DKIM[0].KeyFile != "other.pem" || c.Timezone != "Asia/Tokyo" || c.Expires != 72*time.Hour {
		t.Errorf("config %+v", c)
	}
	got := map[string]string{}
	for _, s := range w.Settings() {
		got[s.Key] = s.Source.String()
	}
	for key, want := range map[string]string{
		"relays.my-relay.connections": "--concurrency", "relays.my-relay.host": "$MAILER_RELAYS_MY_RELAY_HOST",
		"relays.my-relay.username": "line 3", "expires": "default",
	} {
		if got[key] != want {
			t.Errorf("source of %s: %q, want %q", key, got[key], want)
		}
	}
}

func TestOutsideErrorsNameTheirSource(t *testing.T) {
	_, err := load(t, "", map[string]string{"MAILER_EXPIRES": "never"})
	if err == nil || !strings.Contains(err.Error(), `$MAILER_EXPIRES: expires: "never" is not a time span`) {
		t.Errorf("environment: %v", err)
	}
	_, err = load(t, "", nil, Override{Key: "timezone", Value: "Nowhere", Flag: "--timezone"})
	if err == nil || !strings.Contains(err.Error(), `--timezone: timezone: no time zone`) {
		t.Errorf("flag: %v", err)
	}
	_, err = load(t, "", nil, Override{Key: "relays.x.host", Value: "h", Flag: "--x"})
	if err == nil || !strings.Contains(err.Error(), "does not have") {
		t.Errorf("unknown flag key: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"plain password", "relays: {m: {host: h.example, username: u, password: p}}", "a password in the file is easily copied"},
		{"clear text", "relays: {m: {host: h.example, tls: none, insecure: true}}", "go to h.example in clear"},
		{"certificate", "relays: {m: {host: h.example, insecure: true}}", "the certificate of h.example is not checked"},
		{"unused user", "relays: {m: {host: h.example, auth: none, username: u}}", "is not used"},
		{"one-click", "sender: {unsubscribe_url: https://u.example.com}", "unsubscribe by mail"},
		{"mail without a way", "relays: {m: {host: h.example, weight: 0}, n: {host: h.example, for: [gmail]}}", "other mail goes nowhere"},
	}
	for _, tt := range tests {
		w, err := load(t, tt.text, nil)
		if err != nil || len(w.Warnings) != 1 || !strings.Contains(w.Warnings[0].Error(), tt.want) {
			t.Errorf("%s: %v %v", tt.name, w, err)
		}
	}
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	shop, deep := filepath.Join(root, "shop"), filepath.Join(root, "shop", "campaigns", "2026")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(shop, FileName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, explicit, env, cwd, want, wrong string }{
		{"flag", shop, "", root, shop, ""},
		{"flag wins", shop, root, root, shop, ""},
		{"flag is not searched upwards", deep, "", shop, "", "-C "},
		{"environment", "", shop, root, shop, ""},
		{"environment wrong", "", root, shop, "", "MAILER_DIR="},
		{"here", "", "", shop, shop, ""},
		{"upwards", "", "", deep, shop, ""},
		{"nowhere", "", "", root, "", "mailer init"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Find(tt.explicit, lookupIn(map[string]string{"MAILER_DIR": tt.env}), tt.cwd)
			if got != tt.want || (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestSigner(t *testing.T) {
	c := Config{DKIM: []DKIM{{Domain: "example.com", Selector: "a"}, {Domain: "News.example.com", Selector: "b"}}}
	for domain, want := range map[string]string{"example.com": "a", "news.EXAMPLE.com": "b", "x.example.com": "a", "badexample.com": "", "com": ""} {
		if got, ok := c.Signer(domain); got.Selector != want || ok != (want != "") {
			t.Errorf("%s: %+v %v", domain, got, ok)
		}
	}
}

// A domain as people write it signs: From has it as DNS does.
func TestSignerOfAnIDN(t *testing.T) {
	w, err := load(t, "dkim: [{domain: 例え.jp, selector: s1, key_file: k.pem}]\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := w.Config.Signer("news.xn--r8jz45g.jp"); !ok || k.Domain != "xn--r8jz45g.jp" {
		t.Errorf("%+v", w.Config.DKIM)
	}
	if _, err := load(t, "dkim: [{domain: example.jp, selector: 選択, key_file: k.pem}]\n", nil); err == nil {
		t.Error("a selector that no header can hold was taken")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(design))
	f.Add([]byte("a: &a [*a]\nrelays: {<<: *a}"))
	f.Add([]byte("relays: &r {x: *r, <<: *r}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		w := &Workspace{Path: FileName}
		if err := w.parse(text, nil, nil); err == nil {
			if _, err := w.YAML(); err != nil {
				t.Errorf("loads and cannot be shown: %v", err)
			}
		}
	})
}

func TestIdentities(t *testing.T) {
	const head = "sender:\n  from: news@example.com\n  identities:\n"
	for _, c := range []struct{ yaml, want string }{
		{"    shop: {from: Shop <shop@example.com>, reply_to: help@example.com}\n    ceo: {from: ceo@example.com, organization: Other}\n", ""},
		{"    shop: {reply_to: help@example.com}\n", "sender.identities.shop"},
		{"    shop: {from: nobody}\n", "sender.identities.shop.from"},
		{"    shop: {from: a@example.com, phone: 1}\n", `unknown key "phone"`},
		{"    a@b.example: {from: a@example.com}\n", "not an address"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), []byte(head+c.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := Load(dir, func(string) (string, bool) { return "", false })
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.yaml, err, c.want)
		case c.want == "" && (len(w.Config.Sender.Identities) != 2 || w.Config.Sender.Identities[0].Name != "shop" || w.Config.Sender.Identities[1].Organization != "Other"):
			t.Errorf("%+v", w.Config.Sender.Identities)
		}
	}
}
