package doctor_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mailer/internal/doctor"
	"mailer/internal/mailtest"
	"mailer/internal/resolver"
)

// world is a domain whose web hosts all are one server.
type world struct {
	doctor.Domain
	server *httptest.Server
}

// newWorld serves every host of example.com, and hosts of other domains with a certificate that is not theirs.
func newWorld(t *testing.T, zone string, handler http.Handler) *world {
	t.Helper()
	ns := mailtest.NewNameserver(t)
	for origin, text := range map[string]string{"example.com": zone, "com": "", "net": "", "example.net": "links IN A 127.0.0.1\n"} {
		if err := ns.Zone(origin, text); err != nil {
			t.Fatal(err)
		}
	}
	r, err := resolver.New(resolver.Options{Servers: []string{ns.Addr()}, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{server: httptest.NewUnstartedServer(handler)}
	w.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	w.Domain = doctor.Domain{Resolver: r, From: "example.com", Client: w.client()}
	return w
}

// client reaches the server whatever the host is.
func (w *world) client() *http.Client {
	roots := w.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, w.server.Listener.Addr().String())
		}}}
}

// one is what a check found.
func (w *world) one(t *testing.T, check string) doctor.Finding {
	t.Helper()
	var worst doctor.Finding
	for _, f := range w.Check(t.Context()) {
		if f.Check == check && (worst.Check == "" || f.Level.Worse(worst.Level)) {
			worst = f
		}
	}
	return worst
}

func (w *world) expect(t *testing.T, name, check string, level doctor.Level, words string) {
	t.Helper()
	if f := w.one(t, check); f.Level != level || !strings.Contains(f.Found, words) || level.Worse(doctor.Info) && (f.Why == "" || f.Do == "") {
		t.Errorf("%s: want %s, saying %q; got %+v", name, level, words, f)
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestOneClick(t *testing.T) {
	var body, kind string
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		level   doctor.Level
		words   string
	}{
		{"taken", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				body, kind = r.FormValue("List-Unsubscribe"), r.Header.Get("Content-Type")
			}
		}, doctor.Pass, "answered (status 200)"},
		{"unknown token told", status(http.StatusBadRequest), doctor.Pass, "400"},
		{"gone", status(http.StatusGone), doctor.Pass, "410"},
		{"not found", status(http.StatusNotFound), doctor.Unknown, "404"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://www.example.com/", http.StatusFound)
		}, doctor.Fail, "redirected"},
		{"slash added", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"/", http.StatusPermanentRedirect)
		}, doctor.Fail, "308"},
		{"no POST", status(http.StatusMethodNotAllowed), doctor.Fail, "does not take a POST"},
		{"login", status(http.StatusForbidden), doctor.Fail, "turned away"},
		{"broken", status(http.StatusBadGateway), doctor.Fail, "502"},
		{"slow", func(http.ResponseWriter, *http.Request) { time.Sleep(2100 * time.Millisecond) }, doctor.Warn, "after 2."},
		{"a GET unsubscribes", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<h1>You have been unsubscribed</h1>"))
		}, doctor.Fail, "GET"},
		{"a page with a button", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<form method=post><button>When you press it, you have been unsubscribed</button></form>"))
		}, doctor.Pass, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "", c.handler)
			w.OneClick = "https://news.example.com/"
			w.expect(t, c.name, "one_click", c.level, c.words)
		})
	}
	if body != "One-Click" || kind != "application/x-www-form-urlencoded" {
		t.Errorf("a receiver would have sent List-Unsubscribe=One-Click as a form, not %q as %q", body, kind)
	}
	w := newWorld(t, "", status(http.StatusOK))
	w.OneClick = "https://news.example.net/"
	w.expect(t, "certificate", "one_click", doctor.Fail, "certificate")
	w.OneClick = "http://news.example.com/"
	w.expect(t, "http", "one_click", doctor.Fail, "not https")
	w.OneClick = "https://news.example.com/"
	w.server.Close()
	w.expect(t, "nobody there", "one_click", doctor.Fail, "cannot be reached")
	ended, end := context.WithCancel(t.Context())
	end()
	for _, f := range w.Check(ended) {
		if f.Check == "one_click" && f.Level != doctor.Unknown {
			t.Errorf("time was up, and that is no failure: %+v", f)
		}
	}
}

func TestTrackingHostOverTLS(t *testing.T) {
	const zone = "news IN A 127.0.0.1\n@ IN TXT \"v=spf1 -all\"\n"
	w := newWorld(t, zone, status(http.StatusNotFound))
	w.Tracking = "https://news.example.com"
	w.expect(t, "own", "tracking_host", doctor.Pass, "")
	w.Tracking = "https://links.example.net"
	w.expect(t, "certificate of another name", "tracking_host", doctor.Fail, "certificate")
	w.Tracking = "https://news.example.com"
	w.server.Close()
	w.expect(t, "nobody there", "tracking_host", doctor.Fail, "cannot be reached")
}

func TestMTASTSPolicy(t *testing.T) {
	const zone = "@ IN MX 10 mail\n@ IN MX 20 mail2.example.net.\n_mta-sts IN TXT \"v=STSv1; id=1\"\n"
	for _, c := range []struct {
		name, policy string
		level        doctor.Level
		words        string
	}{
		{"right", "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n", doctor.Pass, "enforce"},
		{"a server is missing", "version: STSv1\nmode: enforce\nmx: mail.example.com\nmax_age: 604800\n", doctor.Fail, "mail2.example.net"},
		{"a server is missing in a test", "version: STSv1\nmode: testing\nmx: mail.example.com\nmax_age: 604800\n", doctor.Warn, "mail2.example.net"},
		{"a star is one label", "version: STSv1\nmode: enforce\nmx: *.com\nmx: *.net\nmax_age: 604800\n", doctor.Fail, "mail.example.com"},
		{"no servers", "version: STSv1\nmode: enforce\nmax_age: 604800\n", doctor.Fail, "no mx"},
		{"switched off", "version: STSv1\nmode: none\nmax_age: 86400\n", doctor.Pass, "none"},
		{"no mode", "version: STSv1\nmx: mail.example.com\nmax_age: 1\n", doctor.Fail, "lacks"},
		{"a page", "<html>not found</html>", doctor.Fail, "lacks"},
	} {
		w := newWorld(t, zone, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "mta-sts.example.com" || r.URL.Path != "/.well-known/mta-sts.txt" {
				w.WriteHeader(http.StatusTeapot)
			}
			_, _ = w.Write([]byte(c.policy))
		}))
		w.expect(t, c.name, "mta_sts", c.level, c.words)
	}
	w := newWorld(t, zone, status(http.StatusNotFound))
	w.expect(t, "no policy", "mta_sts", doctor.Fail, "404")
	w = newWorld(t, zone, http.RedirectHandler("https://example.com/", http.StatusFound))
	w.expect(t, "redirect", "mta_sts", doctor.Fail, "302")
	w.server.Close()
	w.expect(t, "nobody there", "mta_sts", doctor.Fail, "cannot be fetched")
}

func TestBIMILogo(t *testing.T) {
	const zone = "_dmarc IN TXT \"v=DMARC1; p=reject\"\ndefault._bimi IN TXT \"v=BIMI1; l=https://example.com/l.svg; a=https://example.com/v.pem\"\n"
	for _, c := range []struct {
		name, svg string
		level     doctor.Level
		words     string
	}{
		{"right", `<svg version="1.2" baseProfile="tiny-ps"/>`, doctor.Pass, ""},
		{"another kind", `<svg/>`, doctor.Fail, "Tiny PS"},
	} {
		w := newWorld(t, zone, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(c.svg)) }))
		w.expect(t, c.name, "bimi", c.level, c.words)
	}
	w := newWorld(t, zone, status(http.StatusNotFound))
	w.expect(t, "gone", "bimi", doctor.Fail, "404")
}

// The client of the command looks hosts up where the checks ask.
func TestWebClientAsksOurResolver(t *testing.T) {
	w := newWorld(t, "news IN A 127.0.0.1\n", status(http.StatusNoContent))
	client := doctor.WebClient(w.Resolver)
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: w.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	_, port, err := net.SplitHostPort(w.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"news.example.com": "", "gone.example.com": "has no address in the DNS"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+":"+port+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", host, err, want)
		}
	}
}

// A name server that fails says nothing about what a web server would.
func TestWebServersWhoseNamesAreNotKnown(t *testing.T) {
	ns := mailtest.NewNameserver(t)
	for origin, text := range map[string]string{"kiku.jp": "@ IN MX 10 mx\nmx IN A 192.0.2.9\n_mta-sts IN TXT \"v=STSv1; id=1\"\n" +
		"_dmarc IN TXT \"v=DMARC1; p=reject; rua=mailto:d@kiku.jp\"\ndefault._bimi IN TXT \"v=BIMI1; l=https://logo.kiku.jp/l.svg\"\n", "jp": ""} {
		if err := ns.Zone(origin, text); err != nil {
			t.Fatal(err)
		}
	}
	for _, host := range []string{"mta-sts", "logo", "unsubscribe", "links"} {
		ns.Fail(host+".kiku.jp", mailtest.ServFail)
	}
	r, err := resolver.New(resolver.Options{Servers: []string{ns.Addr()}, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	d := doctor.Domain{Resolver: r, Client: doctor.WebClient(r), From: "kiku.jp", OneClick: "https://unsubscribe.kiku.jp", Tracking: "https://links.kiku.jp"}
	level := map[string]doctor.Level{}
	for _, f := range d.Check(t.Context()) {
		level[f.Check] = f.Level
	}
	for _, check := range []string{"one_click", "tracking_host", "mta_sts", "bimi"} {
		if level[check] != doctor.Unknown {
			t.Errorf("%s is %s", check, level[check])
		}
	}
}
