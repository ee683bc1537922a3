package pace

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

func TestStrata(t *testing.T) {
	for _, tt := range []struct {
		n     int64
		sizes map[string]int64
		want  map[string]int64
	}{
		{100, map[string]int64{"gmail": 6000, "docomo": 3000, "au": 1000}, map[string]int64{"gmail": 60, "docomo": 30, "au": 10}},
		{10, map[string]int64{"a": 1, "b": 1, "c": 1}, map[string]int64{"a": 1, "b": 1, "c": 1}}, // no more than there are
		{0, map[string]int64{"a": 10}, map[string]int64{}},
		{-3, map[string]int64{"a": 10}, map[string]int64{}},
		{10, nil, map[string]int64{}},
		{10, map[string]int64{"a": 0, "b": -1}, map[string]int64{}},
		{10, map[string]int64{"a": 333, "b": 333, "c": 334}, map[string]int64{"a": 3, "b": 3, "c": 4}},
		{10, map[string]int64{"a": 5, "b": 5, "c": 5}, map[string]int64{"a": 4, "b": 3, "c": 3}}, // the first of equals
		{3, map[string]int64{"a": 1_000_000, "b": 1, "c": 1}, map[string]int64{"a": 1, "b": 1, "c": 1}},
		{3, map[string]int64{"a": 90, "b": 4, "c": 3, "d": 3}, map[string]int64{"a": 1, "b": 1, "c": 1}},
		{3, map[string]int64{"a": 96, "b": 1, "c": 1, "d": 2}, map[string]int64{"a": 2, "d": 1}}, // 2 % is in, 1 % is not
		{3, map[string]int64{"a": 9601, "b": 100, "c": 100, "d": 199}, map[string]int64{"a": 3}}, // 1.99 % is not
		{50, map[string]int64{"a": 4e18, "b": 4e18}, map[string]int64{"a": 25, "b": 25}},         // more than n times it fits
	} {
		if got := Strata(tt.n, tt.sizes); !maps.Equal(got, tt.want) {
			t.Errorf("Strata(%d, %v) = %v, want %v", tt.n, tt.sizes, got, tt.want)
		}
	}
}

// For any sizes: n in all, from none more than it has, the larger never less, and near its share but for what the small
// ones were given.
func TestStrataAdds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 17))
	for range 2000 {
		sizes := map[string]int64{}
		var total int64
		for i := range 1 + r.IntN(40) {
			size := int64(r.ExpFloat64() * float64(int64(1)<<r.IntN(20)))
			sizes[fmt.Sprint("d", i)] = size
			total += size
		}
		n := r.Int64N(1000)
		got := Strata(n, sizes)
		if !maps.Equal(got, Strata(n, maps.Clone(sizes))) {
			t.Fatalf("Strata(%d, %v) is not the same twice", n, sizes)
		}
		var sum, some int64
		for _, q := range got {
			sum += q
		}
		for _, size := range sizes {
			some += min(size, 1)
		}
		if sum != min(n, total) {
			t.Fatalf("Strata(%d, %v) = %v: %d in all", n, sizes, got, sum)
		}
		for name, size := range sizes {
			q := got[name]
			if q > size || q < 0 {
				t.Fatalf("Strata(%d, %v) = %v: %s has only %d", n, sizes, got, name, size)
			}
			if q == 0 && size > 0 && n >= some {
				t.Fatalf("Strata(%d, %v) = %v: %s is left out", n, sizes, got, name)
			}
			if share := float64(min(n, total)) * float64(size) / float64(total); float64(q) > max(share+1, 1) || float64(q) < share-1-float64(some) {
				t.Fatalf("Strata(%d, %v) = %v: %s has %d of %.1f", n, sizes, got, name, q, share)
			}
			for other, less := range sizes {
				if less < size && got[other] > q {
					t.Fatalf("Strata(%d, %v) = %v: %s has more than %s", n, sizes, got, other, name)
				}
			}
		}
	}
}
