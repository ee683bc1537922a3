// Package config finds a workspace and reads its mailer.yaml.
//
// What is in force for a key is the first of: a flag, an environment variable, the file, the default. Every key
// can be set by a variable named after its path: MAILER_ and the path in capitals, joined by underscores, every
// other character than a letter or digit an underscore too. relays.main.host is MAILER_RELAYS_MAIN_HOST,
// dkim.0.key_file is MAILER_DKIM_0_KEY_FILE; a list of plain values is written with commas between them, one of hours
// with semicolons. Relays, lanes and DKIM keys must be named in the file first: a variable changes an entry, it does not make one.
//
// The file is read strictly. An unknown key, a key given twice, a wrong type and a value that cannot be right are
// all reported at once, each with its line and column. Rules that hang on what a command is about to do (a sender
// address, a bounce mailbox) belong to that command.
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"
	_ "time/tzdata" // Windows and bare containers have no zone files

	"mailer/internal/address"
	"mailer/internal/pace"
	"mailer/internal/provider"
	"mailer/internal/spelling"
)

// FileName is the file that makes a folder a workspace.
const FileName = "mailer.yaml"

// DatabaseName is the database's file in a workspace.
const DatabaseName = "mailer.db"

// A Workspace is a folder with its configuration.
type Workspace struct {
	Dir      string // absolute
	Path     string // of mailer.yaml
	Config   Config
	Warnings []*Error // what is allowed and still worth a word

	sources map[string]Source
}

// Config is mailer.yaml, with the defaults filled in.
type Config struct {
	Sender   Sender          `yaml:"sender"`
	Timezone string          `yaml:"timezone"`
	Expires  time.Duration   `yaml:"expires"` // how long deferred mail of a campaign is retried
	Retry    []time.Duration `yaml:"retry"`   // waits after a 4xx; the last one repeats
	Rates    []pace.Rate     `yaml:"rates"`   // of all mail, whatever the relay
	Relays   Relays          `yaml:"relays"`
	DKIM     []DKIM          `yaml:"dkim"`
	Bounces  Bounces         `yaml:"bounces"`
	Cleaning Cleaning        `yaml:"cleaning"`
	Domains  Lanes           `yaml:"domains"`
	Breaking Breaking        `yaml:"breakers"`
	Opening  Opening         `yaml:"hours"`
	DNS      DNS             `yaml:"dns"`
	Checks   Checks          `yaml:"checks"`

	Disposable Disposable `yaml:"disposable"`
}

// Disposable is what is put on the list of domains that give out mailboxes to throw away, and taken off it.
type Disposable struct {
	Add    []string `yaml:"add"`
	Except []string `yaml:"except"`
}

// Disposables are the built-in list with what the file says over it.
func (c Config) Disposables() address.Disposables {
	return address.Disposables{Add: canonical(c.Disposable.Add), Except: canonical(c.Disposable.Except)}
}

func canonical(domains []string) []string {
	var all []string
	for _, d := range domains {
		all = append(all, provider.Canonical(d))
	}
	return all
}

// Sender is who the mail is from, and what the law wants said about them.
type Sender struct {
	From              string `yaml:"from"`
	ReplyTo           string `yaml:"reply_to"`
	Organization      string `yaml:"organization"`
	PostalAddress     string `yaml:"postal_address"`
	UnsubscribeURL    string `yaml:"unsubscribe_url"`
	UnsubscribeMailto string `yaml:"unsubscribe_mailto"` // an address, fixed or with {token}; empty: the return path

	Identities Identities `yaml:"identities"` // other senders, by the name that from: of a campaign may have
}

// Identities are in the order of the file.
type Identities []Identity

// Identity is another sender. What it does not say is the sender's, but answers go to its own address.
type Identity struct {
	Name          string `yaml:",key"`
	From          string `yaml:"from"`
	ReplyTo       string `yaml:"reply_to"`
	Organization  string `yaml:"organization"`
	PostalAddress string `yaml:"postal_address"`
}

// Relays are in the order of the file. They share a campaign by their weights, unless one is named.
type Relays []Relay

// Relay is one SMTP submission server.
type Relay struct {
	Name                  string        `yaml:",key"`
	Host                  string        `yaml:"host"`
	Port                  int           `yaml:"port"`
	TLS                   TLS           `yaml:"tls"`
	Insecure              bool          `yaml:"insecure"` // allows tls: none to another machine, and an unknown certificate
	CAFile                string        `yaml:"ca_file"`  // trusted beside the system's own, for a private CA
	Auth                  Auth          `yaml:"auth"`
	Username              string        `yaml:"username"`
	Secret                Secret        `yaml:",inline"`
	Hello                 string        `yaml:"hello"` // name in EHLO; empty: this host's own
	Connections           int           `yaml:"connections"`
	MessagesPerConnection int           `yaml:"messages_per_connection"` // 0: no limit
	Rates                 []pace.Rate   `yaml:"rates"`
	Pipelining            Pipelining    `yaml:"pipelining"`
	Weight                int           `yaml:"weight"`  // its share; 0: only when it is named, or a route leads to it
	Standby               bool          `yaml:"standby"` // only when no other can
	For                   []string      `yaml:"for"`     // recipient domains and providers that it carries; empty: all
	From                  []string      `yaml:"from"`    // domains and addresses of From that it carries; empty: all
	Direct                bool          `yaml:"direct"`  // it delivers to the receiving servers itself
	Warmup                Warmup        `yaml:"warmup"`
	Timeout               time.Duration `yaml:"timeout"` // for connecting, and for one answer of the relay
}

// DKIM is a key that signs mail whose From is in the domain.
type DKIM struct {
	Domain   string `yaml:"domain"`
	Selector string `yaml:"selector"`
	KeyFile  string `yaml:"key_file"`
}

// Bounces says where failed mail comes back to.
type Bounces struct {
	ReturnPathPattern string        `yaml:"return_path"`
	Mailbox           Mailbox       `yaml:"mailbox"`
	Retention         time.Duration `yaml:"retention"` // how long the mails themselves are kept; 0: for ever
}

// Mailbox is where bounces are read from.
type Mailbox struct {
	Protocol  Protocol      `yaml:"protocol"`
	Host      string        `yaml:"host"`
	Port      int           `yaml:"port"`
	TLS       TLS           `yaml:"tls"`
	Insecure  bool          `yaml:"insecure"`
	CAFile    string        `yaml:"ca_file"`
	Auth      Auth          `yaml:"auth"` // auto, plain, login or xoauth2, whose password is an access token
	Username  string        `yaml:"username"`
	Secret    Secret        `yaml:",inline"`
	Path      string        `yaml:"path"`      // of a Maildir or an mbox
	Folder    Folders       `yaml:"folder"`    // one or more
	After     After         `yaml:"after"`     // what is done with a mail that was read; default: move where that can be done
	Processed string        `yaml:"processed"` // where it is moved to
	Review    string        `yaml:"review"`    // where mail for a person is moved to
	Poll      time.Duration `yaml:"poll"`      // how often it is looked at where nothing tells of new mail
	Timeout   time.Duration `yaml:"timeout"`
}

// DNS says who is asked about domains.
type DNS struct {
	Servers []NameServer  `yaml:"servers"` // empty: the system's
	Timeout time.Duration `yaml:"timeout"` // of one question to one of them
}

// Checks says what each rule of the preflight does. Package message says what each rule is.
type Checks struct {
	MissingField    Level `yaml:"missing_field"`
	EmptyField      Level `yaml:"empty_field"`
	Template        Level `yaml:"template"`
	Attachment      Level `yaml:"attachment"`
	AttachmentSize  Level `yaml:"attachment_size"`
	Sender          Level `yaml:"sender"`
	PostalAddress   Level `yaml:"postal_address"`
	Contact         Level `yaml:"contact"`
	Unsubscribe     Level `yaml:"unsubscribe"`
	UnsubscribeText Level `yaml:"unsubscribe_text"`
	EmptySubject    Level `yaml:"empty_subject"`
	Subject         Level `yaml:"subject"`
	Reply           Level `yaml:"reply"`
	ObsoleteMark    Level `yaml:"obsolete_mark"`
	EmptyBody       Level `yaml:"empty_body"`
	TextPart        Level `yaml:"text_part"`
	Size            Level `yaml:"size"`
	Alt             Level `yaml:"alt"`
	ImageOnly       Level `yaml:"image_only"`
	Link            Level `yaml:"link"`
	LinkHTTP        Level `yaml:"link_http"`
	LinkShort       Level `yaml:"link_short"`
	LinkText        Level `yaml:"link_text"`
	LinkBroken      Level `yaml:"link_broken"`
	LinkUnchecked   Level `yaml:"link_unchecked"`
	Leftover        Level `yaml:"leftover"`
	HTMLFeature     Level `yaml:"html_feature"`
	DKIM            Level `yaml:"dkim"`
	FromDomain      Level `yaml:"from_domain"`
	Consent         Level `yaml:"consent"`
	BounceMailbox   Level `yaml:"bounce_mailbox"`
	DNS             Level `yaml:"dns"`
}

// Levels are the levels by the rules' names.
func (c Checks) Levels() map[string]string {
	all := map[string]string{}
	for _, f := range fields(reflect.ValueOf(&c).Elem()) {
		all[f.name] = f.value.String()
	}
	return all
}

// defaultChecks: an error is what goes wrong for a recipient or breaks the law, everything else warns.
func defaultChecks() Checks {
	var c Checks
	for _, f := range fields(reflect.ValueOf(&c).Elem()) {
		f.value.SetString(string(LevelWarn))
	}
	c.MissingField, c.Template, c.Attachment = LevelError, LevelError, LevelError
	c.Sender, c.PostalAddress, c.Unsubscribe = LevelError, LevelError, LevelError
	c.EmptySubject, c.EmptyBody = LevelError, LevelError
	return c
}

// Default is what holds where nothing else is said.
func Default() Config {
	return Config{
		Timezone: "Local",
		Expires:  72 * time.Hour,
		Retry: []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
			time.Hour, 2 * time.Hour, 4 * time.Hour},
		Bounces:  Bounces{Mailbox: defaultMailbox(), Retention: 365 * 24 * time.Hour},
		Cleaning: defaultCleaning(),
		Breaking: defaultBreaking(),
		DNS:      DNS{Timeout: 2 * time.Second},
		Checks:   defaultChecks(),
	}
}

func defaultMailbox() Mailbox {
	return Mailbox{Protocol: ProtocolIMAP, Auth: AuthAuto, Folder: Folders{"INBOX"}, Processed: "Processed", Review: "Review", Poll: time.Minute, Timeout: time.Minute}
}

// setDefaults is the part of Default that every relay starts from. The five minutes are RFC 5321 section 4.5.3.2's.
func (r *Relay) setDefaults() {
	*r = Relay{Auth: AuthAuto, Connections: 10, Pipelining: PipeliningAuto, Weight: 1, Timeout: 5 * time.Minute}
}

// derive fills what follows from other keys, TLS from a well-known port and the port from TLS, and writes domains as
// addresses have them.
func (c *Config) derive() {
	for i := range c.DKIM { // a From's domain is compared with it, and d= holds nothing but ASCII
		if a, err := address.Parse("x@" + c.DKIM[i].Domain); err == nil {
			c.DKIM[i].Domain = a.Domain()
		}
	}
	for i := range c.Relays {
		r := &c.Relays[i]
		r.TLS, r.Port = tlsAndPort(r.TLS, r.Port, 465, 587, 25)
		r.route()
	}
	c.Cleaning.derive()
	c.Bounces.Mailbox.derive()
}

func (m *Mailbox) derive() {
	switch {
	case !m.Configured():
		return
	case m.Host == "":
	case m.Protocol == ProtocolPOP3:
		m.TLS, m.Port = tlsAndPort(m.TLS, m.Port, 995, 110, 110)
	default:
		m.TLS, m.Port = tlsAndPort(m.TLS, m.Port, 993, 143, 143)
	}
	if m.After != "" {
		return
	}
	m.After = AfterLeave
	if m.Protocol.folders() && m.Processed != "" {
		m.After = AfterMove
	}
}

func tlsAndPort(mode TLS, port, implicit, starttls, none int) (TLS, int) {
	switch {
	case mode == "" && port == implicit:
		mode = TLSImplicit
	case mode == "":
		mode = TLSStartTLS
	}
	if port == 0 {
		port = map[TLS]int{TLSImplicit: implicit, TLSStartTLS: starttls, TLSNone: none}[mode]
	}
	return mode, port
}

// Configured reports whether there is a bounce mailbox at all.
func (m Mailbox) Configured() bool { return m.Host != "" || m.Path != "" }

// ReturnPath is the envelope sender for a delivery with this signed token. Empty: none is configured.
func (b Bounces) ReturnPath(token string) string {
	return strings.ReplaceAll(b.ReturnPathPattern, tokenMark, token)
}

// Signed reports whether the return path names its delivery.
func (b Bounces) Signed() bool { return strings.Contains(b.ReturnPathPattern, tokenMark) }

// Addresses are the servers as the resolver wants them.
func (d DNS) Addresses() []string {
	var all []string
	for _, s := range d.Servers {
		all = append(all, string(s))
	}
	return all
}

// Signer is the DKIM key for mail from a domain: its own, or a parent domain's, which relaxed alignment
// accepts (RFC 7489 section 3.1.1).
func (c Config) Signer(domain string) (DKIM, bool) {
	var best DKIM
	domain = strings.ToLower(domain)
	for _, k := range c.DKIM {
		d := strings.ToLower(k.Domain)
		if (domain == d || strings.HasSuffix(domain, "."+d)) && len(d) > len(best.Domain) {
			best = k
		}
	}
	return best, best.Domain != ""
}

// Location is the workspace's time zone.
func (c Config) Location() *time.Location {
	loc, err := time.LoadLocation(c.Timezone)
	if err != nil { // Load has refused such a zone; a Config made by hand falls back
		return time.UTC
	}
	return loc
}

// Relay is the relay of that name, or the first one when name is empty.
func (w *Workspace) Relay(name string) (Relay, error) {
	if len(w.Config.Relays) == 0 {
		return Relay{}, &Error{File: w.Path, Key: "relays", Message: "no relay is configured; add one under relays:"}
	}
	if name == "" {
		return w.Config.Relays[0], nil
	}
	var names []string
	for _, r := range w.Config.Relays {
		if r.Name == name {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return Relay{}, &Error{File: w.Path, Key: "relays", Nearest: spelling.Nearest(name, names),
		Message: fmt.Sprintf("no relay is named %q; there is %s", name, strings.Join(names, ", "))}
}

// Abs makes a path of the configuration absolute: it is meant from the workspace's folder.
func (w *Workspace) Abs(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(w.Dir, path)
}

// Database is the path of the workspace's database.
func (w *Workspace) Database() string { return filepath.Join(w.Dir, DatabaseName) }

// Find says which folder is the workspace: the one named by -C, else the one in $MAILER_DIR, else the first with a
// mailer.yaml from the folder cwd upwards.
func Find(explicit string, lookup Lookup, cwd string) (string, error) {
	if explicit != "" {
		return existing(explicit, "-C "+explicit)
	}
	if dir, _ := lookup("MAILER_DIR"); dir != "" {
		return existing(dir, "MAILER_DIR="+dir)
	}
	for dir := cwd; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, FileName)); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", &Error{Message: fmt.Sprintf("no %s in %s or any folder above it; "+
				"make a workspace with `mailer init DIR`, or name one with -C DIR or $MAILER_DIR", FileName, cwd)}
		}
	}
}

func existing(dir, named string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", &Error{Message: fmt.Sprintf("%s: %v", named, err)}
	}
	if _, err := os.Stat(filepath.Join(abs, FileName)); err != nil {
		return "", &Error{Message: fmt.Sprintf("%s: no %s there; make a workspace with `mailer init %s`", named, FileName, dir)}
	}
	return abs, nil
}
