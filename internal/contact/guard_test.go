package contact

import "testing"

func TestGuard(t *testing.T) {
	for cell, want := range map[string]string{
		"=1+1": "'=1+1", "+81 3": "'+81 3", "-5": "-5", "-5a": "'-5a", "@x": "'@x", "'=x": "''=x", "''@": "'''@", "'a": "'a",
		"": "", "'": "'", "a=b": "a=b", "\t=x": "'\t=x", "\n=x": "'\n=x", "＝x": "'＝x",
	} {
		if got := Guard(cell); got != want {
			t.Errorf("Guard(%q) = %q, want %q", cell, got, want)
		}
	}
}

func FuzzGuard(f *testing.F) {
	for _, s := range []string{"", "'", "=", "'=", "-1", "'-1", "''-1", "a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cell string) {
		if got := Unguard(Guard(cell)); got != cell {
			t.Fatalf("%q came back as %q", cell, got)
		}
	})
}
