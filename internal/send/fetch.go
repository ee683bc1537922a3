package send

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mailer/internal/message"
)

// fetcher looks whether links lead somewhere. A link may hold a value from an imported file, so it does not reach into
// this machine or the networks around it unless it is told to.
type fetcher struct {
	client *http.Client
}

const (
	fetchTimeout  = 10 * time.Second
	fetchAtOnce   = 8
	maxRedirects  = 5
	maxFetchBytes = 64 << 10
)

var errPrivate = errors.New("it leads to this machine or a private network, where --links-private would look")

func newFetcher(private bool) *fetcher {
	dialer := &net.Dialer{Timeout: fetchTimeout}
	if !private {
		// After the name is resolved: a name that points inside, or a redirect that leads there, is caught here too.
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			if a, err := netip.ParseAddrPort(address); err != nil || !public(a.Addr()) {
				return errPrivate
			}
			return nil
		}
	}
	return &fetcher{client: &http.Client{
		Timeout: fetchTimeout,
		// No proxy from the environment: it would connect to inner addresses for us.
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: fetchTimeout, MaxResponseHeaderBytes: maxFetchBytes,
			MaxIdleConnsPerHost: 2, ForceAttemptHTTP2: true},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
				return fmt.Errorf("it is redirected to a %s address", r.URL.Scheme)
			}
			return nil
		},
	}}
}

// special are ranges that netip does not call private and that are no part of the public network either: shared address
// space (RFC 6598), protocol assignments, documentation, benchmarks, and NAT64 (RFC 6052), which leads anywhere.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"),
}

func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// check fetches the links, a few at once, and enters what came of it in their order.
func (f *fetcher) check(ctx context.Context, list []message.Address, flight *message.Preflight) {
	type result struct {
		broken bool
		why    string
	}
	results := make([]result, len(list))
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(fetchAtOnce, len(list)) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(list)); i = next.Add(1) - 1 {
				results[i].broken, results[i].why = f.fetch(ctx, list[i].URL)
			}
		})
	}
	all.Wait()
	f.client.CloseIdleConnections()
	for i, r := range results {
		if r.why != "" {
			flight.Fetched(list[i], r.broken, r.why)
		}
	}
}

// fetch asks for the head, and where that is refused for the page: many servers answer HEAD wrongly. why is empty when
// the link is fine; broken is false when nobody can tell.
func (f *fetcher) fetch(ctx context.Context, link string) (broken bool, why string) {
	code, err := f.ask(ctx, http.MethodHead, link)
	if err == nil && code >= 400 {
		code, err = f.ask(ctx, http.MethodGet, link)
	}
	switch {
	case err != nil:
		return failed(err)
	case code == http.StatusNotFound || code == http.StatusGone:
		return true, fmt.Sprintf("%d %s", code, http.StatusText(code))
	case code >= 400: // refused to programs, too many questions, a server that is ill today
		return false, fmt.Sprintf("%d %s", code, http.StatusText(code))
	}
	return false, ""
}

func (f *fetcher) ask(ctx context.Context, method, link string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, method, link, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("User-Agent", "Mozilla/5.0 (compatible; mailer link check)")
	answer, err := f.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxFetchBytes)) // only so that the connection can be used again
	return answer.StatusCode, nil
}

// failed tells what is wrong with the link from what is wrong with the network.
func failed(err error) (broken bool, why string) {
	var dns *net.DNSError
	var at *url.Error
	switch {
	case errors.Is(err, errPrivate):
		return false, errPrivate.Error()
	case errors.As(err, &dns) && dns.IsNotFound:
		return true, "there is no host " + dns.Name
	case errors.As(err, &at) && at.Timeout():
		return false, fmt.Sprintf("no answer in %s", fetchTimeout)
	case errors.As(err, &at):
		return false, at.Err.Error()
	}
	return false, err.Error()
}
