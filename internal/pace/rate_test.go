package pace

import "testing"

func TestParseRate(t *testing.T) {
	for text, want := range map[string]string{
		"100/s": "100/s", "600/min": "600/m", "5000/h": "5000/h", "50000/day": "50000/d", "1 / second": "1/s", "7/H": "7/h",
	} {
		if r, err := ParseRate(text); err != nil || r.String() != want {
			t.Errorf("%q: %v, %v; want %s", text, r, err, want)
		}
	}
	for _, text := range []string{"", "100", "/s", "0/s", "-1/s", "1.5/s", "10/w", "99999999999999999999/s", "10/s/s"} {
		if r, err := ParseRate(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, r)
		}
	}
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"100/s", "600 / min", "5000/h", "+7/d", "1/", "/", "1e3/s", "٣/s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRate(s)
		if err != nil {
			return
		}
		if r.N < 1 || r.Per <= 0 {
			t.Errorf("%q: %+v limits nothing", s, r)
		}
		if back, err := ParseRate(r.String()); err != nil || back != r {
			t.Errorf("%q: %v reads back as %v, %v", s, r, back, err)
		}
	})
}
