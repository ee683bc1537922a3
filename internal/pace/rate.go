// Package pace says when a message may leave, and whether a run may go on. Limits, hours, warm-up, lanes, breakers and
// what is estimated from them are rules over the time that the caller passes: nothing here reads a clock, waits, locks or
// stores. A simulated day of them takes a moment, and the estimate of a send uses the very rules that then hold it back.
package pace

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is a limit: at most N in every Per.
type Rate struct {
	N   int
	Per time.Duration
}

// ParseRate reads 100/s, 600/m, 5000/h or 50000/d.
func ParseRate(s string) (Rate, error) {
	count, unit, ok := strings.Cut(strings.ReplaceAll(s, " ", ""), "/")
	per, known := ratePeriod(unit)
	n, err := strconv.Atoi(count)
	if !ok || !known || err != nil || n < 1 {
		return Rate{}, fmt.Errorf("%q is not a rate; write 100/s, 600/m, 5000/h or 50000/d", s)
	}
	return Rate{N: n, Per: per}, nil
}

func ratePeriod(unit string) (time.Duration, bool) {
	switch strings.ToLower(unit) {
	case "s", "sec", "second":
		return time.Second, true
	case "m", "min", "minute":
		return time.Minute, true
	case "h", "hour":
		return time.Hour, true
	case "d", "day":
		return 24 * time.Hour, true
	}
	return 0, false
}

// UnmarshalText reads a rate.
func (r *Rate) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRate(string(b))
	return err
}

// String writes a rate as it is read.
func (r Rate) String() string {
	for _, u := range []string{"s", "m", "h", "d"} {
		if per, _ := ratePeriod(u); per == r.Per {
			return fmt.Sprintf("%d/%s", r.N, u)
		}
	}
	return fmt.Sprintf("%d/%s", r.N, r.Per)
}
