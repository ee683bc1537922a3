package send

import (
	"errors"
	"strings"
	"testing"
)

// The message of a round trip is made as one of a campaign, and no two are the same.
func TestLetter(t *testing.T) {
	s := relaySender(t)
	s.Workspace.Config.Sender.UnsubscribeURL = "https://news.example.com"
	a, err := s.Letter(t.Context(), "main", "")
	if err != nil {
		t.Fatal(err)
	}
	text := string(a.Raw)
	for _, want := range []string{"From: News <news@example.com>\r\n", "Subject: Round trip " + a.ID + "\r\n", "Message-ID: <" + a.MessageID + ">\r\n", "List-Unsubscribe: <https://news.example.com/u/",
		"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", "Feedback-ID: "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if e := a.Envelope; e.To != e.From || !strings.HasPrefix(e.To, "bounce+b1") || e.ENVID == "" {
		t.Errorf("envelope %+v", e)
	}
	b, err := s.Letter(t.Context(), "main", "me@example.jp")
	if err != nil {
		t.Fatal(err)
	}
	if b.Envelope.To != "me@example.jp" || !strings.HasPrefix(b.Envelope.From, "bounce+b1") || a.ID == b.ID || a.MessageID == b.MessageID || a.Envelope.From == b.Envelope.From {
		t.Errorf("%+v\n%+v", a.Envelope, b.Envelope)
	}
	var mistake *UsageError
	if _, err := s.Letter(t.Context(), "main", "nobody"); !errors.As(err, &mistake) {
		t.Errorf("a wrong address: %v", err)
	}
	s.Workspace.Config.Bounces.ReturnPathPattern = ""
	if _, err := s.Letter(t.Context(), "main", ""); !errors.As(err, &mistake) || !strings.Contains(err.Error(), "return_path") {
		t.Errorf("no address: %v", err)
	}
	s.Workspace.Config.Sender.From = ""
	if _, err := s.Letter(t.Context(), "main", "me@example.jp"); !errors.As(err, &mistake) || !strings.Contains(err.Error(), "sender.from") {
		t.Errorf("no sender: %v", err)
	}
}
