package send

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"mailer/internal/address"
	"mailer/internal/campaign"
	"mailer/internal/config"
	"mailer/internal/message"
	"mailer/internal/relay"
)

// RelayFindings is what a test of a relay found out. What it did not reach is zero.
type RelayFindings struct {
	Relay       string        `json:"relay"`
	Host        string        `json:"host"`
	Port        int           `json:"port"`
	Address     string        `json:"address"`
	Banner      string        `json:"banner"`
	TLS         bool          `json:"tls"`
	TLSMode     string        `json:"tls_mode"`
	TLSVersion  string        `json:"tls_version"`
	Cipher      string        `json:"cipher"`
	Certificate *Certificate  `json:"certificate"` // null in clear
	Resumed     bool          `json:"resumed"`     // the second connection went on with the TLS session of the first
	Hello       string        `json:"hello"`
	Offers      []string      `json:"offers"` // as in the reply to EHLO
	Size        int64         `json:"size"`   // largest message; 0: no limit is told
	MailMax     int           `json:"mail_max"`
	RcptMax     int           `json:"rcpt_max"`
	DomainMax   int           `json:"rcpt_domain_max"`
	Pipelining  bool          `json:"pipelining"` // offered, and used
	Login       string        `json:"login"`      // the mechanism; empty: none
	RoundTrip   float64       `json:"round_trip_ms"`
	Again       float64       `json:"connection_ms"` // until one more connection was ready for mail
	Connections int           `json:"connections"`   // as configured
	PerSecond   float64       `json:"expected_per_second"`
	Bound       string        `json:"bound_by"` // relay, rates, signing, machine
	Seconds     float64       `json:"seconds_for_10000"`
	Warnings    []relay.Doubt `json:"warnings"`
	Message     *Trial        `json:"message"` // of --to
	OK          bool          `json:"ok"`
	Error       string        `json:"error,omitempty"`

	trips   int // a message
	used    int // connections
	signing time.Duration
}

// Certificate is what the relay shows of itself.
type Certificate struct {
	Names    []string  `json:"names"`
	Issuer   string    `json:"issuer"`
	Expires  time.Time `json:"expires"`
	DaysLeft int       `json:"days_left"`
}

// TestRelay connects to a relay as a send would, and measures it. With an address it sends one message there. tell hears
// each step. The findings are filled in as far as it came, whatever the error.
func (s *Sender) TestRelay(ctx context.Context, way config.Relay, to string, tell func(relay.Step)) (RelayFindings, error) {
	f := RelayFindings{Relay: way.Name, Host: way.Host, Port: way.Port, TLSMode: string(way.TLS), Connections: way.Connections,
		Offers: []string{}, Warnings: []relay.Doubt{}}
	err := s.testRelay(ctx, way, to, tell, &f)
	if f.OK = err == nil && (f.Message == nil || f.Message.Accepted); err != nil {
		f.Error = err.Error()
	}
	return f, err
}

func (s *Sender) testRelay(ctx context.Context, way config.Relay, to string, tell func(relay.Step), f *RelayFindings) error {
	var letter *rehearsal
	if to != "" {
		a, err := address.Parse(to)
		if err != nil {
			return &UsageError{fmt.Sprintf("--to: %v", err)}
		}
		// Before the relay is called: a message that cannot be made is no matter of its.
		if letter, err = s.rehearse(ctx, way.Name, a.Text); err != nil {
			return err
		}
	}
	server, err := s.server(way)
	if err != nil {
		return err
	}
	if f.signing, err = s.signingTime(); err != nil {
		return err
	}
	dialer := relay.NewDialer(server)
	profile, conn, err := dialer.Probe(ctx, tell)
	f.note(profile, s.Now())
	if err != nil {
		return err
	}
	defer conn.Close()
	f.Warnings = profile.Doubts(relay.Use{Connections: way.Connections, Hello: way.Hello}, s.Now())
	f.expect(profile, way)
	if letter == nil {
		return nil
	}
	stop := context.AfterFunc(ctx, conn.Abort)
	defer stop()
	sent := letter.send(ctx, conn)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.Message = &sent
	if what := dialer.Shortfall(); what != "" {
		f.Warnings = append(f.Warnings, relay.Doubt{Rule: "pipelining", Text: "the relay offers PIPELINING, but " + what + ": set pipelining: off"})
	}
	return nil
}

// note takes over what a probe found out.
func (f *RelayFindings) note(p relay.Profile, now time.Time) {
	f.Address, f.Banner, f.Hello, f.Login = p.Address, p.Banner, p.Hello, p.Login
	f.Size, f.MailMax, f.RcptMax, f.DomainMax, f.Pipelining = p.Size, p.Limits.MailMax, p.Limits.RcptMax, p.Limits.RcptDomainMax, p.Pipelined
	f.RoundTrip, f.Again, f.Resumed = millis(p.RoundTrip), millis(p.Again), p.Resumed
	for _, o := range p.Offers {
		f.Offers = append(f.Offers, strings.TrimSpace(o.Name+" "+o.Param))
	}
	if sec := p.Security; sec != nil {
		f.TLS, f.TLSVersion, f.Cipher = true, sec.Version, sec.Cipher
		f.Certificate = &Certificate{Names: sec.Names, Issuer: sec.Issuer, Expires: sec.Expires, DaysLeft: daysLeft(sec.Expires, now)}
	}
}

func millis(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Millisecond)*1000) / 1000
}

func daysLeft(expires, now time.Time) int { return int(expires.Sub(now) / (24 * time.Hour)) }

// machineRate is about what reading, rendering and recording 14 KB allow on two cores, without signing: `make bench BENCH=SendWhole`.
const machineRate = 10_000

// expectedFor is the number of messages that a forecast is for.
const expectedFor = 10_000

// expect says how fast a send would be at best, and what holds it up.
func (f *RelayFindings) expect(p relay.Profile, way config.Relay) {
	f.trips, f.used = 1, way.Connections
	if !p.Pipelined {
		f.trips = relay.StepwiseTrips
	}
	if p.AgainErr != nil {
		f.used = 1
	}
	each := p.RoundTrip * time.Duration(f.trips)
	var dialling time.Duration // of each message's share
	for _, share := range []int{way.MessagesPerConnection, p.Limits.MailMax} {
		if share > 0 {
			dialling = max(dialling, p.Again/time.Duration(share))
		}
	}
	rate, bound := float64(f.used)/max(each+dialling, time.Microsecond).Seconds(), "relay"
	if f.signing > 0 {
		if signed := float64(runtime.GOMAXPROCS(0)) / f.signing.Seconds(); signed < rate {
			rate, bound = signed, "signing"
		}
	}
	if rate > machineRate {
		rate, bound = machineRate, "machine"
	}
	took := time.Duration(expectedFor / rate * float64(time.Second))
	if least := leastTime(way.Rates, expectedFor); least > took {
		took, bound = least, "rates"
	}
	f.Bound, f.Seconds, f.PerSecond = bound, round(took.Seconds()), round(expectedFor/took.Seconds())
}

// round keeps three digits or the whole number: the rest would be no knowledge.
func round(x float64) float64 {
	if x <= 0 {
		return 0
	}
	scale := math.Pow(10, max(0, 2-math.Floor(math.Log10(x))))
	return math.Round(x*scale) / scale
}

// Expectation is the forecast in words.
func (f RelayFindings) Expectation() string {
	trips := "one round trip a message"
	if f.trips > 1 {
		trips = fmt.Sprintf("%d round trips a message", f.trips)
	}
	connections := "1 connection"
	if f.used != 1 {
		connections = fmt.Sprintf("%d connections", f.used)
	}
	why := map[string]string{"relay": connections + " and " + trips, "rates": "the configured rates", "signing": "making the DKIM signatures",
		"machine": "this machine, not by the relay"}[f.Bound]
	return fmt.Sprintf("at most %g messages a second, 10,000 in %s; bounded by %s", f.PerSecond, inWords(f.Seconds), why)
}

func inWords(seconds float64) time.Duration {
	d := time.Duration(seconds * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

// rehearsal is a message that belongs to no campaign.
type rehearsal struct {
	message relay.Message
	trial   Trial
}

const rehearsalText = `---
subject: Test message through relay {{.relay}}
class: operational
---
This is a test message of mailer, sent through the relay {{.relay}}.

When you can read it, the relay takes your mail. Look at its headers: SPF and DKIM should say pass.
`

// rehearse makes a test message from the workspace's sender, signed as a campaign's would be.
func (s *Sender) rehearse(ctx context.Context, name, to string) (*rehearsal, error) {
	content, err := s.rehearsalContent()
	if err != nil {
		return nil, err
	}
	c, err := s.composer(ctx, &Plan{Name: content.ID, Content: content})
	if err != nil {
		return nil, err
	}
	id := trial()
	m, mark, err := c.render(id, to, map[string]string{"relay": name})
	if err != nil {
		return nil, err
	}
	return &rehearsal{relay.Message{Envelope: c.envelope(id, to, m), Raw: m.Raw}, Trial{Address: to, Relay: name, MessageID: mark.MessageID}}, nil
}

func (s *Sender) rehearsalContent() (campaign.Content, error) {
	if s.Workspace.Config.Sender.From == "" {
		return campaign.Content{}, &UsageError{"the message needs a sender: set sender.from in mailer.yaml"}
	}
	d, err := campaign.Parse("relay-test.txt", []byte(rehearsalText))
	if err != nil {
		return campaign.Content{}, err
	}
	return s.content(&campaign.Campaign{ID: "relay-test", Class: campaign.Operational, Document: d, Variants: []campaign.Document{d}})
}

func (r *rehearsal) send(ctx context.Context, conn *relay.Conn) Trial {
	a := conn.SendAlone(ctx, &r.message)
	t := r.trial
	t.Accepted, t.Phase, t.Reply = a.Accepted(), string(a.Phase), said(a)
	return t
}

// signingTime is how long one message takes to be composed and signed on one core; 0 when nothing is signed.
func (s *Sender) signingTime() (time.Duration, error) {
	signers, err := s.signers()
	if err != nil || len(signers) == 0 || s.Workspace.Config.Sender.From == "" {
		return 0, err
	}
	content, err := s.rehearsalContent()
	if err != nil {
		return 0, err
	}
	t, err := message.Compile(content, signers)
	if err != nil {
		return 0, err
	}
	var all []time.Duration
	for range 5 {
		began := time.Now()
		if _, err := t.Compose(message.Recipient{Address: "someone@example.com", Values: map[string]string{"relay": "x"}}, message.Mark{MessageID: "x@example.com", Date: s.Now()}); err != nil {
			return 0, err
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}
