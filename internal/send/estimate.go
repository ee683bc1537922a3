package send

import (
	"time"

	"mailer/internal/pace"
)

func leastTime(rates []pace.Rate, n int64) time.Duration {
	var longest time.Duration
	for _, l := range pace.Limits("all", rates...) {
		if !l.Smooth { // the first window's share may go at once
			longest = max(longest, time.Duration((n-1)/l.N)*l.Per)
			continue
		}
		longest = max(longest, time.Duration(float64(n)/float64(l.N)*float64(l.Per)))
	}
	return longest
}
