package address

import "testing"

func TestSuggest(t *testing.T) {
	for domain, want := range map[string]string{
		"docomo.co.jp": "docomo.ne.jp", "docomo.ne.jp.jp": "docomo.ne.jp", "ezweb.co.jp": "ezweb.ne.jp", "ezwab.ne.jp": "ezweb.ne.jp",
		"softbank.co.jp": "softbank.ne.jp", "i.softbank.ne.jp": "i.softbank.jp", "gmai.com": "gmail.com", "gmail.co.jp": "gmail.com",
		"gmail.con": "gmail.com", "gmial.com": "gmail.com", "gmaill.com": "gmail.com", "gnail.com": "gmail.com", "gmail.cm": "gmail.com",
		"yahoo.co.jo": "yahoo.co.jp", "yahooo.co.jp": "yahoo.co.jp", "yahoo.cp.jp": "yahoo.co.jp", "icloud.co.jp": "icloud.com",
		"iclould.com": "icloud.com", "hotmial.com": "hotmail.com", "hotmail.con": "hotmail.com", "outlok.jp": "outlook.jp",
		"example.con": "example.com", "example.jp.jp": "example.jp", "sofbank.ne.jp": "softbank.ne.jp",
	} {
		if got := Suggest(domain); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", domain, got, want)
		}
	}
}

// What is real is never doubted, and what is suggested is not doubted in turn.
func TestSuggestIsConservative(t *testing.T) {
	for _, domain := range []string{
		"", "example.jp", "hotmail.co.jp", "yahoo.ne.jp", "yahoo.com", "yahoo.co.uk", "yahoo.ca", "yahoo.de", "ymail.com", "mail.com", "email.com",
		"gmx.de", "gmx.net", "gmx.at", "web.de", "me.com", "mac.com", "aol.com", "msn.com", "live.jp", "live.com", "au.com", "qq.com", "163.com",
		"mail.ru", "hotmail.fr", "hotmail.co.uk", "outlook.de", "ymobile1.ne.jp", "emobile.ne.jp", "softbank.jp", "nifty.com", "nifty.ne.jp",
		"ocn.ne.jp", "oct.ne.jp", "so-net.jp", "docomo.ne.jp", "biz.ezweb.ne.jp", "t.vodafone.ne.jp", "jp-t.ne.jp", "cloud.com", "company.co.jp",
		"free.fr", "t-online.de", "pdx.ne.jp", "wm.pdx.ne.jp", "willcom.com", "mopera.net", "rakumail.jp", "proton.me", "zoho.com",
	} {
		if got := Suggest(domain); got != "" {
			t.Errorf("Suggest(%q) = %q: that domain is real", domain, got)
		}
	}
	for domain, meant := range typos {
		if Suggest(meant) != "" || meant == domain {
			t.Errorf("%q leads to %q, which is doubted too", domain, meant)
		}
		if a, err := Parse("x@" + meant); err != nil || a.Domain() != meant {
			t.Errorf("%q leads to %q: %v", domain, meant, err)
		}
	}
	for _, p := range providers {
		for _, q := range providers {
			if p != q && oneSlip(p, q) {
				t.Errorf("%s and %s are one slip apart", p, q)
			}
		}
	}
}

func TestOneSlip(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"abc", "abc", false}, {"abc", "ab", true}, {"abc", "bc", true}, {"abc", "abcd", true}, {"abc", "xabc", true}, {"abc", "axc", true},
		{"abc", "acb", true}, {"abc", "bac", true}, {"abc", "cba", false}, {"abc", "axy", false}, {"", "a", true}, {"", "", false}, {"ab", "cd", false},
	} {
		if oneSlip(tt.a, tt.b) != tt.want || oneSlip(tt.b, tt.a) != tt.want {
			t.Errorf("oneSlip(%q, %q) is not %v both ways", tt.a, tt.b, tt.want)
		}
	}
}

func TestDutyOf(t *testing.T) {
	for key, want := range map[string]Duty{
		"info@example.jp": Shared, "info+news@example.jp": Shared, "noreply@example.jp": Machine, "no-reply@example.jp": Machine,
		"postmaster@example.jp": Machine, "abuse@example.jp": Machine, "webmaster@example.jp": Shared, "admin@example.jp": Shared,
		"taro@example.jp": Personal, "information-desk-of-a-shop@example.jp": Personal, "infos@example.jp": Personal, "+info@example.jp": Personal,
		"mailer-daemon@example.jp": Machine, "toiawase@example.jp": Shared, "no address": Personal, "": Personal,
	} {
		if got := DutyOf(key); got != want {
			t.Errorf("DutyOf(%q) = %v, want %v", key, got, want)
		}
	}
}
