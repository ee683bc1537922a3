package send

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/store"
)

// cut is the moment of a power cut: the database as it lay on the disk, and who had been sent what by then.
type cut struct {
	dir string
	has map[string]int // dots the relay had read, by recipient
}

// The power goes when the relay has read a final dot, while other connections and the store are at work. The database as it
// is then knows of each message that has left, and a run that goes on from it sends to everybody else, once. The copy
// may hold a commit that was not synced yet, which a real cut could take away: that the store syncs before a commit
// returns, and that only what has returned counts, is tested there (TestPowerCutInTheWAL).
func TestPowerCutAfterADot(t *testing.T) {
	const recipients, connections = 40, 3
	r := newRig(t, recipients)
	r.connections, r.retry = connections, []time.Duration{time.Millisecond}
	var mu sync.Mutex
	has := map[string]int{}
	var cuts []cut
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb != "." {
			return nil
		}
		// No reply leaves while the files are copied: what the copy calls accepted was read before.
		mu.Lock()
		defer mu.Unlock()
		has[c.Address]++
		if len(has)%3 != 1 {
			return nil
		}
		at := cut{dir: t.TempDir(), has: map[string]int{}}
		for address, n := range has {
			at.has[address] = n
		}
		for _, name := range []string{"mailer.db", "mailer.db-wal"} {
			b, err := os.ReadFile(filepath.Join(filepath.Dir(r.path), name))
			if err == nil {
				err = os.WriteFile(filepath.Join(at.dir, name), b, 0o600)
			}
			if err != nil {
				t.Error(err)
			}
		}
		cuts = append(cuts, at)
		return nil
	}})
	if err := r.run(t.Context(), srv); err != nil {
		t.Fatal(err)
	}
	if len(cuts) < recipients/3 {
		t.Fatalf("%d cuts", len(cuts))
	}
	for _, at := range cuts {
		r.goesOn(at)
	}
}

// goesOn opens what a power cut left, and sends the rest.
func (r *rig) goesOn(at cut) {
	r.t.Helper()
	var err error
	r.path = filepath.Join(at.dir, "mailer.db")
	if r.st, err = store.Open(r.t.Context(), r.path, store.Options{}); err != nil {
		r.t.Fatal(err)
	}
	defer r.st.Close()
	r.sql("UPDATE campaigns SET lease_expires = 0") // the process is gone
	srv := mailtest.NewSMTP(r.t, mailtest.Script{})
	defer srv.Close()
	r.toTheEnd("after the cut", srv)
	for _, tx := range srv.Accepted() {
		at.has[tx.Rcpts[0].Address]++
	}
	uncertain := 0
	err = r.st.EachRecipient(r.t.Context(), r.campaign.ID, nil, func(x store.Recipient) error {
		n := at.has[x.Address]
		switch {
		case x.State == delivery.Uncertain:
			uncertain++
			if n > 1 {
				r.t.Errorf("%d had left: %s is uncertain and has it %d times", len(at.has), x.Address, n)
			}
		case x.State != delivery.Accepted || n != 1:
			r.t.Errorf("%d had left: %s is %s and has it %d times", len(at.has), x.Address, x.State, n)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if b := r.balance(); uncertain > 2*r.connections || !b.Balanced() {
		r.t.Errorf("%d had left: %d uncertain, %s", len(at.has), uncertain, b)
	}
}
