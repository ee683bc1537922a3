package pace

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
)

// strataLeast is the share, one in so many, from which on a stratum is in every sample.
const strataLeast = 50

// Strata shares a sample of n out among strata in proportion to their sizes, by largest remainder. Each that has 2 % or more
// gets one at least, the largest first while there are any; each at all when n is enough for that. What is left out gets
// none and is not in the answer.
func Strata(n int64, sizes map[string]int64) map[string]int64 {
	type stratum struct {
		name            string
		size, got, rest int64
	}
	var all []*stratum
	var total int64
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		if size := sizes[name]; size > 0 {
			all = append(all, &stratum{name: name, size: size})
			total += size
		}
	}
	n = min(n, total)
	if n <= 0 {
		return map[string]int64{}
	}
	left := n
	for _, s := range all {
		s.got, s.rest = mulDiv(n, s.size, total)
		left -= s.got
	}
	slices.SortStableFunc(all, func(a, b *stratum) int { return cmp.Or(cmp.Compare(b.rest, a.rest), cmp.Compare(b.size, a.size)) })
	for _, s := range all[:left] {
		s.got++
	}
	slices.SortStableFunc(all, func(a, b *stratum) int { return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.name, b.name)) })
	for _, s := range all {
		if s.got > 0 || int64(len(all)) > n && s.size < (total+strataLeast-1)/strataLeast {
			continue
		}
		most := all[0]
		for _, o := range all {
			if o.got >= most.got { // the smallest of equals gives, so that a larger one never has less
				most = o
			}
		}
		if most.got < 2 {
			break
		}
		most.got--
		s.got++
	}
	quota := map[string]int64{}
	for _, s := range all {
		if s.got > 0 {
			quota[s.name] = s.got
		}
	}
	return quota
}

// mulDiv returns a*b/c and what remains, for b <= c, also where a*b is more than fits.
func mulDiv(a, b, c int64) (quotient, rest int64) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	q, r := bits.Div64(hi, lo, uint64(c))
	return int64(q), int64(r)
}
