package send

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailer/internal/mailtest"
	"mailer/internal/pace"
)

// fullest is how many of the times lie in any window.
func fullest(times []time.Time, per time.Duration) (n int) {
	slices.SortFunc(times, time.Time.Compare)
	from := 0
	for to, at := range times {
		for at.Sub(times[from]) >= per {
			from++
		}
		n = max(n, to-from+1)
	}
	return n
}

// Rates are exact within one in a hundred over ten minutes, through the whole engine and a relay 100 ms away. Nor does a window of theirs
// hold more than that, but for what the way there does: a message that the relay was told of together with the one before it is there a
// round trip sooner than one that it was not told of. Ten minutes of 100 a second take half a minute; they are had with MAILER_TEST_RATES.
func TestRatesAreExact(t *testing.T) {
	for _, rate := range []pace.Rate{{N: 1, Per: time.Second}, {N: 100, Per: time.Second}, {N: 5000, Per: time.Hour}} {
		t.Run(rate.String(), func(t *testing.T) {
			const rtt = 100 * time.Millisecond
			lasts := 10 * time.Minute
			switch {
			case mailtest.Race && rate.N == 100:
				lasts = 20 * time.Second // it slows the store thirty-fold
			case mailtest.Race:
				lasts = 2 * time.Minute
			case rate.N != 100:
			case os.Getenv("MAILER_TEST_RATES") == "":
				lasts = time.Minute
			}
			want := float64(rate.N) * float64(lasts) / float64(rate.Per)
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var taken []time.Time
				r, srv := onWire(t, audience{{"gmail.com", int(want)}, {"example.jp", rate.N * int(time.Minute/rate.Per+1) * 2}}, rtt, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
					if c.Verb == "." {
						mu.Lock()
						defer mu.Unlock()
						taken = append(taken, time.Now())
					}
					return nil
				}})
				r.connections, r.wait = 10+rate.N/10, time.Hour
				r.limits = func(string, string) []pace.Limit { return pace.Limits("all", rate) }
				ctx, stop := context.WithTimeout(t.Context(), lasts+10*time.Second)
				defer stop()
				if err := r.run(ctx, srv); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("ended with %v", err)
				}
				first := taken[0]
				n := 0
				for _, at := range taken {
					if at.Sub(first) < lasts {
						n++
					}
				}
				if off := float64(n)/want - 1; off < -0.01 || off > 0.01 {
					t.Errorf("%d in %s, want %.0f", n, lasts, want)
				}
				full, sooner := fullest(taken, rate.Per), int(rtt*time.Duration(rate.N)/rate.Per)
				if full > rate.N+max(1, rate.N/100)+sooner {
					t.Errorf("%d in one window of %s", full, rate.Per)
				}
				t.Logf("%d in %s, want %.0f; at most %d in a window of %s", n, lasts, want, full, rate.Per)
				r.verify(srv)
			})
		})
	}
}
