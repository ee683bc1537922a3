package mailbox

import (
	"errors"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// ErrSource is about a text that names no mailbox.
var ErrSource = errors.New("not a mailbox like imaps://user@host/folder, pop3s://user@host, maildir:PATH, mbox:PATH, file:PATH or - (standard input)")

// Locate puts what a person writes to name a mailbox (an URL as of RFC 5092 and RFC 2384, or a path) over the options. The port and TLS
// follow from the scheme: with imap and pop3, STARTTLS is required, but on this machine. What is done with messages stays only where the
// kind of mailbox does: of another one nothing is changed, unless that is said anew.
func (o *Options) Locate(source string) error {
	scheme, rest, _ := strings.Cut(source, ":")
	before := o.Protocol
	switch {
	case source == "":
		return ErrSource
	case source == "-":
		o.Protocol = Stdin
	case scheme == "imap" || scheme == "imaps" || scheme == "pop3" || scheme == "pop3s":
		if err := o.url(source); err != nil {
			return err
		}
	case rest != "" && (scheme == Maildir || scheme == Mbox || scheme == File):
		o.Protocol, o.Path, o.Host, o.Folder = scheme, strings.TrimPrefix(rest, "//"), "", ""
	case strings.Contains(source, "://"):
		return ErrSource
	default:
		o.Protocol, o.Path, o.Host, o.Folder = Path, source, "", ""
		if isMaildir(source) {
			o.Protocol = Maildir
		} else if _, err := os.Stat(source); err != nil && !strings.ContainsAny(source, `/\.`) {
			return ErrSource // more likely a wrong word than a missing file
		}
	}
	if o.Protocol != before {
		o.After = AfterLeave
	}
	return nil
}

func (o *Options) url(source string) error {
	u, err := url.Parse(source)
	if err != nil || u.Hostname() == "" {
		return ErrSource
	}
	o.Host, o.Insecure, o.Path = u.Hostname(), false, ""
	implicit, plain := 993, 143
	o.Protocol = IMAP
	if strings.HasPrefix(u.Scheme, "pop3") {
		o.Protocol, implicit, plain = POP3, 995, 110
	}
	switch {
	case strings.HasSuffix(u.Scheme, "s"):
		o.TLS, o.Port = TLSImplicit, implicit
	case o.Host == "localhost" || strings.HasPrefix(o.Host, "127.") || o.Host == "::1":
		o.TLS, o.Port = TLSNone, plain
	default:
		o.TLS, o.Port = TLSStartTLS, plain
	}
	if p := u.Port(); p != "" {
		if o.Port, err = strconv.Atoi(p); err != nil {
			return ErrSource
		}
	}
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	if folder := strings.Trim(u.Path, "/"); folder != "" {
		o.Folder = folder
	}
	return nil
}
