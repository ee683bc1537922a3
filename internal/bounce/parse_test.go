package bounce

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// brief is a verdict in one line, for tables.
func brief(v Verdict) string {
	parts := []string{v.Kind}
	for _, r := range v.Bounces {
		hard := "soft"
		if r.Hard {
			hard = "HARD"
		}
		parts = append(parts, fmt.Sprintf("%s %s/%s %s %s %s", r.Recipient, r.Status, r.Reply, r.Reason, hard, r.Action))
	}
	parts = append(parts, v.Complainants...)
	if v.FeedbackType != "" {
		parts = append(parts, "type="+v.FeedbackType)
	}
	if v.Detail != "" {
		parts = append(parts, "detail="+v.Detail)
	}
	if v.Sender != "" {
		parts = append(parts, "sender="+v.Sender)
	}
	return strings.Join(parts, "; ")
}

// fixtures are mails of our own writing in testdata, each with the verdict that it must have.
var fixtures = map[string]string{
	"postfix":                    "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"null-sender-subject":        "bounce; hanako@shop.example /550 userunknown HARD failed",
	"null-sender-list":           "bounce; hanako@shop.example / userunknown HARD failed",
	"null-sender-vacation":       "autoreply; detail=answer",
	"reply-quotes-qmail":         "not-a-bounce",
	"reply-quotes-report":        "not-a-bounce",
	"postmaster-answers":         "not-a-bounce",
	"sendmail-success-text":      "delivered",
	"postfix-verify-text":        "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"report-as-text":             "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed; taro@shop.example 4.4.1/ expired soft delayed",
	"mime-header-lost":           "complaint; hanako@shop.example; type=abuse",
	"html-header-lost":           "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"callout-names-us":           "bounce; hanako@shop.example /550 rejected soft failed",
	"full-in-text-only":          "bounce; hanako@shop.example 5.1.1/550 mailboxfull soft failed",
	"status-comment":             "bounce; hanako@shop.example 5.4.4/ hostunknown HARD failed",
	"ko-not-sent":                "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"fml-not-member":             "bounce; users@ml.example / rejected soft failed",
	"groupwise-list":             "bounce; hanako@shop.example /550 userunknown HARD failed; taro@shop.example /450 mailboxfull soft failed",
	"qmail-charset":              "bounce; hanako@shop.example / contenterror soft failed",
	"sendmail-maildrop-quota":    "bounce; hanako@shop.example 4.2.2/ mailboxfull soft failed",
	"ko-reply-code":              "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"postfix-three":              "bounce; dead@shop.example 5.1.1/550 userunknown HARD failed; full@shop.example 5.2.2/552 mailboxfull soft failed; a..b@docomo.ne.jp 5.0.0/550 filtered soft failed",
	"postfix-delayed":            "bounce; hanako@shop.example 4.4.1/ expired soft delayed; detail=delay",
	"relayed":                    "delivered",
	"utf8-report":                "bounce; 花子@店.example 5.1.1/550 userunknown HARD failed",
	"no-closing-boundary":        "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"blank-lines-between-fields": "bounce; hanako@shop.example 5.2.2/552 mailboxfull soft failed",
	"no-diagnostic":              "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"full-said-unknown":          "bounce; hanako@shop.example 5.1.1/550 mailboxfull soft failed",
	"blocked":                    "bounce; hanako@shop.example 5.7.1/554 blocked soft failed",
	"nested":                     "bounce; hanako@shop.example 4.4.1/451 expired soft failed",
	"arf":                        "complaint; hanako@shop.example; type=abuse",
	"arf-not-spam":               "not-a-bounce; hanako@shop.example; type=not-spam",
	"jmrp":                       "complaint; hanako@hotmail.example; type=abuse",
	"receipt":                    "autoreply; detail=receipt",
	"vacation":                   "autoreply; detail=vacation",
	"vacation-no-3834":           "autoreply; detail=vacation",
	"unsubscribe":                "unsubscribe; sender=hanako@shop.example",
	"unsubscribe-subject":        "unsubscribe; sender=hanako@shop.example",
	"exim":                       "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed; taro@shop.example /550 filtered soft failed",
	"exim-warning":               "bounce; hanako@shop.example 4.2.1/450 systemerror soft delayed; detail=delay",
	"qmail":                      "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed; late@shop.example 5.7.1/550 spamdetected soft failed",
	"sendmail":                   "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"exchange":                   "bounce; hanako@shop.example / userunknown HARD failed",
	"ezweb-unknown":              "bounce; hanako@ezweb.ne.jp /550 userunknown HARD failed",
	"ezweb-filter":               "bounce; hanako@ezweb.ne.jp / filtered soft failed",
	"ses":                        "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"group":                      "bounce; friends@groups.example / rejected soft failed",
	"arf-yahoo":                  "complaint; hanako@ymail.example; type=abuse",
	"au-full":                    "bounce; hanako@au.com / mailboxfull soft failed",
	"vacation-left-company":      "autoreply; detail=vacation",
	"barracuda-ndr":              "bounce; hanako@shop.example 5.7.1/550 spamdetected soft failed",
	"biglobe":                    "bounce; hanako@example.biglobe.ne.jp / mailboxfull soft failed",
	"challenge":                  "autoreply; detail=challenge",
	"courier":                    "bounce; hanako@shop.example 5.0.0/550 userunknown HARD failed",
	"docomo-rcpt":                "bounce; hanako@docomo.ne.jp 5.1.1/550 userunknown HARD failed",
	"docomo-returned":            "bounce; hanako@docomo.ne.jp /550 filtered soft failed",
	"exchange-2010-ja":           "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"exchange-2010-plain":        "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"exim-data":                  "bounce; hanako@shop.example /550 spamdetected soft failed",
	"exim-dsn":                   "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"exim-pipe":                  "bounce; hanako@shop.example / mailererror soft failed",
	"exim-quota":                 "bounce; hanako@shop.example / mailboxfull soft failed",
	"exim-relay":                 "bounce; hanako@shop.example /550 norelaying soft failed",
	"exim-retry-timeout":         "bounce; hanako@shop.example / expired soft failed",
	"exim-dsn-retry-timeout":     "bounce; hanako@shop.example 5.0.0/ expired soft failed",
	"opensmtpd-expired-dsn":      "bounce; hanako@shop.example 4.4.7/ expired soft failed",
	"exim-size":                  "bounce; hanako@shop.example 5.0.0/552 emailtoolarge soft failed",
	"exim-nullmx":                "bounce; taro@shopp.example 5.0.0/ notaccept HARD failed",
	"exim-unrouteable-user":      "bounce; hanako@shop.example 5.0.0/550 userunknown HARD failed",
	"exim-unrouteable":           "bounce; taro@shopp.example 5.0.0/ hostunknown HARD failed",
	"ezweb-suspended":            "bounce; hanako@ezweb.ne.jp / suspend soft failed",
	"gateway-2":                  "bounce; hanako@shop.example /550 userunknown HARD failed",
	"gateway-3":                  "bounce; hanako@shop.example / mailboxfull soft failed",
	"gateway-1":                  "bounce; hanako@shop.example / userunknown HARD failed",
	"rfc6533-global":             "bounce; 花子@店.example 5.1.1/550 userunknown HARD failed",
	"gmail-delay":                "bounce; hanako@shop.example 4.4.1/ expired soft delayed; detail=delay",
	"gmail-full":                 "bounce; hanako@gmail.com 5.2.2/552 mailboxfull soft failed",
	"gmail-ja":                   "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"gmail-nodomain":             "bounce; taro@shopp.example 4.0.0/ hostunknown soft failed",
	"googlegroups-full":          "bounce; friends@googlegroups.com / rejected soft failed",
	"groupwise":                  "bounce; hanako@shop.example / userunknown HARD failed",
	"haraka":                     "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"hmailserver":                "bounce; hanako@shop.example /550 userunknown HARD failed",
	"jmrp-bare":                  "complaint; hanako@hotmail.example; type=abuse",
	"html-only":                  "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"vacation-ja":                "autoreply; detail=vacation",
	"james":                      "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"kddi-full":                  "bounce; hanako@ma.dion.example / mailboxfull soft failed",
	"m365-access":                "bounce; hanako@shop.example 5.4.1/550 userunknown soft failed",
	"m365-de":                    "bounce; hanako@shop.example 5.2.2/554 mailboxfull soft failed",
	"m365-fr-blocked":            "bounce; hanako@shop.example 5.7.1/550 blocked soft failed",
	"m365-group":                 "bounce; hanako@shop.example 5.7.133/550 rejected soft failed",
	"m365-ja":                    "bounce; hanako@shop.example 5.1.10/550 userunknown HARD failed",
	"mailenable":                 "bounce; hanako@shop.example /550 userunknown HARD failed",
	"mailman-notice":             "not-a-bounce",
	"mail-ru":                    "bounce; hanako@shop.example /550 userunknown HARD failed",
	"mdaemon":                    "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"mimecast":                   "bounce; hanako@shop.example /550 userunknown HARD failed",
	"qmail-quota":                "bounce; hanako@shop.example 5.2.2/ mailboxfull soft failed",
	"nifty-ja":                   "bounce; hanako@isp.example / userunknown HARD failed",
	"opensmtpd-delay":            "bounce; hanako@shop.example / networkerror soft delayed; detail=delay",
	"opensmtpd-expired":          "bounce; hanako@shop.example / expired soft failed",
	"opensmtpd-unknown":          "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"ordinary-talks-of-bounce":   "not-a-bounce",
	"please-remove-en":           "not-a-bounce; detail=removal; sender=hanako@shop.example",
	"please-remove-ja":           "not-a-bounce; detail=removal; sender=hanako@shop.example",
	"postfix-ja":                 "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"postfix-dot":                "bounce; hanako@shop.example 5.7.1/550 spamdetected soft failed",
	"postfix-expired":            "bounce; hanako@shop.example 4.4.1/ networkerror soft failed",
	"postfix-quota-local":        "bounce; hanako@shop.example 5.2.2/ mailboxfull soft failed",
	"postfix-relay":              "bounce; hanako@shop.example 5.7.1/554 norelaying soft failed",
	"postfix-size":               "bounce; hanako@shop.example 5.3.4/ emailtoolarge soft failed",
	"postfix-unknown-domain":     "bounce; taro@shopp.example 5.4.4/ hostunknown HARD failed",
	"powermta":                   "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"qmail-local":                "bounce; hanako@shop.example 5.1.1/ userunknown HARD failed",
	"qmail-nohost":               "bounce; taro@shopp.example 5.1.2/ hostunknown HARD failed",
	"qmail-queue":                "bounce; hanako@shop.example 4.4.1/ expired soft failed",
	"qmail-docomo-dot":           "bounce; hanako@docomo.ne.jp /550 filtered soft failed",
	"qmail-sender":               "bounce; hanako@shop.example 5.1.8/553 rejected soft failed",
	"qmail-vpopmail":             "bounce; hanako@shop.example / hasmoved HARD failed",
	"postfix-refused-to-talk":    "bounce; hanako@shop.example 5.7.1/550 blocked soft failed",
	"delivered":                  "delivered",
	"reply-no-removal":           "not-a-bounce",
	"sendmail-dsn":               "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"sendmail-old":               "bounce; taro@shopp.example /550 hostunknown HARD failed",
	"sendmail-warning":           "bounce; hanako@shop.example 4.4.1/ expired soft delayed; detail=delay",
	"ses-complaint":              "complaint; hanako@shop.example; type=abuse",
	"ses-dsn":                    "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"ses-event":                  "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"ses-suppressed":             "bounce; hanako@shop.example 5.1.1/ suppressed soft failed",
	"softbank":                   "bounce; hanako@softbank.ne.jp 5.1.1/550 userunknown HARD failed",
	"bounce-zh":                  "bounce; hanako@shop.example / userunknown HARD failed",
	"ticket":                     "autoreply; detail=answer",
	"yahoo":                      "bounce; hanako@ymail.example /554 userunknown HARD failed",
	"yahoo-tss":                  "bounce; hanako@ymail.example 5.7.2/553 blocked soft failed",
	"zimbra-inline":              "bounce; hanako@shop.example /550 userunknown HARD failed",
	"zoho":                       "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"amavis-virus":               "bounce; hanako@shop.example 5.7.0/554 virusdetected soft failed",
	"apple-filter":               "bounce; hanako@icloud.com 5.7.1/554 policyviolation soft failed",
	"communigate":                "bounce; hanako@shop.example 5.0.0/ userunknown HARD failed",
	"dmarc-aggregate":            "not-a-bounce",
	"domino":                     "bounce; hanako@shop.example 5.1.1/ userunknown HARD failed",
	"exchange-delay":             "bounce; hanako@shop.example 4.4.7/ expired soft delayed; detail=delay",
	"exchange-relayed":           "delivered",
	"exim-three":                 "bounce; dead@shop.example /550 userunknown HARD failed; full@shop.example 5.2.2/552 mailboxfull soft failed; late@shop.example / expired soft failed",
	"gmail-blocked":              "bounce; hanako@shop.example 5.7.26/550 authfailure soft failed",
	"gmx":                        "bounce; hanako@shop.example 5.1.1/ userunknown HARD failed",
	"groupwise-full":             "bounce; hanako@shop.example / mailboxfull soft failed",
	"imail":                      "bounce; hanako@shop.example / userunknown HARD failed",
	"interscan":                  "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"ja-full":                    "bounce; hanako@isp.example / mailboxfull soft failed",
	"ja-isp-1":                   "bounce; hanako@isp.example /550 userunknown HARD failed",
	"ja-stop-short":              "not-a-bounce; detail=removal; sender=hanako@docomo.ne.jp",
	"mailman-held":               "not-a-bounce",
	"messaging-server":           "bounce; hanako@shop.example 5.1.1/ userunknown HARD failed",
	"mmdf":                       "bounce; hanako@shop.example / userunknown HARD failed",
	"newsletter":                 "not-a-bounce",
	"outlook-com-block":          "bounce; hanako@outlook.com 5.7.1/550 blocked soft failed",
	"parcel-notice":              "not-a-bounce",
	"postfix-expanded":           "bounce; taro@home.example 5.1.1/550 userunknown HARD failed",
	"postfix-postmaster-notice":  "not-a-bounce",
	"qmail-two":                  "bounce; dead@shop.example 5.1.1/ userunknown HARD failed; late@shop.example 4.4.3/ expired soft failed",
	"quarantine-digest":          "not-a-bounce",
	"read-outlook":               "autoreply; detail=receipt",
	"reply-vacation-word":        "not-a-bounce",
	"scomp-bare":                 "complaint; hanako@aol.example; type=abuse",
	"sendmail-fivedays":          "bounce; hanako@shop.example 4.4.7/ expired soft failed",
	"sendmail-three":             "bounce; dead@shop.example 5.1.1/550 userunknown HARD failed; full@shop.example 5.2.2/552 mailboxfull soft failed; block@shop.example 5.7.1/554 blocked soft failed",
	"smail":                      "bounce; hanako@shop.example / userunknown HARD failed",
	"surgemail":                  "bounce; hanako@shop.example / userunknown HARD failed",
	"tlsrpt":                     "not-a-bounce",
	"unsubscribe-word-only":      "not-a-bounce; detail=removal; sender=hanako@shop.example",
	"vacation-quotes-bounce":     "autoreply; detail=vacation",
	"yahoo-jp":                   "bounce; hanako@yahoo.co.jp /554 userunknown HARD failed",
	"dragonfly":                  "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"m-filter":                   "bounce; hanako@shop.example 5.2.2/552 mailboxfull soft failed",
	"fml":                        "bounce; hanako@shop.example / systemerror soft failed",
	"verizon":                    "bounce; 2025550100@vtext.com /550 userunknown HARD failed",
	"google-relay":               "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"domino-plain":               "bounce; hanako@shop.example / userunknown HARD failed",
	"spamcop":                    "complaint; hanako@shop.example; type=abuse",
	"apple-unsubscribe-signed":   "unsubscribe; sender=hanako@shop.example",
	"apple-unsubscribe":          "complaint; hanako@shop.example; type=opt-out",
	"kddi-filter":                "bounce; hanako@ma.dion.example /550 filtered soft failed",
	"es":                         "bounce; hanako@shop.example 5.2.2/552 mailboxfull soft failed",
	"expired-only":               "bounce; hanako@shop.example / expired soft failed",
	"gateway-in-header":          "bounce; hanako@shop.example / userunknown HARD failed",
	"human-asks-delivery":        "not-a-bounce",
	"icewarp":                    "bounce; hanako@shop.example /550 userunknown HARD failed",
	"iis":                        "bounce; hanako@shop.example 5.1.1/ userunknown HARD failed",
	"iis-expired":                "bounce; hanako@shop.example 4.4.7/ expired soft failed",
	"ironport":                   "bounce; hanako@shop.example 5.1.0/550 userunknown HARD failed",
	"ja-moved":                   "not-a-bounce",
	"ja-postfix-html":            "bounce; hanako@shop.example /550 userunknown HARD failed",
	"ja-spam":                    "bounce; hanako@shop.example / spamdetected soft failed",
	"kerio":                      "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"ko":                         "bounce; hanako@shop.example /550 userunknown HARD failed",
	"listserv":                   "not-a-bounce",
	"mercury":                    "bounce; hanako@shop.example / userunknown HARD failed",
	"nested-only":                "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"orange-fr":                  "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"postoffice":                 "bounce; hanako@shop.example / userunknown HARD failed",
	"proofpoint":                 "bounce; hanako@shop.example 5.1.1/550 userunknown HARD failed",
	"ru":                         "bounce; hanako@shop.example /550 userunknown HARD failed",
	"smartermail":                "bounce; hanako@shop.example /550 userunknown HARD failed",
	"t-online-de":                "bounce; hanako@shop.example /550 userunknown HARD failed",
	"temp-greylist-fail":         "bounce; hanako@shop.example 4.7.1/450 systemerror soft failed",
	"xmail":                      "bounce; hanako@shop.example /550 userunknown HARD failed",
	"zh-163":                     "bounce; hanako@shop.example /550 userunknown HARD failed",
	"ordinary":                   "not-a-bounce",
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".eml"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(files) != len(fixtures) {
		t.Errorf("%d fixtures, %d verdicts, %v", len(files), len(fixtures), err)
	}
	for name, want := range fixtures {
		if got := brief(Parse(fixture(t, name))); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

// TestEveryFamilyHasAFixture: a rule that no mail of ours needs is a rule that nobody would miss.
func TestEveryFamilyHasAFixture(t *testing.T) {
	seen := map[string]bool{}
	for name := range fixtures {
		seen[Parse(fixture(t, name)).Family] = true
	}
	for _, f := range families {
		if !seen[f.name] {
			t.Errorf("family %s: no fixture is read by it", f.name)
		}
	}
	for _, f := range []string{"rfc3464", "arf", "jmrp", "scomp", "spamcop", "apple", "rfc8098", "mailto", "ses", "rfc3834", "words", "person"} {
		if !seen[f] {
			t.Errorf("%s: no fixture is read so", f)
		}
	}
}

// TestFormsOfAMailDoNotMatter: line ends, an mbox line in front, NUL bytes and empty lines change no verdict.
func TestFormsOfAMailDoNotMatter(t *testing.T) {
	forms := map[string]func([]byte) []byte{
		"CRLF":     func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) },
		"CR":       func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r")) },
		"mbox":     func(b []byte) []byte { return append([]byte("From MAILER-DAEMON Mon Nov  2 10:00:00 2026\n"), b...) },
		"NUL":      func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(" "), []byte(" \x00")) },
		"leading":  func(b []byte) []byte { return append([]byte("\n\n"), b...) },
		"trailing": func(b []byte) []byte { return append(bytes.Clone(b), "\n\n\n"...) },
	}
	for name, want := range fixtures {
		for form, change := range forms {
			if got := brief(Parse(change(fixture(t, name)))); got != want {
				t.Errorf("%s as %s:\n got %s\nwant %s", name, form, got, want)
			}
		}
	}
}

// TestANestedReportIsNeverRead: what a report returns may itself be a report, about somebody else. However the mail is
// cut, the stranger in it stays out.
func TestANestedReportIsNeverRead(t *testing.T) {
	raw := fixture(t, "nested")
	for n := range raw {
		for _, r := range Parse(raw[:n]).Bounces {
			if strings.HasPrefix(r.Recipient, "stranger") || r.Hard {
				t.Fatalf("cut at %d: %+v", n, r)
			}
		}
	}
}

func TestTokensComeFromWhereWePutThem(t *testing.T) {
	for name, want := range map[string]string{
		"postfix":             "return_path=b1a-0123456789abcdef message_id=m1a-fedcba9876543210",
		"arf":                 "return_path=b1a-0123456789abcdef message_id=m1a-fedcba9876543210",
		"qmail":               "return_path=b1a-0123456789abcdef message_id=m1a-fedcba9876543210",
		"vacation":            "return_path=b1a-0123456789abcdef message_id=m1a-fedcba9876543210",
		"unsubscribe":         "unsubscribe=u1a-0123456789abcdef",
		"unsubscribe-subject": "unsubscribe=u1a-0123456789abcdef",
		"ordinary":            "",
	} {
		var got []string
		for _, tok := range Parse(fixture(t, name)).Tokens {
			got = append(got, tok.Where+"="+tok.Text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: tokens %q, want %q", name, got, want)
		}
	}
	told := `{"notificationType":"Bounce","mail":{"source":"bounce+b1a-0123456789abcdef@news.example","messageId":"x","headers":[{"name":"Subject","value":"m1b-0123456789abcdef"},` +
		`{"name":"Message-ID","value":"<m1a-fedcba9876543210@news.example>"}]},"bounce":{"bounceType":"Permanent","bouncedRecipients":[{"emailAddress":"a@b.example","status":"5.1.1"}]}}`
	inner, _ := json.Marshal(told)
	for _, text := range []string{told, `{"Type": "Notification", "Message": ` + string(inner) + `}`} {
		v := Parse([]byte("From: no-reply@sns.amazonaws.com\nSubject: AWS Notification Message\n\n" + text + "\n"))
		if got := fmt.Sprint(v.Kind, v.Tokens); got != "bounce[{b1a-0123456789abcdef return_path 98} {m1a-fedcba9876543210 message_id 109}]" {
			t.Errorf("SES: %s", got)
		}
	}
	if v := Parse([]byte("From: no-reply@sns.amazonaws.com\n\n" + `{"notificationType":"Complaint","complaint":{"complaintFeedbackType":"not-spam","complainedRecipients":[{"emailAddress":"a@b.example"}]}}`)); v.Kind != KindOther {
		t.Errorf("SES: not spam is %s", v.Kind)
	}
	body := "From: a@b.example\nSubject: hi\n\nsee bounce+b1a-0123456789abcdef@news.example and <m1a-fedcba9876543210@news.example>\n"
	if got := Parse([]byte(body)).Tokens; len(got) != 0 {
		t.Errorf("a token in the text was taken: %v", got)
	}
}

// TestHugeAndCrookedMailsAreBounded gives shapes that make careless readers spin or eat memory.
func TestHugeAndCrookedMailsAreBounded(t *testing.T) {
	head := "From: MAILER-DAEMON@x.example\nSubject: Undelivered Mail Returned to Sender\nContent-Type: multipart/report; boundary=b\n\n"
	group := "\n\nFinal-Recipient: rfc822; a%d@x.example\nAction: failed\nStatus: 5.1.1\n"
	var groups strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&groups, group, i)
	}
	nested := head
	for i := range 2000 {
		nested += fmt.Sprintf("--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n", i, i+1)
	}
	for name, mail := range map[string]string{
		"parts":      head + strings.Repeat("--b\nContent-Type: text/plain\n\nx\n", 10000),
		"open parts": head + strings.Repeat("--b\n", 300000),
		"groups":     head + "--b\nContent-Type: message/delivery-status\n\n" + groups.String(),
		"body":       head + "--b\n\n" + strings.Repeat("a@b.example: 550 5.1.1 user unknown\n", 1<<20),
		"one line":   head + "--b\n\n" + strings.Repeat("@", 20<<20),
		"header":     strings.Repeat("X-A: b\n continued\n", 1<<20),
		"folded":     "Subject: x\n" + strings.Repeat(" y\n", 4<<20),
		"params":     "Content-Type: multipart/report; " + strings.Repeat("a=\"", 1<<20) + "\n\nx",
		"nested":     nested,
		"words":      "From: postmaster\nSubject: " + strings.Repeat("=?utf-8?Q?a?= ", 1<<17) + "\n\nx",
		"quotes":     head + "--b\n\n" + strings.Repeat("\"@", 5<<20),
		"html":       "From: mailer-daemon\nSubject: failure notice\nContent-Type: text/html\n\n" + strings.Repeat("<style>", 1<<20),
		"json":       "Content-Type: text/plain\n\nnotificationType " + strings.Repeat("{", 4<<20),
		"nothing":    "",
		"NULs":       strings.Repeat("\x00", 1<<20),
		"CRs":        strings.Repeat("\r", 1<<20),
	} {
		begin := time.Now()
		v := Parse([]byte(mail))
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
		if len(v.Bounces) > maxFields || len(v.Tokens) > maxTokens {
			t.Errorf("%s: %d bounces, %d tokens", name, len(v.Bounces), len(v.Tokens))
		}
	}
}

// TestABigMailIsReadInBoundedTimeAndMemory: the report stands before what is returned, however large that is.
func TestABigMailIsReadInBoundedTimeAndMemory(t *testing.T) {
	report, rest, _ := strings.Cut(string(fixture(t, "postfix")), "550 5.1.1 user unknown: this stands in our own text")
	var deep strings.Builder
	for i := range 500 { // reports within reports within reports
		fmt.Fprintf(&deep, "\n--d%d\nContent-Type: message/rfc822\n\nFrom: MAILER-DAEMON@x.example\nContent-Type: multipart/report; report-type=delivery-status; boundary=d%d\n\n--d%d\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; stranger%d@other.example\nAction: failed\nStatus: 5.1.1\n", i, i+1, i+1, i)
	}
	for name, filling := range map[string]string{
		"50 MB in lines":    strings.Repeat(strings.Repeat("A", 76)+"\n", 50<<20/77),
		"50 MB in one line": strings.Repeat("A", 50<<20),
		"50 MB of CR":       strings.Repeat("550 5.1.1 user unknown\r", 50<<20/23),
		"50 MB of NUL":      strings.Repeat("\x00", 50<<20),
		"10,000 parts":      strings.Repeat("\n--p\nContent-Type: text/plain\n\n<stranger@other.example>: 550 5.1.1 user unknown\n", 10000),
		"nested reports":    deep.String(),
	} {
		raw := []byte(report + filling + rest)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begin := time.Now()
		got := brief(Parse(raw))
		took := time.Since(begin)
		runtime.ReadMemStats(&after)
		if got != fixtures["postfix"] {
			t.Errorf("%s: %s", name, got)
		}
		if took > 20*time.Second { // a tenth of a second where the machine is free; what spins takes minutes
			t.Errorf("%s: took %s", name, took)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 20*maxMail {
			t.Errorf("%s: %d MB allocated", name, used>>20)
		}
	}
	// The same as a mail that ends nowhere and closes nothing, cut at any place.
	raw := fixture(t, "sendmail-three")
	for n := range raw {
		for _, r := range Parse(raw[:n]).Bounces {
			if r.Hard && r.Recipient != "dead@shop.example" {
				t.Fatalf("cut at %d: %+v", n, r)
			}
		}
	}
}

// TestACutMailKillsNobodyElse: of a mail that breaks off anywhere, whoever is hard is so in the whole mail too, unless the
// cut goes through his address.
func TestACutMailKillsNobodyElse(t *testing.T) {
	for name, want := range fixtures {
		raw := fixture(t, name)
		if name == "gmail-nodomain" {
			continue // the status that contradicts its text stands at the end
		}
		for n := 0; n < len(raw); n += 29 {
			for _, r := range Parse(raw[:n]).Bounces {
				_, entry, whole := strings.Cut(want, r.Recipient+" ")
				entry, _, _ = strings.Cut(entry, ";")
				if r.Hard && (whole && !strings.Contains(entry, "HARD") || !strings.Contains(want, r.Recipient)) {
					t.Errorf("%s, cut at %d: %s is hard (%s)", name, n, r.Recipient, r.Reason)
				}
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil {
		f.Fatal(err)
	}
	if dir := os.Getenv("BOUNCE_CORPUS"); dir != "" {
		more, err := filepath.Glob(filepath.Join(dir, "mails", "*.eml"))
		if err != nil {
			f.Fatal(err)
		}
		files = append(files, more...)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v := Parse(raw)
		for _, r := range v.Bounces {
			if v.Kind != KindBounce {
				t.Errorf("kind %s with bounces", v.Kind)
			}
			if r.Recipient == "" || meanings[r.Reason].scope == "" {
				t.Errorf("recipient %q, reason %q", r.Recipient, r.Reason)
			}
			if r.Hard && (!meanings[r.Reason].dead || r.Action != ActionFailed || strings.HasPrefix(r.Status, "4") || strings.HasPrefix(r.Reply, "4")) {
				t.Errorf("hard for %+v", r)
			}
		}
	})
}

// FuzzClassify: whatever is said, in whatever step, only an uncontradicted and permanent word at RCPT kills.
func FuzzClassify(f *testing.F) {
	raw, err := os.ReadFile("testdata/replies.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, line := range strings.Split(string(raw), "\n") {
		if p := strings.SplitN(line, " ", 5); len(p) == 5 {
			f.Add(p[4], p[0], p[1])
		}
	}
	f.Fuzz(func(t *testing.T, text, phase, domain string) {
		r := Reply{Text: text, Phase: phase}
		c := Classify(r, domain)
		if c.Reason == "" || Words(c.Reason) == "" || c.Hard && (!Dead(c.Reason) || c.Action != DoSuppress || aboutUs(phase) || afterBody(phase)) {
			t.Errorf("%+v", c)
		}
		if full := completed(r); c.Hard && !permanent(full) {
			t.Errorf("hard for now only: %+v", full)
		}
		if e := Explain(r, c, domain); e.Meaning == "" || len(e.Todo) == 0 {
			t.Errorf("%+v", e)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var mails [][]byte
	for name := range fixtures {
		mails = append(mails, fixture(b, name))
	}
	if dir := os.Getenv("BOUNCE_CORPUS"); dir != "" {
		files, err := filepath.Glob(filepath.Join(dir, "mails", "*.eml"))
		if err != nil {
			b.Fatal(err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				b.Fatal(err)
			}
			mails = append(mails, raw)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		Parse(mails[i%len(mails)])
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
}

// The way out that the law asks for must work with every mail program, whatever it makes of the mailto: link.
func TestUnsubscribeBySubject(t *testing.T) {
	const token = "u1if-2f9t17das85uqe34"
	for _, subject := range []string{
		"unsubscribe " + token, "UNSUBSCRIBE " + strings.ToUpper(token), "unsubscribe%20" + token, "unsubscribe+" + token,
		"=?utf-8?Q?unsubscribe_" + token + "?=", "Re: unsubscribe\r\n " + token,
	} {
		v := Parse([]byte("From: a@example.jp\r\nTo: bounce@example.com\r\nSubject: " + subject + "\r\n\r\n"))
		if v.Kind != KindUnsubscribe || len(v.Tokens) != 1 || v.Tokens[0].Text != token || v.Tokens[0].Where != WhereUnsubscribe {
			t.Errorf("%q: %s %+v", subject, v.Kind, v.Tokens)
		}
	}
}
