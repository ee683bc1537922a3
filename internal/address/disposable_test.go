package address

import (
	"slices"
	"testing"
)

func TestDisposables(t *testing.T) {
	own := Disposables{Add: []string{"temp.example.com"}, Except: []string{"mailinator.com"}}
	for _, tt := range []struct {
		of     Disposables
		domain string
		want   bool
	}{
		{Disposables{}, "mailinator.com", true}, {Disposables{}, "any.mailinator.com", true}, {Disposables{}, "notmailinator.org", false},
		{Disposables{}, "via.tokyo.jp", true}, {Disposables{}, "tokyo.jp", false}, {Disposables{}, "com", false}, {Disposables{}, "", false},
		{Disposables{}, "example.com", false}, {Disposables{}, "privaterelay.appleid.com", false},
		{own, "mailinator.com", false}, {own, "a.mailinator.com", false}, {own, "yopmail.com", true},
		{own, "temp.example.com", true}, {own, "a.temp.example.com", true}, {own, "example.com", false},
	} {
		if got := tt.of.Has(tt.domain); got != tt.want {
			t.Errorf("%+v has %q: %v", tt.of, tt.domain, got)
		}
	}
}

// Every domain of the list is one as addresses have it, and no person's provider.
func TestDisposableListIsSound(t *testing.T) {
	for domain, service := range disposable {
		a, err := Parse("x@" + domain)
		if err != nil || a.Domain() != domain {
			t.Errorf("%s of %s is no domain: %v", domain, service, err)
		}
		if slices.Contains(providers, domain) || genuine[domain] {
			t.Errorf("%s of %s is a provider of real people", domain, service)
		}
	}
}

func TestLocalsOf(t *testing.T) {
	for _, duty := range []Duty{Shared, Machine} {
		for _, local := range LocalsOf(duty) {
			if DutyOf(local+"@example.com") != duty {
				t.Errorf("%s is not %v", local, duty)
			}
		}
	}
	if len(LocalsOf(Shared))+len(LocalsOf(Machine)) != len(duties) {
		t.Error("a duty has no local parts")
	}
}
