package doctor_test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailer/internal/dkim"
	"mailer/internal/dmarc"
	"mailer/internal/mailtest"
	"mailer/internal/zone"
)

// Where OpenDKIM, which compares keys and little else, says something else than the RFC does.
var unlikeOpenDKIM = map[string]string{
	"dkim-hash-sha1":      "it takes SHA-1, which RFC 8301 section 3.1 forbids",
	"dkim-rsa-as-ed25519": "it does not look at k=",
	"dkim-tag-twice":      "it takes the first, RFC 6376 section 3.2 nothing",
	"dkim-version-last":   "v= must be the first tag (RFC 6376 section 3.6.1)",
	"dkim-pkcs1":          "it reads no PKCS#1; others do, and the finding warns of it",
}

// OpenDKIM's own check of a published key against the private one says the same of each zone of the exam.
func TestKeysAgreeWithOpenDKIM(t *testing.T) {
	program := mailtest.Need(t, "opendkim-testkey", "sudo apt-get install opendkim-tools")
	files, _ := filepath.Glob("testdata/zones/*.txt")
	compared, differs := 0, maps.Clone(unlikeOpenDKIM)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		e := readExam(t, file)
		for _, k := range e.domain.Keys {
			p := dkim.Lookup(t.Context(), e.domain.Resolver, k.Domain, k.Selector)
			if _, ed := k.Private.(ed25519.PrivateKey); k.Private == nil || ed || p.Answer.State == zone.Unknown {
				continue // opendkim-testkey knows RSA alone
			}
			ours := p.Err == nil && !p.Key.Revoked && p.Key.Matches(k.Private)
			theirs, said := openDKIM(t, program, e, k.Domain, k.Selector, filepath.Base(k.File))
			compared++
			if (ours != theirs) != (unlikeOpenDKIM[name] != "") {
				t.Errorf("%s: %s of %s: we say %v (%v), OpenDKIM %v: %s", name, k.Selector, k.Domain, ours, p.Err, theirs, said)
			}
			delete(differs, name)
		}
	}
	if compared < 60 || len(differs) > 0 {
		t.Errorf("%d keys compared; not seen: %v", compared, differs)
	}
}

// openDKIM asks opendkim-testkey, which resolves through libunbound, about one key.
func openDKIM(t *testing.T, program string, e examined, domain, selector, key string) (bool, string) {
	t.Helper()
	dir := t.TempDir()
	host, port, err := net.SplitHostPort(e.ns.Addr())
	if err != nil {
		t.Fatal(err)
	}
	unbound, conf, private := filepath.Join(dir, "unbound.conf"), filepath.Join(dir, "opendkim.conf"), filepath.Join(dir, "key.pem")
	text, err := os.ReadFile(filepath.Join("testdata", "keys", key))
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{
		unbound: "server:\n do-not-query-localhost: no\n module-config: \"iterator\"\nforward-zone:\n name: \".\"\n forward-addr: " + host + "@" + port + "\n",
		conf:    "ResolverConfiguration " + unbound + "\n",
		private: string(text),
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), program, "-vvv", "-d", domain, "-s", selector, "-k", private, "-x", conf).CombinedOutput()
	return err == nil && bytes.Contains(out, []byte("key OK")), string(out)
}

// mailDMARC evaluates a message for each line of standard input: port, From, return path, d=, result of both.
const mailDMARC = `use strict; use warnings; use Mail::DMARC::PurePerl; use Net::DNS::Resolver;
while (<STDIN>) {
  my ($port, $from, $env, $dkim, $result) = split;
  my $d = Mail::DMARC::PurePerl->new;
  $d->set_resolver(Net::DNS::Resolver->new(nameservers => ['127.0.0.1'], port => $port, recurse => 0, retry => 1, udp_timeout => 2, dnsrch => 0, defnames => 0));
  $d->source_ip('192.0.2.10'); $d->header_from($from); $d->envelope_from($env); $d->envelope_to('example.org');
  $d->dkim([{domain => $dkim, selector => 's1', result => $result}]);
  $d->spf([{scope => 'mfrom', domain => $env, result => $result}]);
  my $r = $d->validate;
  printf "%s %s %s\n", $r->disposition || 'none', $r->dkim || '-', $r->spf || '-';
}`

// Where it says something else by intention: it goes by RFC 7489, and is kinder or stricter than that.
var unlikeMailDMARC = map[string]string{
	"dmarc-psd-n":         "psd= is new",
	"dmarc-psd-y":         "psd= is new",
	"dmarc-psd-strangers": "psd= is new",
	"dmarc-test":          "t=y is new",
	"dmarc-sub-np":        "np= is new",
	"dmarc-p-missing":     "p= had to be there",
	"dmarc-pct":           "pct= is gone; it draws lots",
	"dmarc-p-wrong-rua":   "a wrong p= beside rua= is p=none, in RFC 7489 section 6.6.3 too",
	"dmarc-spaces":        "spaces may stand around =",
	"dmarc-v-lower":       "DMARC1 is in capitals",
	"align-record-below":  "the public suffix list and the tree walk do not agree",
	"from-nothing":        "it looks no further where From has neither MX nor address",
	"from-servfail":       "it looks no further where From has neither MX nor address",
}

// Mail::DMARC, which knows the public suffix list, applies the same policy and finds the same names aligned.
func TestPoliciesAgreeWithMailDMARC(t *testing.T) {
	perl := mailtest.Need(t, "perl", "sudo apt-get install perl libmail-dmarc-perl")
	if err := exec.CommandContext(t.Context(), perl, "-MMail::DMARC::PurePerl", "-e", "1").Run(); err != nil {
		mailtest.Skip(t, "Mail::DMARC is missing (sudo apt-get install libmail-dmarc-perl)")
	}
	type asked struct{ name, want string }
	var questions []asked
	var in bytes.Buffer
	files, _ := filepath.Glob("testdata/zones/*.txt")
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		e := readExam(t, file)
		d := e.domain
		a := dmarc.Discover(t.Context(), d.Resolver, d.From)
		if d.From == "" || d.Envelope == "" || len(d.Keys) == 0 || !a.Known() || unlikeMailDMARC[name] != "" {
			continue
		}
		_, port, err := net.SplitHostPort(e.ns.Addr())
		if err != nil {
			t.Fatal(err)
		}
		policy, byDKIM, bySPF := "none", "-", "-"
		if a.Record != nil {
			policy = string(a.Policy)
			byDKIM, bySPF = passes(t, e, d.Keys[0].Domain, a.Record.StrictDKIM), passes(t, e, d.Envelope, a.Record.StrictSPF)
		}
		fmt.Fprintln(&in, port, d.From, d.Envelope, d.Keys[0].Domain, "fail")
		questions = append(questions, asked{name + ", nothing passes", policy})
		fmt.Fprintln(&in, port, d.From, d.Envelope, d.Keys[0].Domain, "pass")
		if byDKIM == "pass" || bySPF == "pass" {
			policy = "none"
		}
		questions = append(questions, asked{name + ", both pass", policy + " " + byDKIM + " " + bySPF})
	}
	cmd := exec.CommandContext(t.Context(), perl, "-e", mailDMARC)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("Mail::DMARC: %v", err)
	}
	said := bufio.NewScanner(bytes.NewReader(out))
	for _, q := range questions {
		if !said.Scan() {
			t.Fatalf("%s: Mail::DMARC says nothing", q.name)
		}
		if !strings.HasPrefix(said.Text()+" ", q.want+" ") {
			t.Errorf("%s: we say %q, Mail::DMARC %q", q.name, q.want, said.Text())
		}
	}
	if len(questions) < 150 {
		t.Errorf("%d questions compared", len(questions))
	}
}

func passes(t *testing.T, e examined, identifier string, strict bool) string {
	t.Helper()
	ok, err := dmarc.Aligned(t.Context(), e.domain.Resolver, e.domain.From, identifier, strict)
	if err != nil {
		t.Fatal(err)
	}
	if ok {
		return "pass"
	}
	return "fail"
}
