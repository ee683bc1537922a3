package spf_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	blitiri "blitiri.com.ar/go/spf"
	"github.com/goccy/go-yaml"

	"mailer/internal/spf"
	"mailer/internal/zone"
)

// scenario is a document of the openspf.org suite for RFC 7208.
type scenario struct {
	Description string                      `yaml:"description"`
	Tests       map[string]suiteCase        `yaml:"tests"`
	ZoneData    map[string][]map[string]any `yaml:"zonedata"`
}

type suiteCase struct {
	Helo        string `yaml:"helo"`
	Host        string `yaml:"host"`
	MailFrom    string `yaml:"mailfrom"`
	Result      any    `yaml:"result"`
	Explanation string `yaml:"explanation"`
}

func list(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			if s, ok := one.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

// suites reads a suite of the other library's testdata, which comes with the module.
func suites(t *testing.T, name string) []scenario {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "blitiri.com.ar/go/spf").Output()
	if err != nil {
		t.Fatalf("find the suite: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var all []scenario
	for doc := range bytes.SplitSeq(text, []byte("\n---\n")) {
		if !bytes.Contains(doc, []byte("tests:")) {
			continue
		}
		var s scenario
		if err := yaml.Unmarshal(doc, &s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// world is the names of a scenario.
type world struct {
	names    map[string]map[zone.Type][]zone.Record
	timeouts map[string]bool // of what is not there
	alias    map[string]string
}

func (s scenario) world() *world {
	w := &world{map[string]map[zone.Type][]zone.Record{}, map[string]bool{}, map[string]string{}}
	for name, entries := range s.ZoneData {
		name = zone.Clean(name)
		records := map[zone.Type][]zone.Record{}
		explicit := false
		var spf []zone.Record
		for _, e := range entries {
			for kind, v := range e {
				switch kind {
				case "TIMEOUT", "SERVFAIL", "CNAMELOOP":
					w.timeouts[name] = true
				case "TXT", "SPF":
					joined := strings.Join(list(v), "")
					switch {
					case kind == "SPF":
						spf = append(spf, zone.Record{Text: joined})
					case joined == "NONE": // "do not make one of the SPF record"
						explicit = true
					default:
						explicit = true
						records[zone.TXT] = append(records[zone.TXT], zone.Record{Text: joined})
					}
				case "A", "AAAA":
					for _, s := range list(v) {
						records[zone.Type(kind)] = append(records[zone.Type(kind)], zone.Record{IP: netip.MustParseAddr(s)})
					}
				case "MX":
					host, _ := v.([]any)[1].(string)
					records[zone.MX] = append(records[zone.MX], zone.Record{Host: zone.Clean(host)})
				case "PTR":
					for _, s := range list(v) {
						records[zone.PTR] = append(records[zone.PTR], zone.Record{Host: zone.Clean(s)})
					}
				case "CNAME":
					w.alias[name] = zone.Clean(list(v)[0])
				}
			}
		}
		if !explicit {
			records[zone.TXT] = spf
		}
		w.names[name] = records
	}
	return w
}

func (w *world) Lookup(_ context.Context, name string, kind zone.Type) zone.Answer {
	a := zone.Answer{Name: zone.Clean(name), Type: kind}
	at := a.Name
	for range 10 {
		to, ok := w.alias[at]
		if !ok {
			break
		}
		a.Aliases = append(a.Aliases, to)
		at = to
	}
	records, ok := w.names[at]
	switch {
	case len(a.Aliases) == 10:
		a.Err = errors.New("a loop")
	case len(records[kind]) > 0:
		a.State, a.Records = zone.Found, records[kind]
	case w.timeouts[at]:
		a.Err = errors.New("timeout")
	case ok:
		a.State = zone.Empty
	default:
		a.State = zone.Missing
	}
	return a
}

// The other library's view of the same names.

func (w *world) ask(name string, kind zone.Type) ([]zone.Record, error) {
	a := w.Lookup(context.Background(), name, kind)
	switch a.State {
	case zone.Unknown:
		return nil, &net.DNSError{Err: a.Err.Error(), IsTimeout: true}
	case zone.Missing, zone.Empty:
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	return a.Records, nil
}

func (w *world) LookupTXT(_ context.Context, name string) ([]string, error) {
	records, err := w.ask(name, zone.TXT)
	var all []string
	for _, r := range records {
		all = append(all, r.Text)
	}
	return all, err
}

func (w *world) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	records, err := w.ask(name, zone.MX)
	var all []*net.MX
	for _, r := range records {
		all = append(all, &net.MX{Host: r.Host, Pref: r.Pref})
	}
	return all, err
}

func (w *world) LookupIPAddr(_ context.Context, name string) ([]net.IPAddr, error) {
	v4, err4 := w.ask(name, zone.A)
	v6, err6 := w.ask(name, zone.AAAA)
	if err4 != nil && err6 != nil {
		return nil, err4
	}
	var all []net.IPAddr
	for _, r := range append(slices.Clone(v4), v6...) {
		all = append(all, net.IPAddr{IP: r.IP.AsSlice()})
	}
	return all, nil
}

func (w *world) LookupAddr(_ context.Context, addr string) ([]string, error) {
	records, err := w.ask(zone.Reverse(netip.MustParseAddr(addr)), zone.PTR)
	var all []string
	for _, r := range records {
		all = append(all, r.Host+".")
	}
	return all, err
}

// Where the other library and the suite differ the suite decides. It stops at the first match and so misses errors behind it,
// ignores exp=, does not know %{p}, and lets bytes and domain-specs through that the grammar does not have.
var differ = map[string]string{
	"bare-ip6": "fail", "control-char-policy": "fail", "exp-empty-domain": "fail", "exp-only-macro-char": "fail",
	"exp-twice": "fail", "invalid-domain": "fail", "non-ascii-policy": "fail", "unknown-modifier-syntax": "fail",
	"a-bad-domain": "neutral", "a-bad-toplabel": "neutral", "a-null": "neutral", "a-numeric": "neutral",
	"a-numeric-toplabel": "neutral", "a-only-toplabel": "neutral", "a-only-toplabel-trailing-dot": "neutral",
	"exp-syntax-error": "neutral", "mx-bad-domain": "neutral", "mx-bad-toplab": "neutral", "mx-null": "neutral",
	"mx-numeric-top-label": "neutral", "p-macro-multiple": "neutral", "redirect-empty-domain": "neutral",
	"redirect-syntax-error": "neutral",
	"cidr4-032":             "pass", "detect-errors-anywhere": "pass", "redirect-is-modifier": "pass",
	"a-colon-domain": "permerror", "a-colon-domain-ip4mapped": "permerror", "mx-colon-domain": "permerror",
	"mx-colon-domain-ip4mapped": "permerror",
}

func TestSuite(t *testing.T) {
	n, agreed := 0, map[string]bool{}
	for _, s := range suites(t, "rfc7208-tests.yml") {
		w := s.world()
		for name, c := range s.Tests {
			n++
			ip := netip.MustParseAddr(c.Host)
			got := spf.Check(t.Context(), w, spf.Query{IP: ip, Sender: c.MailFrom, Helo: c.Helo, Receiver: "receiver.example"})
			want := list(c.Result)
			if !slices.Contains(want, string(got.Verdict)) {
				t.Errorf("%s / %s: %s, want %v", s.Description, name, got, want)
			}
			if explanation := strings.TrimPrefix(c.Explanation, "DEFAULT"); c.Explanation != "" && got.Explanation != explanation {
				t.Errorf("%s / %s: explanation %q, want %q", s.Description, name, got.Explanation, explanation)
			}
			theirs, err := blitiri.CheckHostWithSender(ip.AsSlice(), c.Helo, c.MailFrom, blitiri.WithResolver(w))
			if string(theirs) == string(got.Verdict) {
				agreed[name] = true
				continue
			}
			if wrong, known := differ[name]; !known || wrong != string(theirs) {
				t.Errorf("%s / %s: ours %s; theirs %s (%v)", s.Description, name, got, theirs, err)
			}
		}
	}
	for name := range differ {
		if agreed[name] {
			t.Errorf("%s: the two agree now; take it off the list", name)
		}
	}
	if n < 200 {
		t.Errorf("%d tests, want the whole suite", n)
	}
}
