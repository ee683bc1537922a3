package doctor_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailer/internal/doctor"
	"mailer/internal/mailtest"
	"mailer/internal/resolver"

	"github.com/rogpeppe/go-internal/txtar"
)

// The exam: testdata/zones/*.txt, a domain in a file, right or wrong in one way.
//
//	What is wrong here, in a sentence.
//	-- domain --
//	from: example.com
//	envelope: bounce.example.com
//	key: example.com s1 rsa2048           a key that signs: domain, selector, file in testdata/keys; without the file only its record is known
//	relay: main smtp.example.net hello=mail.example.com 192.0.2.10
//	tracking: https://news.example.com
//	oneclick: https://news.example.com/u/
//	daily: gmail 6000
//	fault: _dmarc.example.com servfail    also refused, silent, cut, wrongname; *.NAME is everything below it
//	-- zone example.com --
//	@ IN TXT "v=spf1 ip4:192.0.2.10 -all"
//	s1._domainkey IN TXT {{record rsa2048}}
//	-- want --
//	spf: pass
//	dmarc: warn p=none
//
// There may be several zones; below com, net, org, jp, example and arpa whatever is in none does not exist. {{record KEY}} is a key's record in quoted strings,
// {{public KEY}} what stands behind its p=, {{public KEY 0 100}} a part of that; spki and pkcs1 are other forms of it. "want" has the level of the check, that is of the worst of its findings, and words that
// one of them, or a record that it wants published, must say. A check that is not named must not be worse than info, unless "others: any" is there.
type examined struct {
	about  string
	domain doctor.Domain
	want   []wanted
	others bool // any
	silent bool // the server, about some name
	ns     *mailtest.Nameserver
}

type wanted struct {
	check string
	level doctor.Level
	words string
}

var faults = map[string]mailtest.Fault{"servfail": mailtest.ServFail, "refused": mailtest.Refused, "silent": mailtest.Silent,
	"cut": mailtest.CutOnUDP, "wrongname": mailtest.WrongName}

// readExam reads a file and starts a name server for it.
func readExam(t *testing.T, file string) examined {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	e := examined{about: strings.TrimSpace(string(a.Comment)), ns: mailtest.NewNameserver(t)}
	if e.about == "" {
		t.Errorf("%s does not say what it is about", file)
	}
	for _, top := range []string{"com", "net", "org", "jp", "example", "arpa"} {
		if err := e.ns.Zone(top, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range a.Files {
		origin, isZone := strings.CutPrefix(f.Name, "zone ")
		switch {
		case isZone:
			if err := e.ns.Zone(origin, expandKeys(t, string(f.Data))); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		case f.Name == "domain":
			for key, value := range lines(t, file, f.Data) {
				e.set(t, key, strings.Fields(value))
			}
		case f.Name == "want":
			for key, value := range lines(t, file, f.Data) {
				if key == "others" {
					e.others = true
					continue
				}
				level, words, _ := strings.Cut(value, " ")
				e.want = append(e.want, wanted{key, doctor.Level(level), strings.TrimSpace(words)})
			}
		default:
			t.Fatalf("%s has a part %q", file, f.Name)
		}
	}
	r, err := resolver.New(resolver.Options{Servers: []string{e.ns.Addr()}, Timeout: e.patience()})
	if err != nil {
		t.Fatal(err)
	}
	e.domain.Resolver = r
	return e
}

// patience is short where the server is silent by intention, and long where it is only a busy machine's.
func (e examined) patience() time.Duration {
	if e.silent {
		return 300 * time.Millisecond
	}
	return 5 * time.Second
}

// lines yields "key: value" lines; a # begins a comment.
func lines(t *testing.T, file string, data []byte) func(yield func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for line := range strings.Lines(string(data)) {
			line, _, _ = strings.Cut(line, "#")
			if strings.TrimSpace(line) == "" {
				continue
			}
			key, value, ok := strings.Cut(line, ":")
			if !ok {
				t.Fatalf("%s: %q has no colon", file, line)
			}
			if !yield(strings.TrimSpace(key), strings.TrimSpace(value)) {
				return
			}
		}
	}
}

func (e *examined) set(t *testing.T, key string, words []string) {
	t.Helper()
	d := &e.domain
	switch {
	case key == "from":
		d.From = words[0]
	case key == "envelope":
		d.Envelope = words[0]
	case key == "tracking":
		d.Tracking = words[0]
	case key == "oneclick":
		d.OneClick = words[0]
	case key == "key":
		k := doctor.Key{Domain: words[0], Selector: words[1]}
		if len(words) > 2 {
			k.Private, k.File = examKey(t, words[2]), "dkim/"+words[2]+".pem"
		}
		d.Keys = append(d.Keys, k)
	case key == "relay":
		r := doctor.Relay{Name: words[0], Host: words[1]}
		for _, w := range words[2:] {
			if hello, ok := strings.CutPrefix(w, "hello="); ok {
				r.Hello = hello
				continue
			}
			r.Addresses = append(r.Addresses, netip.MustParseAddr(w))
		}
		d.Relays = append(d.Relays, r)
	case key == "daily":
		n, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if d.Daily == nil {
			d.Daily = map[string]int64{}
		}
		d.Daily[words[0]] = n
	case key == "fault" && faults[words[1]] != 0:
		e.ns.Fail(words[0], faults[words[1]])
		e.silent = e.silent || words[1] == "silent" || words[1] == "wrongname"
	default:
		t.Fatalf("an exam knows no %q %q", key, words)
	}
}

func examKey(t *testing.T, name string) crypto.Signer {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "keys", name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(crypto.Signer)
}

var keyMark = regexp.MustCompile(`\{\{(record|public|spki|pkcs1) (\w+)(?: (\d+) (\d+))?\}\}`)

func expandKeys(t *testing.T, zone string) string {
	return keyMark.ReplaceAllStringFunc(zone, func(mark string) string {
		m := keyMark.FindStringSubmatch(mark)
		text := publicText(t, m[1], examKey(t, m[2]).Public())
		if m[3] != "" {
			from, _ := strconv.Atoi(m[3])
			to, _ := strconv.Atoi(m[4])
			text = text[min(from, len(text)):min(to, len(text))]
		}
		return text
	})
}

// publicText is a public key in one of its forms.
func publicText(t *testing.T, form string, public crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	kind := "rsa"
	if raw, ok := public.(ed25519.PublicKey); ok && form != "spki" {
		kind, der = "ed25519", raw
	}
	if form == "pkcs1" {
		der = x509.MarshalPKCS1PublicKey(public.(*rsa.PublicKey))
	}
	text := base64.StdEncoding.EncodeToString(der)
	if form != "record" {
		return text
	}
	var quoted []string
	for piece := range slices.Chunk([]byte("v=DKIM1; k="+kind+"; p="+text), 255) {
		quoted = append(quoted, `"`+string(piece)+`"`)
	}
	return strings.Join(quoted, " ")
}

func TestExam(t *testing.T) {
	files, _ := filepath.Glob("testdata/zones/*.txt")
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			e := readExam(t, file)
			e.grade(t, e.domain.Check(t.Context()))
		})
	}
}

func (e examined) grade(t *testing.T, all []doctor.Finding) {
	t.Helper()
	of := map[string][]doctor.Finding{}
	for _, f := range all {
		of[f.Check] = append(of[f.Check], f)
		if f.Area == "" || f.Check == "" || f.Level == "" || f.Found == "" {
			t.Errorf("a finding that says too little: %+v", f)
		}
		if f.Level.Worse(doctor.Info) && (f.Why == "" || f.Do == "") {
			t.Errorf("%s is %s without a why and a do: %+v", f.Check, f.Level, f)
		}
		for _, r := range f.Publish {
			if r.Name == "" || r.Type == "" || r.Value == "" || strings.HasSuffix(r.Name, ".") {
				t.Errorf("%s: a record that cannot be published: %+v", f.Check, r)
			}
		}
	}
	for _, w := range e.want {
		found := of[w.check]
		said := slices.ContainsFunc(found, func(f doctor.Finding) bool {
			text := f.Found + " " + f.Why + " " + f.Do + " " + strings.Join(f.Detail, " ")
			for _, r := range f.Publish {
				text += " " + r.Type + " " + r.Value + " (" + r.Note + ")"
			}
			return strings.Contains(text, w.words)
		})
		if len(found) == 0 || doctor.Worst(found) != w.level || !said {
			t.Errorf("%s\n%s: want %s, saying %q; got %+v", e.about, w.check, w.level, w.words, found)
		}
		delete(of, w.check)
	}
	for check, found := range of {
		if !e.others && doctor.Worst(found).Worse(doctor.Info) {
			t.Errorf("%s\n%s: nothing wrong was expected; got %+v", e.about, check, found)
		}
	}
}
