package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"mailer/internal/address"
)

const tokenMark = "{token}"

// sampleToken is as long as the longest signed token, so that a return path which would break the 64 octets of a
// local part (RFC 5321 section 4.5.3.1.1) is refused when it is written and not when it is sent to.
const sampleToken = "b1aaaaaaaaaaaaa-aaaaaaaaaaaaaaaa"

// checker holds the rules that look at values. Each is reported at the key it is about.
type checker struct {
	*decoder
	config   *Config
	warnings *[]*Error
}

func (c *checker) at(key, format string, args ...any) *Error {
	e := &Error{File: c.file, Key: key, Message: fmt.Sprintf(format, args...)}
	switch s := c.source(key); s.From {
	case FromFile:
		e.Line, e.Column = s.Line, s.Column
	case FromEnv, FromFlag:
		e.File = s.String()
	}
	return e
}

// source is the key's, or that of the nearest thing around it which the file has.
func (c *checker) source(key string) Source {
	for {
		if s, ok := c.sources[key]; ok {
			return s
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return Source{From: FromDefault}
		}
		key = key[:i]
	}
}

// bad reports a value, unless the reader has found fault with the key or what is around it: a rule about a value
// that was never stored only repeats that.
func (c *checker) bad(key, format string, args ...any) {
	for _, e := range c.errs {
		if e.Key != "" && (e.Key == key || strings.HasPrefix(key, e.Key+".")) {
			return
		}
	}
	c.errs = append(c.errs, c.at(key, format, args...))
}

func (c *checker) warn(key, format string, args ...any) {
	*c.warnings = append(*c.warnings, c.at(key, format, args...))
}

func (c *checker) check() {
	c.sender(c.config.Sender)
	if _, err := time.LoadLocation(c.config.Timezone); err != nil {
		c.bad("timezone", "no time zone is named %q; write one such as Asia/Tokyo or Europe/Berlin", c.config.Timezone)
	}
	if c.config.Expires <= 0 {
		c.bad("expires", "must be longer than nothing, such as 72h")
	}
	if len(c.config.Retry) == 0 {
		c.bad("retry", "must hold at least one time span, such as [15m]")
	}
	for i, wait := range c.config.Retry {
		if wait <= 0 {
			c.bad(fmt.Sprintf("retry.%d", i), "must be longer than nothing, such as 15m")
		}
	}
	for _, r := range c.config.Relays {
		c.relay("relays."+r.Name, r)
	}
	for i, k := range c.config.DKIM {
		c.dkim(fmt.Sprintf("dkim.%d", i), k)
	}
	c.pattern("bounces.return_path", c.config.Bounces.ReturnPathPattern)
	c.mailbox("bounces.mailbox", c.config.Bounces.Mailbox)
	c.cleaning(c.config.Cleaning)
	if c.config.DNS.Timeout <= 0 {
		c.bad("dns.timeout", "must be longer than nothing, such as 2s")
	}
	for key, domains := range map[string][]string{"disposable.add": c.config.Disposable.Add, "disposable.except": c.config.Disposable.Except} {
		for i, d := range domains {
			if _, err := address.Parse("x@" + d); err != nil || !strings.Contains(d, ".") {
				c.bad(fmt.Sprintf("%s.%d", key, i), "%q is no domain; write one such as example.com", d)
			}
		}
	}
	c.pacing()
}

func (c *checker) sender(s Sender) {
	c.address("sender.from", s.From)
	c.address("sender.reply_to", s.ReplyTo)
	for _, i := range s.Identities {
		key := join("sender.identities", i.Name)
		switch {
		case strings.Contains(i.Name, "@"):
			c.bad(key, "the name of an identity is a word such as shop, not an address")
		case i.From == "":
			c.bad(key, "the identity has no from")
		}
		c.address(join(key, "from"), i.From)
		c.address(join(key, "reply_to"), i.ReplyTo)
	}
	c.pattern("sender.unsubscribe_mailto", s.UnsubscribeMailto)
	if s.UnsubscribeURL == "" {
		return
	}
	// RFC 8058 section 3.1 wants https for one-click; a rehearsal on this machine has no certificate.
	u, err := url.Parse(s.UnsubscribeURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && !isLoopback(u.Hostname()) {
		c.bad("sender.unsubscribe_url", "%q is not an https address", s.UnsubscribeURL)
		return
	}
	c.warn("sender.unsubscribe_url", "mailer does not serve this address yet: leave it empty, and people unsubscribe by mail")
}

func (c *checker) address(key, text string) {
	if text == "" {
		return
	}
	if strings.ContainsAny(text, "\r\n") {
		c.bad(key, "must be one line")
	} else if _, err := mail.ParseAddress(text); err != nil {
		c.bad(key, "%q is not an address such as news@example.com or Example News <news@example.com> "+
			"(a name with a comma or a dot is put in quotes)", text)
	}
}

// pattern is a bare address in which {token} may stand once.
func (c *checker) pattern(key, text string) {
	if text == "" {
		return
	}
	if strings.Count(text, tokenMark) > 1 {
		c.bad(key, "%s must stand in it once", tokenMark)
		return
	}
	full := strings.ReplaceAll(text, tokenMark, sampleToken)
	a, err := mail.ParseAddress(full)
	local, domain, _ := strings.Cut(full, "@")
	switch {
	case err != nil || a.Address != full:
		c.bad(key, "%q is not an address such as bounce+%s@example.com or bounce@example.com", text, tokenMark)
	case strings.Contains(domain, sampleToken):
		c.bad(key, "%s must stand before the @", tokenMark)
	case len(local) > 64:
		c.bad(key, "the part before the @ is longer than the 64 characters that mail allows")
	}
}

var relayName = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N}_-]*$`)

func (c *checker) relay(key string, r Relay) {
	if !relayName.MatchString(r.Name) {
		c.bad(key, "a relay's name is made of letters, digits, - and _")
	}
	if r.Host == "" {
		c.bad(key+".host", "is missing; name the SMTP server, such as smtp.example.com")
	}
	c.connection(key, r.Host, r.Port, r.TLS, r.Insecure)
	c.login(key, r.Username, r.Secret, r.Auth != AuthNone)
	switch {
	case r.Auth != AuthAuto && r.Auth != AuthNone && r.Username == "":
		c.bad(key+".auth", "%s needs a username", r.Auth)
	case r.Auth == AuthNone && r.Username != "":
		c.warn(key+".username", "is not used, because auth is none")
	}
	if r.Connections < 1 {
		c.bad(key+".connections", "must be 1 or more")
	}
	if r.MessagesPerConnection < 0 {
		c.bad(key+".messages_per_connection", "must be 0 (no limit) or more")
	}
	if r.Weight < 0 {
		c.bad(key+".weight", "must be 0 (only when it is named, or a route leads to it) or more")
	}
	if r.Timeout <= 0 {
		c.bad(key+".timeout", "must be longer than nothing, such as 5m")
	}
	if strings.ContainsAny(r.Hello, " \t\r\n") {
		c.bad(key+".hello", "must be one host name, such as mail.example.com")
	}
}

func (c *checker) connection(key, host string, port int, mode TLS, insecure bool) {
	if strings.ContainsAny(host, " \t\r\n/@") || strings.Count(host, ":") == 1 {
		c.bad(key+".host", "%q is not a host name; the port has a key of its own", host)
	}
	if port < 1 || port > 65535 {
		c.bad(key+".port", "must be between 1 and 65535")
	}
	switch {
	case mode != TLSNone && insecure:
		c.warn(key+".insecure", "the certificate of %s is not checked; ca_file trusts a private CA without that", host)
	case mode != TLSNone || isLoopback(host):
	case insecure:
		c.warn(key+".tls", "mail and password go to %s in clear", host)
	default:
		c.bad(key+".tls", "none is for this machine only; use starttls or implicit, or add `insecure: true` if the network is yours")
	}
}

func (c *checker) login(key, username string, s Secret, used bool) {
	set := 0
	for _, v := range []string{s.Plain, s.Env, s.File, s.Command} {
		if v != "" {
			set++
		}
	}
	switch {
	case set > 1:
		c.bad(key, "has %d passwords; keep one of password_env, password_file, password_command", set)
	case set == 0 && username != "" && used:
		c.bad(key, "has a username and no password; add password_env, password_file or password_command")
	case set == 1 && username == "":
		c.bad(key, "has a password and no username")
	case s.Plain != "" && c.source(key+".password").From == FromFile:
		c.warn(key+".password", "a password in the file is easily copied along; password_env, password_file and password_command are safer")
	}
}

func (c *checker) dkim(key string, k DKIM) {
	if !isDomain(k.Domain) {
		c.bad(key+".domain", "%q is not a domain name", k.Domain)
	}
	if !isDomain(k.Selector) || strings.ContainsFunc(k.Selector, func(r rune) bool { return r >= utf8.RuneSelf }) {
		c.bad(key+".selector", "%q is not a selector; it is the s= part, such as s2026", k.Selector)
	}
	if k.KeyFile == "" {
		c.bad(key+".key_file", "is missing; name the private key's PEM file")
	}
}

func (c *checker) mailbox(key string, m Mailbox) {
	_, given := c.sources[key]
	switch {
	case !m.Configured() && !given:
		return
	case m.Protocol.local():
		c.localMailbox(key, m)
	case m.Host == "":
		c.bad(key+".host", "is missing; name the server, such as imap.example.com")
		return
	default:
		c.remoteMailbox(key, m)
	}
	if len(m.Folder) == 0 || slices.Contains(m.Folder, "") {
		c.bad(key+".folder", "must not be empty")
	}
	c.housekeeping(key, m)
	if m.Timeout <= 0 {
		c.bad(key+".timeout", "must be longer than nothing, such as 1m")
	}
	if m.Poll < time.Second {
		c.bad(key+".poll", "must be a second or longer, such as 1m")
	}
}

func (c *checker) localMailbox(key string, m Mailbox) {
	if m.Path == "" {
		c.bad(key+".path", "is missing; name the %s", m.Protocol)
	}
	if m.Host != "" {
		c.bad(key+".host", "a %s lies on this machine; it has a path and no host", m.Protocol)
	}
}

func (c *checker) remoteMailbox(key string, m Mailbox) {
	c.connection(key, m.Host, m.Port, m.TLS, m.Insecure)
	c.login(key, m.Username, m.Secret, true)
	if m.Username == "" && m.Secret.IsZero() {
		c.bad(key+".username", "is missing")
	}
	if m.Path != "" {
		c.bad(key+".path", "is for maildir and mbox; %s has a host", m.Protocol)
	}
	switch m.Auth {
	case AuthAuto, AuthPlain, AuthLogin, AuthXOAUTH2:
	default:
		c.bad(key+".auth", "%q is not one of auto, plain, login, xoauth2", m.Auth)
	}
}

// housekeeping checks what is done with mail that was read.
func (c *checker) housekeeping(key string, m Mailbox) {
	switch {
	case m.After == AfterLeave || m.Protocol == ProtocolPOP3 && m.After == AfterDelete:
		return
	case !m.Protocol.folders():
		c.bad(key+".after", "%s cannot be done in a mailbox of %s", m.After, m.Protocol)
		return
	case m.After == AfterMove && m.Processed == "":
		c.bad(key+".processed", "is missing; after: move needs a folder to move to")
	case m.After == AfterMove && slices.Contains(m.Folder, m.Processed):
		c.bad(key+".processed", "must be another folder than %s; after: leave leaves mail where it is", m.Processed)
	case m.After == AfterDelete && m.Review == "":
		c.bad(key+".review", "is missing; after: delete would delete what a person should see")
	}
	if slices.Contains(m.Folder, m.Review) {
		c.bad(key+".review", "must be another folder than %s", m.Review)
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

var domainName = regexp.MustCompile(`^[\p{L}\p{N}_]([\p{L}\p{N}_-]*[\p{L}\p{N}_])?(\.[\p{L}\p{N}_]([\p{L}\p{N}_-]*[\p{L}\p{N}_])?)*$`)

func isDomain(s string) bool { return domainName.MatchString(s) && len(s) <= 253 }

func isPassword(key string) bool { return key == "password" || strings.HasSuffix(key, ".password") }
