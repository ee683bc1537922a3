package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mailer/internal/zone"
)

// TLS is how a connection is protected.
type TLS string

// STARTTLS is required where it is asked for: a server that does not offer it is refused, not spoken to in clear.
const (
	TLSStartTLS TLS = "starttls"
	TLSImplicit TLS = "implicit"
	TLSNone     TLS = "none"
)

// UnmarshalText reads a TLS mode.
func (t *TLS) UnmarshalText(b []byte) error {
	return oneOf(t, string(b), TLSStartTLS, TLSImplicit, TLSNone)
}

// Auth is a SASL mechanism, auto for the best that the relay offers, or none.
type Auth string

// The mechanisms, named as in mailer.yaml.
const (
	AuthAuto        Auth = "auto"
	AuthNone        Auth = "none"
	AuthPlain       Auth = "plain"
	AuthLogin       Auth = "login"
	AuthCRAMMD5     Auth = "cram-md5"
	AuthSCRAMSHA256 Auth = "scram-sha-256"
	AuthXOAUTH2     Auth = "xoauth2"
)

// UnmarshalText reads a mechanism's name.
func (a *Auth) UnmarshalText(b []byte) error {
	return oneOf(a, string(b), AuthAuto, AuthNone, AuthPlain, AuthLogin, AuthCRAMMD5, AuthSCRAMSHA256, AuthXOAUTH2)
}

// Protocol is how the bounce mailbox is read.
type Protocol string

// The last two lie on this machine.
const (
	ProtocolIMAP    Protocol = "imap"
	ProtocolPOP3    Protocol = "pop3"
	ProtocolMaildir Protocol = "maildir"
	ProtocolMbox    Protocol = "mbox"
)

// UnmarshalText reads a protocol.
func (p *Protocol) UnmarshalText(b []byte) error {
	return oneOf(p, string(b), ProtocolIMAP, ProtocolPOP3, ProtocolMaildir, ProtocolMbox)
}

func (p Protocol) local() bool { return p == ProtocolMaildir || p == ProtocolMbox }

// folders reports whether messages can be moved and marked.
func (p Protocol) folders() bool { return p == ProtocolIMAP || p == ProtocolMaildir }

// After is what is done with a mail of the bounce mailbox after it was read.
type After string

// A mail is done with when all that follows from it is in the database.
const (
	AfterMove   After = "move"   // to the folder processed
	AfterFlag   After = "flag"   // marked as seen
	AfterDelete After = "delete" //
	AfterLeave  After = "leave"  // nothing
)

// UnmarshalText reads move, flag, delete or leave.
func (a *After) UnmarshalText(b []byte) error {
	return oneOf(a, string(b), AfterMove, AfterFlag, AfterDelete, AfterLeave)
}

// Folders are names of folders; a single one may stand without brackets.
type Folders []string

// Pipelining says whether RFC 2920 is used where it is offered.
type Pipelining string

// Auto uses it where the relay offers it.
const (
	PipeliningAuto Pipelining = "auto"
	PipeliningOff  Pipelining = "off"
)

// UnmarshalText reads auto or off.
func (p *Pipelining) UnmarshalText(b []byte) error {
	return oneOf(p, string(b), PipeliningAuto, PipeliningOff)
}

// Level is what a failed check does.
type Level string

// An error stops a send, a warning is printed, off says nothing.
const (
	LevelError Level = "error"
	LevelWarn  Level = "warn"
	LevelOff   Level = "off"
)

// UnmarshalText reads a level. The findings themselves say "warning", so that is taken too.
func (l *Level) UnmarshalText(b []byte) error {
	if string(b) == "warning" {
		b = []byte(LevelWarn)
	}
	return oneOf(l, string(b), LevelError, LevelWarn, LevelOff)
}

func oneOf[T ~string](dst *T, text string, allowed ...T) error {
	var names []string
	for _, a := range allowed {
		if text == string(a) {
			*dst = a
			return nil
		}
		names = append(names, string(a))
	}
	return fmt.Errorf("%q is not one of %s", text, strings.Join(names, ", "))
}

var days = regexp.MustCompile(`^(\d+)d`)

// ParseDuration reads what time.ParseDuration reads, and days: 72h, 3d, 1d12h. It must not be negative.
func ParseDuration(s string) (time.Duration, error) {
	rest, whole := s, 0
	if m := days.FindStringSubmatch(s); m != nil {
		whole, _ = strconv.Atoi(m[1])
		rest = s[len(m[0]):]
	}
	var part time.Duration
	var err error
	if rest != "" || whole == 0 {
		part, err = time.ParseDuration(rest)
	}
	const limit = 100 * 365 // a longer time would overflow, and is a slip
	if err != nil || part < 0 || whole > limit {
		if s == "0d" {
			return 0, nil
		}
		return 0, fmt.Errorf("%q is not a time span; write 30s, 15m, 72h or 3d", s)
	}
	return time.Duration(whole)*24*time.Hour + part, nil
}

// formatDuration writes 72h0m0s as 72h.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Percent is a share in percent; 0 is off.
type Percent float64

// UnmarshalText reads 5%, 0.3% or off.
func (p *Percent) UnmarshalText(b []byte) error {
	text := string(b)
	if text == "off" {
		*p = 0
		return nil
	}
	number, ok := strings.CutSuffix(text, "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(n > 0 && n <= 100) { // NaN is neither
		return fmt.Errorf("%q is not a share; write 5%%, 0.3%% or off", text)
	}
	*p = Percent(n)
	return nil
}

// String writes a share as it is read.
func (p Percent) String() string {
	if p == 0 {
		return "off"
	}
	return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%"
}

// Share is the part of one.
func (p Percent) Share() float64 { return float64(p) / 100 }

// Date is a day such as 2026-12-01. Dates compare as texts do.
type Date string

// UnmarshalText reads a day.
func (d *Date) UnmarshalText(b []byte) error {
	if _, err := time.Parse(time.DateOnly, string(b)); err != nil && len(b) > 0 {
		return fmt.Errorf("%q is not a day; write it as 2026-12-01", b)
	}
	*d = Date(b)
	return nil
}

// Curve is a warm-up: one that is known by its name, or the messages of each day.
type Curve struct {
	Name  string
	Steps []int64
}

// IsZero reports whether there is none.
func (c Curve) IsZero() bool { return c.Name == "" && len(c.Steps) == 0 }

// UnmarshalText reads standard, or 50, 100, 200.
func (c *Curve) UnmarshalText(b []byte) error {
	*c = Curve{}
	text := strings.TrimSpace(string(b))
	if text == "" || text[0] > '9' {
		c.Name = text
		return nil
	}
	for one := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseInt(strings.ReplaceAll(strings.TrimSpace(one), "_", ""), 10, 64)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a number of messages; write the days as [50, 100, 200], or the name of a curve", strings.TrimSpace(one))
		}
		c.Steps = append(c.Steps, n)
	}
	return nil
}

// String writes a curve as it is read.
func (c Curve) String() string {
	var days []string
	for _, n := range c.Steps {
		days = append(days, strconv.FormatInt(n, 10))
	}
	return c.Name + strings.Join(days, ", ")
}

// NameServer is the address of a name server, with a port or without.
type NameServer string

// UnmarshalText reads 192.0.2.53, 192.0.2.53:53 or [2001:db8::53]:53.
func (n *NameServer) UnmarshalText(b []byte) error {
	if _, err := zone.Server(string(b)); err != nil {
		return err
	}
	*n = NameServer(b)
	return nil
}
