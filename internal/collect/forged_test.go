package collect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/store"
)

// forger writes bounces, complaints and unsubscribe mails about real recipients, by somebody who knows everything but our keys.
type forger struct {
	rnd     *rand.Rand
	keys    delivery.Keys // ours: what is altered was genuine
	foreign delivery.Keys
	people  int
}

func (f *forger) pick(all ...string) string { return all[f.rnd.IntN(len(all))] }

const tokenLetters = "0123456789abcdefghijklmnopqrstuv"

func (f *forger) letters(n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte(tokenLetters[f.rnd.IntN(len(tokenLetters))])
	}
	return b.String()
}

// token is one of a kind that we have not signed for that: guessed, altered, cut, foreign, of another kind, or of a key that is not.
func (f *forger) token(kind delivery.TokenKind, id int) string {
	genuine := f.keys.Sign(kind, int64(id))
	head, sum, _ := strings.Cut(genuine, "-")
	switch f.rnd.IntN(9) {
	case 0:
		return fmt.Sprintf("%c1%s-%s", kind, head[2:], f.letters(16))
	case 1: // another letter of the signature
		b := []byte(genuine)
		i := len(head) + 1 + f.rnd.IntN(16)
		for was := b[i]; b[i] == was; {
			b[i] = tokenLetters[f.rnd.IntN(32)]
		}
		return string(b)
	case 2: // the signature of one person, the number of another
		other := f.keys.Sign(kind, int64(id%f.people+1))
		otherHead, _, _ := strings.Cut(other, "-")
		return otherHead + "-" + sum
	case 3:
		return f.foreign.Sign(kind, int64(id))
	case 4: // another kind, with the signature of this one
		return f.pick("b", "u", "m", "B", "M")[:1] + "1" + head[2:] + "-" + f.letters(16)
	case 5: // cut short, or longer
		return f.pick(genuine[:len(genuine)-1], genuine+"0", "x"+genuine, head+"-", head+sum, head+"_"+sum)
	case 6: // a key that is not there
		return string(kind) + f.pick("2", "3", "9", "0") + head[2:] + "-" + sum
	case 7: // the number padded
		return head[:2] + "0" + head[2:] + "-" + sum
	default:
		return ""
	}
}

func (f *forger) mail(n int) string {
	id := 1 + f.rnd.IntN(f.people)
	victim := address(id)
	b, u, m := f.token('b', id), f.token('u', id), f.token('m', id)
	to := f.pick("bounce@news.example", returnPath(b), returnPath(u), b+"@news.example", "postmaster@news.example")
	head := fmt.Sprintf("From: %s\nTo: %s\nDelivered-To: %s\nMessage-ID: <%d@forger.example>\n", f.pick(victim, "MAILER-DAEMON@mx.example", "<>"), to, f.pick(to, "bounce@news.example"), n)
	if f.rnd.IntN(3) == 0 {
		head += "In-Reply-To: <" + m + "@news.example>\nReferences: <" + m + "@news.example>\n"
	}
	original := fmt.Sprintf("Return-Path: <%s>\nTo: %s\nMessage-ID: <%s@news.example>\nList-Unsubscribe: <mailto:%s>\nSubject: news\n\nbody\n", returnPath(b), victim, m, returnPath(u))
	switch f.rnd.IntN(6) {
	case 0:
		return head + fmt.Sprintf("Subject: Undelivered Mail Returned to Sender\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=x\n\n"+
			"--x\nContent-Type: text/plain\n\n<%s>: host mx said: 550 5.1.1 User unknown\n--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n%s\n"+
			"Final-Recipient: rfc822; %s\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 User unknown\n\n--x\nContent-Type: %s\n\n%s\n--x--\n",
			victim, f.pick("", "Original-Envelope-Id: "+b+"\n"), victim, f.pick("message/rfc822", "text/rfc822-headers"), original)
	case 1:
		return head + fmt.Sprintf("Subject: Mail delivery failed: returning message to sender\nX-Failed-Recipients: %s\n\nThis message was created automatically by mail delivery software.\n\n"+
			"A message that you sent could not be delivered to one or more of its recipients.\n\n  %s\n    SMTP error from remote mail server after RCPT TO:<%s>:\n    550 5.1.1 User unknown\n\n"+
			"------ This is a copy of the message, including all the headers. ------\n\n%s", victim, victim, victim, original)
	case 2:
		return head + fmt.Sprintf("Subject: failure notice\n\nHi. This is the qmail-send program at mx.example.\n\n<%s>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n--- Below this line is a copy of the message.\n\n%s", victim, original)
	case 3:
		return head + fmt.Sprintf("Subject: complaint\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=feedback-report; boundary=x\n\n--x\nContent-Type: message/feedback-report\n\n"+
			"Feedback-Type: %s\nVersion: 1\nOriginal-Mail-From: <%s>\nOriginal-Rcpt-To: <%s>\n\n--x\nContent-Type: message/rfc822\n\n%s\n--x--\n", f.pick("abuse", "fraud", "opt-out"), returnPath(b), victim, original)
	case 4:
		return head + "Subject: " + f.pick("unsubscribe", "unsubscribe "+u, "unsubscribe%20"+u, "配信停止") + "\n\nplease remove " + victim + "\n"
	default:
		return head + "Subject: Automatic reply: news\nAuto-Submitted: auto-replied\n\naway\n" + original
	}
}

// TestForgersChangeNothing: ten thousand mails about real recipients, and no row of ours is another one afterwards. What carries the
// shape of a token that we did not sign is counted as forged, so that somebody notices.
func TestForgersChangeNothing(t *testing.T) {
	n := 10_000
	if mailtest.Race {
		n = 2_000
	}
	w := newWorld(t, 50)
	w.exec("INSERT INTO contacts (key, address, created_at, updated_at) SELECT key, address, 1, 1 FROM deliveries")
	f := &forger{rnd: rand.New(rand.NewPCG(7, 2026)), keys: w.keys, foreign: delivery.Keys{1: []byte("another workspace's key, not ours")}, people: 50}
	rows := func() string {
		return w.text(`SELECT (SELECT group_concat(id || state || reason || code || reply || updated_at || attempts) FROM deliveries) || (SELECT group_concat(key || fields || updated_at) FROM contacts)
			|| (SELECT count(*) FROM suppressions) || (SELECT count(*) FROM events) || (SELECT count(*) FROM attempts) || (SELECT count(*) FROM held)`)
	}
	before := rows()
	seen := map[string]int{}
	// The proof is asked for every mail; some are recorded too, which takes longer.
	for i := range n {
		raw := []byte(strings.ReplaceAll(f.mail(i), "\n", "\r\n"))
		v := bounce.Parse(raw)
		id, by, forged := prove(v, w.keys)
		if id != 0 || by != "" {
			t.Fatalf("mail %d is taken for one about delivery %d (%s):\n%s", i, id, by, raw)
		}
		seen[fmt.Sprint(v.Kind, " forged=", forged)]++
		if i%4 == 0 {
			sum := sha256.Sum256(raw)
			r, err := w.st.RecordMail(t.Context(), store.ReadMail{Source: "test", Digest: hex.EncodeToString(sum[:]), Raw: raw, Verdict: v, Delivery: id, MatchedBy: by, Forged: forged})
			if err != nil || r.Matched || r.Suppressed || len(r.Changed) > 0 {
				t.Fatalf("%+v, %v\n%s", r, err, raw)
			}
		}
	}
	if rows() != before {
		t.Error("a row was changed")
	}
	for _, what := range []string{"bounce forged=true", "bounce forged=false", "complaint forged=true", "complaint forged=false", "unsubscribe forged=true", "autoreply forged=true"} {
		if seen[what] < n/100 {
			t.Errorf("only %d of %s: %v", seen[what], what, seen)
		}
	}
	// The same mails with genuine tokens do act: it is the signature that made the difference.
	if _, by, _ := prove(bounce.Parse([]byte(w.hard(3))), w.keys); by != bounce.WhereReturnPath {
		t.Errorf("a genuine one is led home by %q", by)
	}
}

// TestTheSurestPlaceDecides, in whatever order they stand: the return path, the envelope id, our Message-ID.
func TestTheSurestPlaceDecides(t *testing.T) {
	keys := delivery.Keys{1: []byte("old"), 2: []byte("new")}
	token := func(where string, id int64, by delivery.Keys) bounce.Token {
		kind := kindAt(where)
		return bounce.Token{Text: by.Sign(kind, id), Where: where, Kind: kind}
	}
	old := delivery.Keys{1: keys[1]}
	rp, env, mid, unsub := token(bounce.WhereReturnPath, 1, keys), token(bounce.WhereEnvelopeID, 2, old), token(bounce.WhereMessageID, 3, keys), token(bounce.WhereUnsubscribe, 4, old)
	for _, c := range []struct {
		kind   string
		tokens []bounce.Token
		id     int64
		by     string
	}{
		{bounce.KindBounce, []bounce.Token{mid, env, rp}, 1, bounce.WhereReturnPath},
		{bounce.KindBounce, []bounce.Token{rp, env, mid}, 1, bounce.WhereReturnPath},
		{bounce.KindComplaint, []bounce.Token{mid, env}, 2, bounce.WhereEnvelopeID},
		{bounce.KindBounce, []bounce.Token{mid, unsub}, 3, bounce.WhereMessageID},
		{bounce.KindBounce, []bounce.Token{unsub}, 0, ""},
		{bounce.KindUnsubscribe, []bounce.Token{mid, rp, unsub}, 4, bounce.WhereUnsubscribe},
		{bounce.KindUnsubscribe, []bounce.Token{mid, rp}, 0, ""},
	} {
		if id, by, forged := prove(bounce.Verdict{Kind: c.kind, Tokens: c.tokens}, keys); id != c.id || by != c.by || forged {
			t.Errorf("%s %v: %d by %q, forged %v", c.kind, c.tokens, id, by, forged)
		}
	}
}
