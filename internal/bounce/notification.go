package bounce

import (
	"encoding/json"
	"strings"
)

// notification reads what Amazon SES sends by SNS as a mail: JSON in the text, bare or within SNS's own envelope.
// https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html
func (m *mail) notification() (Verdict, bool) {
	for _, text := range m.texts {
		if !strings.Contains(text, `notificationType`) && !strings.Contains(text, `eventType`) {
			continue
		}
		var n sesNotification
		if !decodeSES(text, &n) {
			continue
		}
		m.notified = n
		return n.verdict()
	}
	return Verdict{}, false
}

type sesNotification struct {
	NotificationType string `json:"notificationType"`
	EventType        string `json:"eventType"` // the same word where events are published by a configuration set
	Bounce           struct {
		BounceType        string `json:"bounceType"`
		BouncedRecipients []struct {
			EmailAddress   string `json:"emailAddress"`
			Action         string `json:"action"`
			Status         string `json:"status"`
			DiagnosticCode string `json:"diagnosticCode"`
		} `json:"bouncedRecipients"`
	} `json:"bounce"`
	Mail struct {
		Source  string                         `json:"source"` // the return path that we gave
		Headers []struct{ Name, Value string } `json:"headers"`
	} `json:"mail"`
	Complaint struct {
		ComplainedRecipients []struct {
			EmailAddress string `json:"emailAddress"`
		} `json:"complainedRecipients"`
		ComplaintFeedbackType string `json:"complaintFeedbackType"`
	} `json:"complaint"`
}

// decodeSES decodes the first JSON object of a text. Lines are unfolded first: mail breaks long ones.
func decodeSES(text string, n *sesNotification) bool {
	i := strings.IndexByte(text, '{')
	if i < 0 {
		return false
	}
	object := strings.ReplaceAll(strings.ReplaceAll(text[i:], "\n ", ""), "\n", "")
	var outer struct{ Message string }
	if err := json.NewDecoder(strings.NewReader(object)).Decode(&outer); err != nil {
		return false
	}
	if outer.Message != "" {
		object = outer.Message
	}
	return json.NewDecoder(strings.NewReader(object)).Decode(n) == nil
}

func (n sesNotification) verdict() (Verdict, bool) {
	v := Verdict{Family: "ses"}
	switch n.NotificationType + n.EventType {
	case "Bounce":
		v.Kind = KindBounce
		for _, r := range n.Bounce.BouncedRecipients {
			s := statusRecipient{final: r.EmailAddress, action: r.Action, status: r.Status, diagnostic: r.DiagnosticCode}
			if s.action == "" && n.Bounce.BounceType == "Transient" {
				s.action = ActionFailed
			}
			v.add(s.judge(""))
		}
	case "Complaint":
		v.Kind, v.FeedbackType = KindComplaint, n.Complaint.ComplaintFeedbackType
		if v.FeedbackType == "not-spam" {
			v.Kind = KindOther
		}
		for _, r := range n.Complaint.ComplainedRecipients {
			v.Complainants = append(v.Complainants, addressIn(r.EmailAddress))
		}
	case "Delivery":
		v.Kind = KindDelivered
	default:
		return v, false
	}
	return v, true
}
