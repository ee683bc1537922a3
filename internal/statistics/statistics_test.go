package statistics

import (
	"math"
	"testing"
)

// The figures of every statistics book; 3 of 1,000 is why a complaint rate of 0.1 % cannot be seen there.
func TestInterval(t *testing.T) {
	for _, tt := range []struct {
		count, of int64
		want      float64
	}{
		{0, 1000, 0}, {1, 1000, 0.00018}, {3, 1000, 0.00102}, {50, 1000, 0.0381}, {10, 100, 0.0552}, {100, 100, 0.9630},
	} {
		if got, _ := Interval(tt.count, tt.of); math.Abs(got-tt.want) > 0.00005 {
			t.Errorf("%d of %d: %.5f, want %.5f", tt.count, tt.of, got, tt.want)
		}
	}
	if low, high := Interval(0, 0); low != 0 || high != 1 {
		t.Errorf("of nothing: %g to %g", low, high)
	}
	for of := int64(1); of < 200; of++ {
		for count := int64(0); count <= of; count++ {
			low, high := Interval(count, of)
			if share := float64(count) / float64(of); low < 0 || high > 1 || low > share+1e-12 || high < share-1e-12 {
				t.Fatalf("%d of %d: %g to %g", count, of, low, high)
			}
		}
	}
}
