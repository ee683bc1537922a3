package send

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

func TestFetch(t *testing.T) {
	var gets atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/noh", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		gets.Add(1)
	})
	mux.HandleFunc("/gone", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	mux.HandleFunc("/shy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	mux.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/ftp", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "ftp://example.com/", http.StatusFound)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	f := newFetcher(true)
	for _, c := range []struct {
		link   string
		broken bool
		why    string
	}{
		{server.URL + "/ok", false, ""}, {server.URL + "/noh", false, ""}, {server.URL + "/to", false, ""},
		{server.URL + "/gone", true, "410 Gone"}, {server.URL + "/nothing", true, "404 Not Found"}, {server.URL + "/shy", false, "403 Forbidden"},
		{server.URL + "/loop", false, "more than 5 redirects"}, {server.URL + "/ftp", false, "redirected to a ftp address"},
		{"http://127.0.0.1:1/", false, "refused"},
	} {
		broken, why := f.fetch(t.Context(), c.link)
		if broken != c.broken || !strings.Contains(why, c.why) || c.why == "" && why != "" {
			t.Errorf("%s: %v %q", c.link, broken, why)
		}
	}
	if gets.Load() != 1 {
		t.Error("a server that does not know HEAD was not asked for the page")
	}
}

// A link from an imported file does not reach into the machine that checks it.
func TestFetchStaysOutside(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	if broken, why := newFetcher(false).fetch(t.Context(), server.URL); broken || why != errPrivate.Error() || asked.Load() > 0 {
		t.Errorf("%v %q, asked %d times", broken, why, asked.Load())
	}
	for addr, want := range map[string]bool{"127.0.0.1": false, "10.0.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"0.0.0.0": false, "::1": false, "fe80::1": false, "fd00::1": false, "::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false, "224.0.0.1": false,
		"1.1.1.1": true, "2606:4700::1111": true} {
		if public(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
}
