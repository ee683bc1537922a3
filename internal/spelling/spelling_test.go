package spelling

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"subject", "segment", "preheader", "password_env", "password_file", "都道府県", "会社名", "from"}
	for word, want := range map[string]string{
		"subjet": "subject", "Subject": "subject", "sgement": "segment", "passwordenv": "password_env", "pasword_file": "password_file",
		"都道府": "都道府県", "会社": "会社名", "form": "from", "zzz": "", "": "", "altogether_else": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0 mails", 1: "1 mail", 2: "2 mails"} {
		if got := Count(n, "mail", "mails"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
