package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"mailer/internal/address"
	"mailer/internal/zone"
)

func seeAll(t testing.TB, f *findings, all ...string) {
	t.Helper()
	for _, s := range all {
		a, err := address.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		f.see(a)
	}
}

func TestFindings(t *testing.T) {
	f := newFindings(address.Disposables{}, false)
	seeAll(t, f, "taro@example.jp", "a@gmai.com", "b@gmai.com", "c@docomo.co.jp", "info@example.jp", "noreply@example.jp", "太郎@example.jp", "a..b@docomo.ne.jp", "x@mailinator.com")
	want := `typo_domain 2 gmai.com: 2 addresses at gmai.com: gmail.com was probably meant
typo_domain 1 docomo.co.jp: 1 address at docomo.co.jp: docomo.ne.jp was probably meant
disposable_address 1 : 1 address at services that give out mailboxes to throw away, such as x@mailinator.com: nobody reads them after a few minutes; better not mailed
machine_address 1 : 1 address of no person, such as noreply@example.jp: mail to them reaches nobody, or those who decide who is blocked; better not mailed
shared_address 1 : 1 address that several people may read, such as info@example.jp
smtputf8_address 1 : 1 address with letters beyond ASCII before the @, such as 太郎@example.jp: the relay must speak SMTPUTF8
quoted_address 1 : 1 address of a carrier with dots where RFC 5321 allows none, such as a..b@docomo.ne.jp: they are quoted when sent, and some relays refuse that
`
	var got strings.Builder
	for _, one := range f.list() {
		fmt.Fprintf(&got, "%s %d %s: %s\n", one.Code, one.Count, one.Domain, one.Message)
	}
	if got.String() != want {
		t.Errorf("found\n%s\nwant\n%s", got.String(), want)
	}
	var none *findings
	none.see(address.Address{Text: "a@gmai.com", Key: "a@gmai.com"})
	if len(none.list()) != 0 || len(newFindings(address.Disposables{}, false).list()) != 0 {
		t.Error("something was found in nothing")
	}
}

// Whatever a file holds, the memory is bounded and the sums hold.
func TestFindingsAreBounded(t *testing.T) {
	f := newFindings(address.Disposables{}, false)
	const n = 3 * maxDomains
	for i := range n {
		seeAll(t, f, fmt.Sprintf("x@shop%d.con", i))
	}
	if len(f.domains) > maxDomains || len(f.typos) > maxTypos+1 {
		t.Errorf("%d domains and %d typos are kept", len(f.domains), len(f.typos))
	}
	var sum int64
	all := f.list()
	for _, one := range all {
		sum += one.Count
	}
	if sum != n || !strings.Contains(all[0].Message, "at more domains") {
		t.Errorf("%d counted, first: %s", sum, all[0].Message)
	}
}

// answers are the states of MX answers; the hosts in them have addresses.
type answers map[string]zone.State

func (a answers) Lookup(_ context.Context, name string, t zone.Type) zone.Answer {
	state, ok := a[name]
	if !ok {
		state = zone.Found
	}
	return zone.Answer{Name: name, Type: t, State: state, Records: []zone.Record{{Host: "mx.example.org"}}, Err: errors.New("SERVFAIL")}
}

func TestFindingsOfTheDNS(t *testing.T) {
	f := newFindings(address.Disposables{Add: []string{"example.org"}}, true)
	seeAll(t, f, "a@example.org", "a@gone.example", "b@gone.example", "a@lone.example", "a@slow.example", "a@fine.example")
	f.ask(t.Context(), answers{"gone.example": zone.Missing, "lone.example": zone.Empty, "slow.example": zone.Unknown})
	var got strings.Builder
	for _, one := range f.list() {
		fmt.Fprintf(&got, "%s %d %s %s: %s\n", one.Code, one.Count, one.Domain, one.Example, one.Message)
	}
	want := `dead_domain 2 gone.example a@gone.example: 2 addresses at gone.example, which does not exist: mail to them bounces
dead_domain 1 lone.example a@lone.example: 1 address at lone.example, which has neither MX nor address: mail to them bounces
disposable_address 1  a@example.org: 1 address at services that give out mailboxes to throw away, such as a@example.org: nobody reads them after a few minutes; better not mailed
unknown_domain 1  a@slow.example: of 1 of 5 domains (1 address, such as a@slow.example) nobody knew in time whether they take mail; --dns with a longer time asks more
`
	if got.String() != want {
		t.Errorf("found\n%s\nwant\n%s", got.String(), want)
	}
}

func BenchmarkFindings(b *testing.B) {
	f := newFindings(address.Disposables{}, false)
	a, err := address.Parse("taro.yamada@example.co.jp")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		f.see(a)
	}
}
