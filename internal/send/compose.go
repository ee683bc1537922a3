package send

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mailer/internal/address"
	"mailer/internal/bounce"
	"mailer/internal/campaign"
	"mailer/internal/config"
	"mailer/internal/delivery"
	"mailer/internal/message"
	"mailer/internal/relay"
	"mailer/internal/store"
)

// composer makes the bytes of a message and its envelope. It is safe for concurrent use.
type composer struct {
	template *message.Template
	tokens   *delivery.Signer
	bounces  config.Bounces
	sender   config.Sender
	domain   string // of the From address: Message-IDs are made in it
	now      func() time.Time
}

func (s *Sender) composer(ctx context.Context, p *Plan) (*composer, error) {
	signers, err := s.signers()
	if err != nil {
		return nil, err
	}
	t, err := message.Compile(p.Content, signers)
	if err != nil {
		return nil, err
	}
	t.SetFiles(workspaceFiles(s.Workspace.Dir))
	keys, err := s.Store.TokenKeys(ctx)
	if err != nil {
		return nil, err
	}
	conf := s.Workspace.Config
	return &composer{template: t, tokens: keys.Signer(), bounces: conf.Bounces, sender: conf.Sender, domain: fromDomain(p.Content), now: s.Now}, nil
}

// workspaceFiles are the files of a workspace. What a link or a path leads to outside it is not among them.
type workspaceFiles string

func (w workspaceFiles) Open(name string) (fs.File, error) {
	return os.OpenInRoot(string(w), filepath.FromSlash(name))
}

// Stat opens nothing: a named pipe would wait for its writer.
func (w workspaceFiles) Stat(name string) (fs.FileInfo, error) {
	root, err := os.OpenRoot(string(w))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Stat(filepath.FromSlash(name))
}

// fromDomain is the domain that the campaign is sent from; Message-IDs are made in it, because it is ours.
func fromDomain(c campaign.Content) string {
	from := c.Sender.From
	if len(c.Variants) > 0 && c.Variants[0].Front.From != "" {
		from = c.Variants[0].Front.From
	}
	if a, err := address.Parse(from); err == nil {
		return a.Domain()
	}
	return "localhost.invalid" // the check before sending refuses such a From
}

// compose makes one message, or decides that it cannot be made.
func (c *composer) compose(d store.Due) *outgoing {
	out := &outgoing{due: d}
	if d.Gone {
		out.why = "the contact was removed after the audience was frozen"
		out.verdict = &delivery.Decision{State: delivery.Excluded, Reason: "contact removed"}
		return out
	}
	mark := c.mark(d.ID)
	m, err := c.template.Compose(message.Recipient{Address: d.Address, Values: d.Values}, mark)
	if err != nil {
		out.why = err.Error()
		out.verdict = &delivery.Decision{State: delivery.Failed, Reason: "compose"}
		return out
	}
	out.messageID, out.sender = mark.MessageID, m.From
	out.message = relay.Message{Envelope: c.envelope(d.ID, d.Address, m), Raw: m.Raw}
	return out
}

// render fills in a recipient.
func (c *composer) render(id int64, to string, values map[string]string) (message.Message, message.Mark, error) {
	mark := c.mark(id)
	m, err := c.template.Render(message.Recipient{Address: to, Values: values}, mark)
	return m, mark, err
}

// mark makes what is a delivery's own. Its tokens are the same over all attempts: greylisting wants the same envelope
// back, and receivers that de-duplicate do it by Message-ID.
func (c *composer) mark(id int64) message.Mark {
	unsubscribe := c.tokens.Sign(delivery.TokenUnsubscribe, id)
	m := message.Mark{
		MessageID:         c.tokens.Sign(delivery.TokenMessageID, id) + "@" + c.domain,
		UnsubscribeMailto: c.mailto(unsubscribe),
		Date:              c.now(),
	}
	if c.sender.UnsubscribeURL != "" {
		m.UnsubscribeURL = strings.TrimSuffix(c.sender.UnsubscribeURL, "/") + "/u/" + unsubscribe
	}
	return m
}

// mailto is where a mail program sends the wish to be left alone. The token stands in the address where the mailbox
// allows it, else in the subject.
func (c *composer) mailto(token string) string {
	to := c.sender.UnsubscribeMailto
	if to == "" {
		to = c.bounces.ReturnPathPattern
	}
	if to == "" {
		return ""
	}
	// RFC 6068: "+" needs no escape in the address, and a space in a header value is %20. A token needs none anywhere.
	if !strings.Contains(to, "{token}") {
		return "mailto:" + escapeAddress(to) + "?subject=unsubscribe%20" + token
	}
	return "mailto:" + escapeAddress(strings.ReplaceAll(to, "{token}", token)) + "?subject=unsubscribe"
}

// escapeAddress escapes what RFC 6068 section 2 does not let stand in an address, all beyond ASCII with it.
func escapeAddress(to string) string {
	plain := func(c byte) bool {
		return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("-._~!$'*+@", c) >= 0
	}
	i := 0
	for i < len(to) && plain(to[i]) {
		i++
	}
	if i == len(to) {
		return to
	}
	var b strings.Builder
	for i := range len(to) {
		if c := to[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (c *composer) envelope(id int64, to string, m message.Message) relay.Envelope {
	token := c.tokens.Sign(delivery.TokenBounce, id)
	from := c.bounces.ReturnPath(token)
	if from == "" {
		from = m.From
	}
	if !ascii(from) {
		if parsed, err := address.Parse(from); err == nil {
			from = parsed.Text // a domain in ASCII needs no SMTPUTF8
		}
	}
	a := address.Wire(to)
	return relay.Envelope{From: address.Wire(from), To: a, ENVID: token, SMTPUTF8: m.SMTPUTF8 || !ascii(from) || !ascii(a)}
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// trial is a delivery id for messages that belong to no delivery (tests): beyond all real ones, and never twice, because
// some providers drop a second message with the same Message-ID.
func trial() int64 { return 1<<62 | rand.Int64N(1<<61) }

// signers reads the DKIM keys.
func (s *Sender) signers() ([]message.Signer, error) {
	var all []message.Signer
	for _, k := range s.Workspace.Config.DKIM {
		key, err := s.Workspace.SigningKey(k)
		if err != nil {
			return nil, err
		}
		all = append(all, message.Signer{Domain: k.Domain, Selector: k.Selector, Key: key})
	}
	return all, nil
}

// server is how the relay of a configuration is talked to.
func (s *Sender) server(r config.Relay) (relay.Server, error) {
	roots, err := s.Workspace.RootCAs(r.CAFile)
	if err != nil {
		return relay.Server{}, err
	}
	t := relay.DefaultTimeouts
	t.Connect = min(t.Connect, r.Timeout)
	// The wait after the final dot is never shortened: that makes duplicates.
	t.Command, t.Data, t.Block = r.Timeout, r.Timeout, r.Timeout
	server := relay.Server{
		Name: r.Name, Host: r.Host, Port: r.Port, TLS: relay.TLS(r.TLS), Insecure: r.Insecure, RootCAs: roots, Auth: string(r.Auth),
		Username: r.Username, Hello: r.Hello, Pipelining: r.Pipelining != config.PipeliningOff,
		PerConn: r.MessagesPerConnection, Timeouts: t, Net: s.net,
	}
	if !r.Secret.IsZero() {
		server.Password = func(ctx context.Context) (string, error) { return r.Secret.Resolve(ctx, s.Workspace.Dir) }
	}
	return server, nil
}

// judge asks the classifier of bounces what a refusal during the session means.
func judge(a delivery.Attempt, domain string) delivery.Judgement {
	if a.Reply.Code/100 != 4 && a.Reply.Code/100 != 5 {
		return delivery.Judgement{}
	}
	c := bounce.Classify(bounce.Reply{Code: a.Reply.Code, Enhanced: a.Reply.Enhanced, Text: a.Reply.Text, Phase: string(a.Phase)}, domain)
	return delivery.Judgement{Reason: c.Reason, Hard: c.Hard, Ours: ours(c.Scope), Slow: a.Reply.Code/100 == 4 && (c.Action == bounce.DoThrottle || ours(c.Scope))}
}

// ours reports whether a refusal is about us: then it says nothing about the address.
func ours(scope string) bool {
	switch scope {
	case "our_host", "our_domain", "relay":
		return true
	}
	return false
}
