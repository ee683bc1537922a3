package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"mailer/internal/delivery"
)

// Step is one thing that a probe did, for showing it as it happens. Text may hold words of the relay's.
type Step struct {
	Name string // connect, tls, greeting, offers, login, round trip, again
	Text string
	Took time.Duration // since the step before
	Err  error         // it did not succeed
}

// Profile is what a probe found out about a relay; what it did not reach is zero.
type Profile struct {
	Address   string // that the host's name led to, with the port
	Loopback  bool   // it is on this machine
	Banner    string
	Greeting  string    // what it calls itself in the reply to EHLO
	Hello     string    // the name we gave
	Security  *Security // nil: in clear
	Offers    []Offer
	Pipelined bool   // PIPELINING is offered, and used
	Size      int64  // of a message, in bytes; 0: no limit is told
	Limits    Limits // LIMITS
	Login     string // the mechanism; empty: no login
	RoundTrip time.Duration
	Again     time.Duration // how long one more connection took, until it could carry mail
	Resumed   bool          // its TLS session was resumed
	AgainErr  error         // why there was no second connection
}

// Security is how a connection is encrypted, and by whose certificate.
type Security struct {
	Version string
	Cipher  string
	Names   []string
	Issuer  string
	Expires time.Time
	Doubt   error // what is wrong with the certificate, when the configuration does not ask
}

// Offer is a keyword of the reply to EHLO.
type Offer struct{ Name, Param string }

// Offered reports whether a keyword is among the offers.
func (p Profile) Offered(name string) bool {
	return slices.ContainsFunc(p.Offers, func(o Offer) bool { return o.Name == name })
}

// probed are the keywords that a probe asks for: those we use, and those that say what a relay is.
var probed = []string{"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "LIMITS", "CHUNKING", "BINARYMIME", "REQUIRETLS", "AUTH"}

// roundTrips is how many are measured. Servers count commands that do nothing and slow down clients that send many:
// Postfix after 100, Sendmail after 20.
const roundTrips = 5

// Probe connects as a send would, tells each step, and measures. The connection is ready for mail; Close it. On an error
// the profile holds what was found out until then.
func (d *Dialer) Probe(ctx context.Context, tell func(Step)) (Profile, *Conn, error) {
	var p Profile
	t := &trace{profile: &p, tell: tell, last: time.Now()}
	conn, err := d.dial(ctx, t)
	if err == nil {
		if err = d.measure(ctx, conn, t); err != nil {
			conn.Close()
		}
	}
	if err == nil {
		return p, conn, nil
	}
	if ctx.Err() != nil {
		return p, nil, ctx.Err()
	}
	t.failed(err)
	return p, nil, err
}

// measure takes the round trip, and how long one more connection takes.
func (d *Dialer) measure(ctx context.Context, c *Conn, t *trace) error {
	stop := context.AfterFunc(ctx, c.Abort)
	defer stop()
	var err error
	if t.profile.RoundTrip, err = c.roundTrip(roundTrips); err != nil {
		return &DialError{Server: d.addr, Phase: delivery.PhaseHello, Err: err}
	}
	t.step("round trip", fmt.Sprintf("%s (median of %d)", t.profile.RoundTrip.Round(10*time.Microsecond), roundTrips))
	began := time.Now()
	again, err := d.dial(ctx, nil)
	if err != nil && ctx.Err() == nil {
		// The first one stands; the relay may allow no more.
		t.profile.AgainErr = err
		t.tell(Step{Name: "again", Took: time.Since(began), Err: err})
		return nil
	}
	if err != nil {
		return err
	}
	t.profile.Again = time.Since(began)
	text := "a second connection was ready for mail"
	if state, ok := again.tlsState(); ok {
		t.profile.Resumed = state.DidResume
		text += map[bool]string{true: ", its TLS session resumed", false: ", its TLS session made anew"}[state.DidResume]
	}
	t.step("again", text)
	again.Close() // whatever it says to QUIT
	return nil
}

// roundTrip is the median of n commands and their replies.
func (c *Conn) roundTrip(n int) (time.Duration, error) {
	var all []time.Duration
	for range n {
		began := time.Now()
		c.say("RSET\r\n", c.server.Timeouts.Command)
		if !c.Usable() {
			return 0, errors.New("the relay does not answer RSET as it should")
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[n/2], nil
}

// tlsState is the TLS side of the connection, when it has one.
func (c *Conn) tlsState() (tls.ConnectionState, bool) {
	if secured, ok := c.raw.(*tls.Conn); ok {
		return secured.ConnectionState(), true
	}
	return c.client.TLSConnectionState()
}

// trace notes what a dial finds out. A nil trace notes nothing.
type trace struct {
	profile *Profile
	tell    func(Step)
	last    time.Time
}

func (t *trace) step(name, text string) {
	now := time.Now()
	t.tell(Step{Name: name, Text: text, Took: now.Sub(t.last)})
	t.last = now
}

// failed tells the step at which a dial ended.
func (t *trace) failed(err error) {
	name := "connect"
	var de *DialError
	if errors.As(err, &de) {
		name = map[delivery.Phase]string{delivery.PhaseConnect: "connect", delivery.PhaseHello: "greeting", delivery.PhaseStartTLS: "tls",
			delivery.PhaseAuth: "login"}[de.Phase]
	}
	t.tell(Step{Name: name, Took: time.Since(t.last), Err: err})
}

func (t *trace) connected(host string, raw net.Conn) {
	if t == nil {
		return
	}
	t.profile.Address, t.profile.Loopback = raw.RemoteAddr().String(), loopback(raw)
	t.step("connect", fmt.Sprintf("%s is %s", host, t.profile.Address))
}

// hearing makes a connection whose first line is kept: go-mail reads the banner and throws it away.
func (t *trace) hearing(raw net.Conn) net.Conn {
	if t == nil {
		return raw
	}
	return &hearing{Conn: raw, profile: t.profile}
}

func (t *trace) greeted(c *Conn, hello string) {
	if t == nil {
		return
	}
	t.profile.Hello, t.profile.Greeting = hello, c.client.HelloResponse()
	t.step("greeting", fmt.Sprintf("%s; we said EHLO %s", t.profile.Banner, hello))
}

func (t *trace) secured(c *Conn) {
	if t == nil {
		return
	}
	state, ok := c.tlsState()
	if !ok || len(state.PeerCertificates) == 0 {
		return
	}
	leaf := state.PeerCertificates[0]
	s := &Security{Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite), Names: certificateNames(leaf),
		Issuer: issuer(leaf), Expires: leaf.NotAfter}
	if c.server.Insecure {
		s.Doubt = verify(state, c.server)
	}
	t.profile.Security = s
	t.step("tls", fmt.Sprintf("%s, %s; certificate for %s, issued by %s, until %s", s.Version, s.Cipher, someOf(s.Names), s.Issuer,
		s.Expires.Format("2006-01-02")))
}

// verify says what tls would, had it been asked.
func verify(state tls.ConnectionState, s Server) error {
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: s.Host, Roots: s.RootCAs, Intermediates: between})
	return err
}

// certificateNames are those that a certificate is for.
func certificateNames(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		names = []string{c.Subject.CommonName}
	}
	return names
}

// someOf lists names for a line of text: some certificates are for a hundred.
func someOf(names []string) string {
	const most = 3
	if len(names) > most {
		return fmt.Sprintf("%s and %d more names", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

func issuer(c *x509.Certificate) string {
	if len(c.Issuer.Organization) > 0 {
		return strings.TrimSpace(c.Issuer.CommonName + " (" + c.Issuer.Organization[0] + ")")
	}
	return c.Issuer.CommonName
}

func (t *trace) loggedIn(mechanism, username string) {
	if t == nil {
		return
	}
	t.profile.Login = mechanism
	t.step("login", fmt.Sprintf("as %s, by %s", username, mechanism))
}

// offered notes what the last EHLO said.
func (t *trace) offered(c *Conn) {
	if t == nil {
		return
	}
	var words []string
	for _, name := range probed {
		ok, param := c.client.Extension(name)
		if !ok {
			continue
		}
		o := Offer{Name: name, Param: strings.TrimSpace(param)}
		t.profile.Offers = append(t.profile.Offers, o)
		words = append(words, o.String())
	}
	t.profile.Size, t.profile.Limits, t.profile.Pipelined = c.sizeLimit, c.limits, c.pipelining
	if len(words) == 0 {
		words = []string{"nothing"}
	}
	t.step("offers", strings.Join(words, ", "))
}

// String is an offer as people read it.
func (o Offer) String() string {
	if o.Name == "SIZE" {
		n := parseSize(o.Param)
		if n == 0 {
			return "SIZE without a limit"
		}
		return "SIZE up to " + humanSize(n)
	}
	return strings.TrimSpace(o.Name + " " + o.Param)
}

// humanSize is a number of bytes as people say it, in powers of 1024, as servers are configured.
func humanSize(n int64) string {
	switch f := float64(n); {
	case f >= 1<<20:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", f/(1<<20)), ".0") + " MB"
	case f >= 1<<10:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", f/(1<<10)), ".0") + " KB"
	}
	return fmt.Sprintf("%d bytes", n)
}

// hearing keeps the first line that comes.
type hearing struct {
	net.Conn
	profile *Profile
	line    []byte
	done    bool
}

func (h *hearing) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if !h.done {
		line, _, end := bytes.Cut(b[:n], []byte("\n"))
		h.line = append(h.line, line...)
		h.profile.Banner, h.done = strings.TrimSpace(string(h.line)), end || len(h.line) >= replyBytes
	}
	return n, err
}
