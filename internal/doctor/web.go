package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"mailer/internal/dmarc"
	"mailer/internal/message"
	"mailer/internal/zone"
)

// slow is how long a receiver's machine may have to wait for one-click: Gmail gives no number, ours is careful.
const slow = 2 * time.Second

// oneClick tries the address of List-Unsubscribe with a token that was never given to anybody.
func (d *Domain) oneClick(ctx context.Context) []Finding {
	const check = "one_click"
	if d.From == "" {
		return nil
	}
	if d.OneClick == "" {
		f := d.finding(check, d.From, Info, "There is no https address for one-click unsubscribe; a mail address is offered instead.")
		f.Why = whyOneClick
		f.Do = "Set sender.unsubscribe_url once a server answers there."
		return []Finding{f}
	}
	u, err := url.Parse(d.OneClick)
	f := d.finding(check, d.OneClick, Fail, "")
	f.Why, f.Own = whyOneClick, true
	switch {
	case err != nil || u.Host == "":
		f.Found, f.Do = "It is no address.", "Set sender.unsubscribe_url to an https address."
		return []Finding{f}
	case u.Scheme != "https":
		f.Found, f.Do = "The address is not https, which RFC 8058 section 3 wants.", "Set sender.unsubscribe_url to an https address."
		return []Finding{f}
	case d.Client == nil:
		f.Level, f.Own, f.Found, f.Why = Info, false, "The address is https; it was not tried.", ""
		return []Finding{f}
	}
	target := strings.TrimSuffix(d.OneClick, "/") + "/u/doctor-test"
	began := time.Now()
	status, err := d.post(ctx, target)
	took := time.Since(began)
	f.Own = false // the server's matter; it may be away for a minute
	switch {
	case ctx.Err() != nil:
		return d.unknown(check, d.OneClick, ctx.Err())
	case noAnswer(err):
		return d.unknown(check, d.OneClick, err)
	case badCertificate(err):
		f.Found, f.Do = "The certificate is not valid: "+err.Error()+".", "Renew the certificate; receivers do not connect otherwise."
	case err != nil:
		f.Found, f.Do = "The server cannot be reached: "+err.Error()+".", "Start the server, or correct sender.unsubscribe_url."
	case status >= 300 && status < 400:
		f.Found = fmt.Sprintf("A POST is redirected (status %d); RFC 8058 section 3.1 forbids that, and receivers do not follow.", status)
		f.Do = "Answer under the very address of sender.unsubscribe_url: https, the right host, no slash added."
	case status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented:
		f.Found, f.Do = fmt.Sprintf("The server does not take a POST (status %d).", status), "Let whatever stands before the server pass POST on."
	case status >= 500:
		f.Found, f.Do = fmt.Sprintf("The server fails (status %d).", status), "Look into its log."
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusTooManyRequests:
		f.Found = fmt.Sprintf("A POST is turned away (status %d).", status)
		f.Do = "Let POST through without a login, cookie or other check: receivers' machines have none (RFC 8058 section 3.1)."
	case status == http.StatusNotFound:
		f.Level = Unknown
		f.Found = "The server does not know a made-up token (status 404), as it should; that a true one works only a true message can tell."
		f.Do = "Send yourself a test and unsubscribe."
	case took > slow:
		f.Level, f.Found = Warn, fmt.Sprintf("A POST is answered after %s.", took.Round(100*time.Millisecond))
		f.Do = "Look why: receivers give up sooner or later."
	default:
		f.Level, f.Why, f.Found = Pass, "", fmt.Sprintf("A POST with a made-up token is answered (status %d) without a redirect.", status)
	}
	if f.Level != Pass {
		return []Finding{f}
	}
	// Mail scanners open every link: a GET must only show a page. What it does to a true token cannot be tried with a made-up one.
	if status, body, err := d.fetch(ctx, target); err == nil && status < 400 && saysDone(body) {
		f.Level, f.Why = Fail, "Scanners open every link in a mail with GET: if that unsubscribes, people who never asked for it are lost (RFC 8058 section 3.2). "+whyOneClick
		f.Found, f.Do = "A GET seems to unsubscribe at once.", "Let a GET show a page with a button, and only a POST unsubscribe."
	}
	return []Finding{f}
}

// saysDone guesses from a page whether it did something without being asked.
func saysDone(page string) bool {
	page = strings.ToLower(page)
	done := false
	for _, words := range []string{"you have been unsubscribed", "you are now unsubscribed", "successfully unsubscribed", "配信を停止しました", "解除しました"} {
		done = done || strings.Contains(page, words)
	}
	return done && !strings.Contains(page, "<form")
}

// post does what a receiver does when its user presses the button (RFC 8058 section 3.2).
func (d *Domain) post(ctx context.Context, target string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader("List-Unsubscribe=One-Click"))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := d.direct().Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, largest))
	return resp.StatusCode, err
}

// noAnswer reports whether it was the DNS that said nothing.
func noAnswer(err error) bool {
	var silent silentDNS
	return errors.As(err, &silent)
}

func badCertificate(err error) bool {
	var bad *tls.CertificateVerificationError
	return errors.As(err, &bad)
}

// trackingHost looks at the host of links and pixels: what stands in every mail is judged like the sender.
func (d *Domain) trackingHost(ctx context.Context) []Finding {
	const check = "tracking_host"
	if d.Tracking == "" || d.From == "" {
		return nil
	}
	u, err := url.Parse(d.Tracking)
	f := d.finding(check, d.Tracking, Fail, "")
	f.Why = "Filters judge the hosts in a mail's links like its sender; one of your own, with a valid certificate, is judged by your mail alone."
	if err != nil || u.Hostname() == "" {
		f.Found, f.Do, f.Own = "It is no address.", "Write an https address of a host below "+d.From+".", true
		return []Finding{f}
	}
	host := zone.Clean(u.Hostname())
	switch {
	case message.Shortener(host):
		f.Found, f.Do, f.Own = host+" is a public link shortener.", "Use a host of your own, such as news."+d.From+".", true
		return []Finding{f}
	case u.Scheme != "https":
		f.Found, f.Do, f.Own = "The address is not https.", "Use https with a valid certificate.", true
		return []Finding{f}
	}
	a := d.Resolver.Lookup(ctx, host, zone.A)
	if a.State != zone.Found {
		six := d.Resolver.Lookup(ctx, host, zone.AAAA)
		switch {
		case six.State == zone.Found:
		case a.State == zone.Unknown || six.State == zone.Unknown:
			return d.unknown(check, host, errors.Join(a.Err, six.Err))
		default:
			f.Found, f.Do = host+" has no address in the DNS: no link in your mail works.", "Publish a CNAME of the tracking server, or an A record."
			if len(a.Aliases) > 0 {
				f.Found = host + " is a CNAME of " + a.Aliases[len(a.Aliases)-1] + ", which has no address: no link in your mail works."
			}
			return []Finding{f}
		}
	}
	if d.Client != nil {
		_, _, err := d.fetch(ctx, d.Tracking)
		switch {
		case ctx.Err() != nil:
			return d.unknown(check, host, ctx.Err())
		case noAnswer(err):
			return d.unknown(check, host, err)
		case badCertificate(err):
			f.Found, f.Do = "The certificate of "+host+" is not valid: "+err.Error()+".", "Renew the certificate, or get one for this name."
			return []Finding{f}
		case err != nil:
			f.Found, f.Do = "The server cannot be reached: "+err.Error()+".", "Start the server, or correct the address."
			return []Finding{f}
		}
	}
	same, err := dmarc.Aligned(ctx, d.Resolver, d.From, host, false)
	if err != nil {
		return d.unknown(check, host, err)
	}
	// A host without DMARC records above it is its own Organizational Domain, also when it lies below From.
	if !same && !strings.HasSuffix(host, "."+d.From) && !strings.HasSuffix(d.From, "."+host) {
		f.Level, f.Found = Warn, host+" belongs to another domain than From ("+d.From+")."
		f.Do = "Use a host below " + d.From + ", such as news." + d.From + "."
		return []Finding{f}
	}
	f.Level, f.Why, f.Found = Pass, "", host+" is below the domain of From and has an address."
	f.Detail = evidence(a)
	return []Finding{f}
}

// WebClient asks web servers, whose names it looks up where the checks ask: past the system's own resolver.
func WebClient(r zone.Resolver) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			if _, err := netip.ParseAddr(host); err == nil {
				return dialer.DialContext(ctx, network, addr)
			}
			var failed, silent error
			for _, t := range []zone.Type{zone.A, zone.AAAA} {
				a := r.Lookup(ctx, host, t)
				for _, rec := range a.Records {
					conn, err := dialer.DialContext(ctx, network, net.JoinHostPort(rec.IP.String(), port))
					if err == nil {
						return conn, nil
					}
					failed = errors.Join(failed, err)
				}
				if a.State == zone.Unknown {
					silent = fmt.Errorf("%s of %s: %s", t, host, errText(a.Err))
				}
			}
			if failed == nil && silent != nil {
				return nil, silentDNS{silent}
			}
			if failed == nil {
				failed = fmt.Errorf("%s has no address in the DNS", host)
			}
			return nil, failed
		},
	}}
}
