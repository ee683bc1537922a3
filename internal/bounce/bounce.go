// Package bounce turns any mail of a bounce mailbox, and any reply of a session, into a verdict: what kind of mail it is,
// who was not reached, why, and whether the address itself is dead.
//
// A mail is judged by the first of these that fits: a report of RFC 3464 (delivery status), a report of RFC 5965
// (complaint), a read receipt, a mail to a signed unsubscribe address, one of the plain formats that servers send
// instead of reports (families.go), an automatic reply (RFC 3834), a person's wish to be taken off. Everything else is
// ordinary mail.
//
// The worst error is a false hard bounce: it takes a good address off the list for ever. So a text is searched only
// where a server wrote it, never in the returned message; codes that contradict each other are soft; and what is about
// our host, our domain or the content is never held against an address.
package bounce

import (
	"mailer/internal/delivery"
)

// Kinds of mail.
const (
	KindBounce      = "bounce"
	KindComplaint   = "complaint"
	KindAutoreply   = "autoreply"
	KindDelivered   = "delivered" // a positive report: delivered, relayed, expanded
	KindUnsubscribe = "unsubscribe"
	KindOther       = "not-a-bounce"
)

// Details of a kind.
const (
	DetailDelay     = "delay"     // a bounce that is only a warning: the message is still on its way
	DetailVacation  = "vacation"  // an automatic reply: somebody is away
	DetailAnswer    = "answer"    // an automatic reply of some other sort: a ticket was opened, and the like
	DetailReceipt   = "receipt"   // an automatic reply: the mail was read, or deleted unread (RFC 8098)
	DetailChallenge = "challenge" // an automatic reply: the sender is asked to prove that he is a person
	DetailRemoval   = "removal"   // no bounce: somebody asks in his own words to be taken off; a person decides
)

// Actions of a report about one recipient (RFC 3464 section 2.3.3), as far as they stand in a verdict's bounces.
const (
	ActionFailed  = "failed"
	ActionDelayed = "delayed" // a warning: the message is still on its way
)

// Verdict is what a mail means.
type Verdict struct {
	Kind         string      `json:"kind"`
	Bounces      []Recipient `json:"bounces,omitempty"`
	Complainants []string    `json:"complainants,omitempty"`
	FeedbackType string      `json:"feedback_type,omitempty"`
	Detail       string      `json:"detail,omitempty"` // what it is more exactly, where the kind leaves that open
	Sender       string      `json:"sender,omitempty"` // who asks, for DetailRemoval and KindUnsubscribe; anybody can write anything there
	Family       string      `json:"family,omitempty"` // the format it was read by
	MessageID    string      `json:"message_id,omitempty"`
	Tokens       []Token     `json:"tokens,omitempty"` // token-shaped strings where ours would stand, the surest place first; unverified
}

// Recipient is one address that was not reached.
type Recipient struct {
	Recipient string `json:"recipient"`
	Status    string `json:"status"` // enhanced code, "" when the mail gives none
	Reply     string `json:"reply"`  // basic code, "" when the mail gives none
	Reason    string `json:"reason"`
	Hard      bool   `json:"hard"`
	Action    string `json:"action"` // failed or delayed
	Scope     string `json:"scope"`
	Text      string `json:"text,omitempty"` // what the server said
}

// Token is a token-shaped string and where it stood.
type Token struct {
	Text  string             `json:"text"`
	Where string             `json:"where"`
	Kind  delivery.TokenKind `json:"-"`
}

// Where tokens are looked for. The words are those of the bounces table.
const (
	WhereReturnPath  = "return_path"
	WhereEnvelopeID  = "envid"
	WhereMessageID   = "message_id"
	WhereUnsubscribe = "unsubscribe"
)
