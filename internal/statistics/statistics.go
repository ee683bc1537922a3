// Package statistics says how much a figure is worth that was counted from few messages.
package statistics

import "math"

// z is the quantile of the normal distribution for 95 %.
const z = 1.96

// Interval is between what the true share lies of which count in of were seen, 95 % sure: Wilson's score interval, which also holds for
// few messages and for shares near nothing, where the usual one does not. Of no message at all everything is possible.
func Interval(count, of int64) (low, high float64) {
	if of <= 0 {
		return 0, 1
	}
	n := float64(of)
	p := float64(count) / n
	middle, half := p+z*z/(2*n), z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	scale := 1 + z*z/n
	return max(0, (middle-half)/scale), min(1, (middle+half)/scale)
}
