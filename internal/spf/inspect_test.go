package spf_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"mailer/internal/spf"
	"mailer/internal/zone"
)

// names is a DNS of lines such as "example.com TXT v=spf1 -all". A name without a line does not exist; ? as the type of one is
// a server that fails.
type names struct {
	records map[string][]zone.Record
	known   map[string]bool
	fails   map[string]bool
	asked   atomic.Int32
}

func newNames(text string) *names {
	n := &names{records: map[string][]zone.Record{}, known: map[string]bool{}, fails: map[string]bool{}}
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if len(f) < 2 {
			continue
		}
		n.known[f[0]] = true
		if f[1] == "?" {
			n.fails[f[0]] = true
			continue
		}
		r := zone.Record{}
		switch zone.Type(f[1]) {
		case zone.TXT:
			r.Text = f[2]
		case zone.A, zone.AAAA:
			r.IP = netip.MustParseAddr(f[2])
		default:
			r.Host = f[2]
		}
		key := f[0] + " " + f[1]
		n.records[key] = append(n.records[key], r)
	}
	return n
}

func (n *names) Lookup(_ context.Context, name string, kind zone.Type) zone.Answer {
	n.asked.Add(1)
	a := zone.Answer{Name: zone.Clean(name), Type: kind, Records: n.records[zone.Clean(name)+" "+string(kind)]}
	switch {
	case n.fails[a.Name]:
		a.Err = errors.New("SERVFAIL")
	case len(a.Records) > 0:
		a.State = zone.Found
	case n.known[a.Name]:
		a.State = zone.Empty
	default:
		a.State = zone.Missing
	}
	return a
}

func TestInspect(t *testing.T) {
	long := strings.Repeat("ip4:192.0.2.1 ip6:2001:db8::1 ", 16)
	for _, c := range []struct {
		name, zone     string
		lookups, voids int
		kinds          []spf.Kind
	}{
		{"good", "e.test TXT v=spf1 mx ip4:192.0.2.1 -all\ne.test MX m.test\nm.test A 192.0.2.2", 1, 0, nil},
		{"none", "e.test TXT other", 0, 0, []spf.Kind{spf.Absent}},
		{"no name", "", 0, 0, []spf.Kind{spf.Absent}},
		{"two", "e.test TXT v=spf1 -all\ne.test TXT v=spf1 ~all", 0, 0, []spf.Kind{spf.Several}},
		{"semicolon is none", "e.test TXT v=spf1; -all", 0, 0, []spf.Kind{spf.Absent}},
		{"servfail", "e.test ?", 0, 0, []spf.Kind{spf.NotKnown}},
		{"syntax", "e.test TXT v=spf1 ip4:1.2.3 -all", 0, 0, []spf.Kind{spf.Syntax}},
		{"plus all", "e.test TXT v=spf1 +all", 0, 0, []spf.Kind{spf.Everybody}},
		{"plain all", "e.test TXT v=spf1 all", 0, 0, []spf.Kind{spf.Everybody}},
		{"plus all below", "e.test TXT v=spf1 include:i.test -all\ni.test TXT v=spf1 +all", 1, 0, []spf.Kind{spf.Everybody}},
		{"neutral all", "e.test TXT v=spf1 ?all", 0, 0, []spf.Kind{spf.NeutralAll}},
		{"no all", "e.test TXT v=spf1 ip4:192.0.2.1", 0, 0, []spf.Kind{spf.NoAll}},
		{"no all in an include is right", "e.test TXT v=spf1 include:i.test ~all\ni.test TXT v=spf1 ip4:192.0.2.1", 1, 0, nil},
		{"redirect", "e.test TXT v=spf1 redirect=i.test\ni.test TXT v=spf1 -all", 1, 0, nil},
		{"redirect to ?all", "e.test TXT v=spf1 redirect=i.test\ni.test TXT v=spf1 ?all", 1, 0, []spf.Kind{spf.NeutralAll}},
		{"redirect to none", "e.test TXT v=spf1 redirect=i.test", 1, 1, []spf.Kind{spf.Dangling}},
		{"redirect beside all", "e.test TXT v=spf1 -all redirect=i.test", 0, 0, []spf.Kind{spf.DeadRedirect}},
		{"after all", "e.test TXT v=spf1 -all include:i.test", 0, 0, []spf.Kind{spf.AfterAll}},
		{"include of none", "e.test TXT v=spf1 include:i.test -all\ni.test A 192.0.2.1", 1, 1, []spf.Kind{spf.Dangling}},
		{"include unknown", "e.test TXT v=spf1 include:i.test -all\ni.test ?", 1, 0, []spf.Kind{spf.NotKnown}},
		{"cycle", "e.test TXT v=spf1 include:i.test -all\ni.test TXT v=spf1 include:e.test -all", 2, 0, []spf.Kind{spf.Cycle}},
		{"itself", "e.test TXT v=spf1 include:e.test -all", 1, 0, []spf.Kind{spf.Cycle}},
		{"ptr", "e.test TXT v=spf1 ptr -all", 1, 0, []spf.Kind{spf.UsesPTR}},
		{"void a", "e.test TXT v=spf1 a -all", 1, 1, []spf.Kind{spf.SomeVoids}},
		{"a of one family is not void", "e.test TXT v=spf1 a -all\ne.test AAAA 2001:db8::1", 1, 0, nil},
		{"three void", "e.test TXT v=spf1 a mx exists:x.test -all", 3, 3, []spf.Kind{spf.SomeVoids, spf.SomeVoids, spf.SomeVoids, spf.OverVoids}},
		{"a unknown is not void", "e.test TXT v=spf1 a:x.test -all\nx.test ?", 1, 0, []spf.Kind{spf.NotKnown, spf.NotKnown}},
		{"macro", "e.test TXT v=spf1 exists:%{i}.x.test include:%{d}.i.test -all\ne.test.i.test TXT v=spf1 -all", 2, 0, []spf.Kind{spf.NotFollowed}},
		{"nine", "e.test TXT v=spf1 " + strings.Repeat("include:i.test ", 9) + "-all\ni.test TXT v=spf1 -all", 9, 0,
			append(slices.Repeat([]spf.Kind{spf.Duplicate}, 8), spf.Fragile, spf.Duplicate)},
		{"eleven below", "e.test TXT v=spf1 include:i.test -all\ni.test TXT v=spf1 a:1.t.test a:2.t.test a:3.t.test a:4.t.test a:5.t.test a:6.t.test a:7.t.test a:8.t.test a:9.t.test a:10.t.test -all\n" +
			"1.t.test A 192.0.2.1\n2.t.test A 192.0.2.1\n3.t.test A 192.0.2.1\n4.t.test A 192.0.2.1\n5.t.test A 192.0.2.1\n6.t.test A 192.0.2.1\n7.t.test A 192.0.2.1\n8.t.test A 192.0.2.1\n9.t.test A 192.0.2.1\n10.t.test A 192.0.2.1", 11, 0, []spf.Kind{spf.OverLookups}},
		{"eleven mx", "e.test TXT v=spf1 mx -all\n" + strings.Repeat("e.test MX m.test\n", 11), 1, 0, []spf.Kind{spf.OverMX}},
		{"twice", "e.test TXT v=spf1 ip4:192.0.2.1 ip4:192.0.2.1 -all", 0, 0, []spf.Kind{spf.Duplicate}},
		{"long", "e.test TXT v=spf1 " + strings.ReplaceAll(long, "192.0.2.1 ", "192.0.2.1/32 ") + "-all", 0, 0,
			append([]spf.Kind{spf.Long}, slices.Repeat([]spf.Kind{spf.Duplicate}, 30)...)},
		{"large", "e.test TXT v=spf1 -all\ne.test TXT " + strings.Repeat("x", 480), 0, 0, []spf.Kind{spf.Large}},
	} {
		tree := spf.Inspect(t.Context(), newNames(c.zone), "E.test.")
		var kinds []spf.Kind
		for _, p := range tree.Problems {
			kinds = append(kinds, p.Kind)
		}
		if tree.Lookups != c.lookups || tree.Voids != c.voids || !slices.Equal(kinds, c.kinds) {
			t.Errorf("%s: %d lookups, %d void, %v; want %d, %d, %v\n%s", c.name, tree.Lookups, tree.Voids, tree.Problems, c.lookups, c.voids, c.kinds,
				strings.Join(tree.Lines(), "\n"))
		}
	}
}

func TestLines(t *testing.T) {
	tree := spf.Inspect(t.Context(), newNames(`
e.test TXT v=spf1 a include:i.test ip4:192.0.2.1 -all mx
e.test A 192.0.2.1
i.test TXT v=spf1 exists:%{i}.x.test a:gone.test ip4:1.1.1.1 ip4:1.1.1.2 ip4:1.1.1.3 ip4:1.1.1.4 ~all
`), "e.test")
	want := `e.test: 4 lookups, 1 void
  a  (1 lookup)
  include:i.test  (3 lookups, 1 void)
    exists:%{i}.x.test  (1 lookup, hangs on the client: not followed)
    a:gone.test  (1 lookup, 1 void, finds nothing)
    ~all
    4 networks of ip4 and ip6
  ip4:192.0.2.1
  -all
  mx  (never read)`
	if got := strings.Join(tree.Lines(), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// randomNames are records that include each other as luck has it; none of them matches 203.0.113.1.
func randomNames(r *rand.Rand) *names {
	var lines []string
	const domains = 8
	for i := range domains {
		var terms []string
		for range r.IntN(5) {
			other := fmt.Sprintf("d%d.test", r.IntN(domains+1)) // the last one has no record
			terms = append(terms, []string{
				"include:" + other, "include:" + other, "a:" + other, "mx:" + other, "exists:none." + other, "ip4:192.0.2.0/24", "?ip4:198.51.100.1",
				"-include:" + other, "ptr:" + other,
			}[r.IntN(9)])
		}
		if r.IntN(30) == 0 {
			terms = append(terms, "ip4:1.2.3")
		}
		end := []string{"-all", "~all", "?all", "", fmt.Sprintf("redirect=d%d.test", r.IntN(domains))}[r.IntN(5)]
		lines = append(lines, fmt.Sprintf("d%d.test TXT v=spf1 %s", i, strings.Join(append(terms, end), " ")))
		if r.IntN(3) > 0 {
			lines = append(lines, fmt.Sprintf("d%d.test A 192.0.2.%d", i, i))
		}
		for range r.IntN(3) * r.IntN(6) {
			lines = append(lines, fmt.Sprintf("d%d.test MX d%d.test", i, r.IntN(domains)))
		}
	}
	for range 12 {
		lines = append(lines, "1.113.0.203.in-addr.arpa PTR d1.test")
	}
	return newNames(strings.Join(lines, "\n"))
}

// To keep what Inspect calls broken and what breaks a receiver's evaluation the same, and every evaluation within its limits.
func TestInspectAndCheckAgree(t *testing.T) {
	ip := netip.MustParseAddr("203.0.113.1")
	broken, sound := 0, 0
	for seed := range uint64(6000) {
		n := randomNames(rand.New(rand.NewPCG(seed, 1)))
		res := spf.Check(t.Context(), n, spf.Query{IP: ip, Sender: "x@d0.test"})
		// 1 record and 10 below it; ten terms with ten names each; the PTR record.
		if asked := n.asked.Load(); res.Lookups > spf.MaxLookups || asked > 1+10+10*11+1 {
			t.Fatalf("seed %d: %d lookups, %d questions", seed, res.Lookups, asked)
		}
		tree := spf.Inspect(t.Context(), n, "d0.test")
		i := slices.IndexFunc(tree.Problems, func(p spf.Problem) bool { return p.Kind.Breaks() })
		if (i >= 0) != (res.Verdict == spf.PermError) {
			t.Fatalf("seed %d: Check says %s, Inspect %v\n%s\n%v", seed, res, tree.Problems, strings.Join(tree.Lines(), "\n"), n.records)
		}
		if i >= 0 {
			broken++
		} else {
			sound++
		}
	}
	if broken < 1000 || sound < 1000 {
		t.Errorf("%d broken and %d sound records say little", broken, sound)
	}
}

func TestCheckSaysWhy(t *testing.T) {
	n := newNames(`
e.test TXT v=spf1 a include:i.test -all
e.test A 192.0.2.9
i.test TXT v=spf1 include:j.test ~all
j.test TXT v=spf1 ip4:192.0.2.0/30 ip6:2001:db8::/32 ~all
`)
	for ip, want := range map[string]string{
		"192.0.2.9":        "pass by a of e.test",
		"192.0.2.1":        "pass by include:i.test of e.test > i.test > j.test",
		"::ffff:192.0.2.1": "pass by include:i.test of e.test > i.test > j.test",
		"192.0.2.7":        "fail by -all of e.test",
		"2001:db8::5":      "pass by include:i.test of e.test > i.test > j.test",
	} {
		if got := spf.Check(t.Context(), n, spf.Query{IP: netip.MustParseAddr(ip), Sender: "x@e.test"}).String(); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
}
