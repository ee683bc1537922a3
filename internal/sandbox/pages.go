package sandbox

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed pages
var pageFiles embed.FS

// perPage is how many messages the list shows at once.
const perPage = 100

// The content security policies. Pages of ours hold no script at all. A message's HTML is shown in a frame with an opaque
// origin, where neither script nor form nor anything from the network works.
const (
	policyPages = "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	policyMail  = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)

// pages are the web pages of the sandbox.
type pages struct {
	s    *Sandbox
	html *template.Template
}

func newPages(s *Sandbox) (http.Handler, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"clock": func(t time.Time) string { return t.Format("15:04:05") },
		"stamp": func(t time.Time) string { return t.Format(time.RFC1123Z) },
		"bytes": humanBytes,
	}).ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("read the web pages: %w", err)
	}
	p := &pages{s: s, html: t}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.list)
	mux.HandleFunc("GET /style.css", p.style)
	mux.HandleFunc("GET /recipients", p.recipients)
	mux.HandleFunc("GET /messages/{id}", p.message)
	mux.HandleFunc("GET /messages/{id}/html", p.mailHTML)
	mux.HandleFunc("GET /api/messages", p.apiMessages)
	mux.HandleFunc("GET /api/messages/{id}/raw", p.apiRaw)
	mux.HandleFunc("GET /api/recipients", p.apiRecipients)
	mux.HandleFunc("GET /api/stats", p.apiStats)
	return guard(mux), nil
}

// guard refuses requests under a name that is not this machine's: a page of the web may point a name of its own at
// 127.0.0.1 (DNS rebinding) and would then read the mail.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Host
		if h, _, err := net.SplitHostPort(name); err == nil {
			name = h
		}
		ip := net.ParseIP(strings.Trim(name, "[]"))
		if name != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "the sandbox answers to localhost only", http.StatusMisdirectedRequest)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", policyPages)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (p *pages) render(w http.ResponseWriter, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := p.html.ExecuteTemplate(w, name, data); err != nil {
		panic(http.ErrAbortHandler) // the reader is gone; the templates are tested
	}
}

func (p *pages) style(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, pageFiles, "pages/style.css")
}

func (p *pages) list(w http.ResponseWriter, r *http.Request) {
	query := r.FormValue("q")
	page := max(number(r.FormValue("page")), 1)
	found, total := p.s.caught.find(query, (page-1)*perPage, perPage)
	p.render(w, "list.html", struct {
		Query            string
		Messages         []Caught
		Total            int
		Page, Prev, Next int
		Stats            Stats
		Sandbox          *Sandbox
		Scenario         Scenario
		Seed             uint64
	}{query, found, total, page, page - 1, next(page, total), p.s.Stats(), p.s, p.s.scenario, p.s.o.Seed})
}

// next is the number of the next page, 0 after the last.
func next(page, total int) int {
	if page*perPage < total {
		return page + 1
	}
	return 0
}

func (p *pages) message(w http.ResponseWriter, r *http.Request) {
	m, ok := p.s.caught.get(number(r.PathValue("id")))
	if !ok {
		http.NotFound(w, r)
		return
	}
	raw, kept := p.s.Raw(m.ID)
	p.render(w, "message.html", struct {
		Caught
		Kept  bool
		Mail  content
		Raw   string
		Limit int64
	}{m, kept, open(raw), string(raw), p.s.o.Keep})
}

func (p *pages) mailHTML(w http.ResponseWriter, r *http.Request) {
	raw, ok := p.s.Raw(number(r.PathValue("id")))
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Security-Policy", policyMail)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write([]byte(open(raw).HTML))
}

func (p *pages) apiMessages(w http.ResponseWriter, r *http.Request) {
	found, _ := p.s.caught.find(r.FormValue("q"), 0, 1<<31-1)
	list := make([]Caught, 0, len(found))
	for i := len(found) - 1; i >= 0; i-- {
		list = append(list, found[i]) // oldest first
	}
	writeJSON(w, list)
}

func (p *pages) apiRaw(w http.ResponseWriter, r *http.Request) {
	id := number(r.PathValue("id"))
	if _, ok := p.s.caught.get(id); !ok {
		http.NotFound(w, r)
		return
	}
	raw, ok := p.s.Raw(id)
	if !ok {
		http.Error(w, fmt.Sprintf("the body is not kept any more: only the last %s of compressed mail are", humanBytes(p.s.o.Keep)), http.StatusGone)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="message-%d.eml"`, id))
	w.Write(raw)
}

// recipients lists who can be rehearsed, so that an address is copied from there.
func (p *pages) recipients(w http.ResponseWriter, _ *http.Request) {
	p.render(w, "recipients.html", struct {
		Personalities []Personality
		Scenarios     []Scenario
	}{Personalities(), Scenarios()})
}

func (p *pages) apiRecipients(w http.ResponseWriter, _ *http.Request) { writeJSON(w, Personalities()) }

func (p *pages) apiStats(w http.ResponseWriter, _ *http.Request) { writeJSON(w, p.s.Stats()) }

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// number reads a positive number; everything else is 0.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<40 {
		return 0
	}
	return n
}

func humanBytes(n int64) string {
	switch f := float64(n); {
	case f >= 1<<20:
		return fmt.Sprintf("%.1f MiB", f/(1<<20))
	case f >= 1<<10:
		return fmt.Sprintf("%.1f KiB", f/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
