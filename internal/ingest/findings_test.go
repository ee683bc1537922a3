package ingest

import (
	"fmt"
	"strings"
	"testing"

	"mailer/internal/address"
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
	f := newFindings()
	seeAll(t, f, "taro@example.jp", "a@gmai.com", "b@gmai.com", "c@docomo.co.jp", "info@example.jp", "noreply@example.jp", "太郎@example.jp", "a..b@docomo.ne.jp")
	want := `typo_domain 2 gmai.com: 2 addresses at gmai.com: gmail.com was probably meant
typo_domain 1 docomo.co.jp: 1 address at docomo.co.jp: docomo.ne.jp was probably meant
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
	if len(none.list()) != 0 || len(newFindings().list()) != 0 {
		t.Error("something was found in nothing")
	}
}

// Whatever a file holds, the memory is bounded and the sums hold.
func TestFindingsAreBounded(t *testing.T) {
	f := newFindings()
	const n = 3 * maxDomains
	for i := range n {
		seeAll(t, f, fmt.Sprintf("x@shop%d.con", i))
	}
	if len(f.suggestions) > maxDomains || len(f.typos) > maxTypos+1 {
		t.Errorf("%d domains and %d typos are kept", len(f.suggestions), len(f.typos))
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

func BenchmarkFindings(b *testing.B) {
	f := newFindings()
	a, err := address.Parse("taro.yamada@example.co.jp")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		f.see(a)
	}
}
