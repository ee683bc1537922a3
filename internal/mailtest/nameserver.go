package mailtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Nameserver is an authoritative DNS server on the loopback interface, over UDP and TCP, for the zones that a test gives it.
// It answers as authoritative servers do: CNAME records are followed within its zones, a name that exists without records of
// the type is empty, wildcards hold, and whatever it has no zone for is refused.
type Nameserver struct {
	addr     string
	udp, tcp *dns.Server

	mu     sync.Mutex
	zones  map[string]map[string][]dns.RR // origin -> owner name -> records, all in lower case
	cached map[string]map[string][]dns.RR // the same, for whoever wants recursion
	faults map[string]Fault
	lost   map[string]bool
	asked  []string
}

// Fault is what the server does instead of answering.
type Fault int

// The faults.
const (
	ServFail Fault = iota + 1
	Refused
	Silent    // no answer at all
	CutOnUDP  // TC over UDP, the whole answer over TCP
	WrongName // an answer to another question
	LostOnce  // the first question of a kind over UDP has no answer
	WrongID   // a forged answer with another id and the address 192.0.2.66, then the right one
	NoEDNS    // FORMERR to whoever uses EDNS
	Referral  // to other servers, as a server does that neither has the zone nor asks for others
	LameOnce  // Referral for the first question of a kind that does not ask for recursion
)

// NewNameserver starts one; t's end closes it. TB is what it needs of a test.
func NewNameserver(t interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}) *Nameserver {
	t.Helper()
	s := &Nameserver{zones: map[string]map[string][]dns.RR{}, cached: map[string]map[string][]dns.RR{}, faults: map[string]Fault{}, lost: map[string]bool{}}
	for try := 0; ; try++ { // a port that is free for both
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			s.addr = pc.LocalAddr().String()
			s.udp, s.tcp = &dns.Server{PacketConn: pc, Handler: s}, &dns.Server{Listener: ln, Handler: s}
			break
		}
		pc.Close()
		if try == 20 {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	for _, one := range []*dns.Server{s.udp, s.tcp} {
		up := make(chan struct{})
		one.NotifyStartedFunc = func() { close(up) }
		group.Go(func() { _ = one.ActivateAndServe() })
		<-up
	}
	t.Cleanup(func() {
		_ = s.udp.Shutdown()
		_ = s.tcp.Shutdown()
		group.Wait()
	})
	return s
}

// Addr is host:port.
func (s *Nameserver) Addr() string { return s.addr }

// Zone adds a zone in the form of a zone file (RFC 1035 section 5). A missing SOA record is made.
func (s *Nameserver) Zone(origin, text string) error { return s.add(s.zones, origin, text) }

// Cache adds what is answered in place of a zone to whoever wants recursion: what a resolver remembers.
func (s *Nameserver) Cache(origin, text string) error { return s.add(s.cached, origin, text) }

func (s *Nameserver) add(to map[string]map[string][]dns.RR, origin, text string) error {
	origin = dns.CanonicalName(origin)
	records := map[string][]dns.RR{}
	p := dns.NewZoneParser(strings.NewReader(text), origin, origin)
	p.SetDefaultTTL(300)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		name := dns.CanonicalName(rr.Header().Name)
		records[name] = append(records[name], rr)
	}
	if err := p.Err(); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("zone %s: %w", origin, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	to[origin] = records
	return nil
}

// Fail makes it answer every question about a name, or below *.NAME, with a fault; 0 ends that.
func (s *Nameserver) Fail(name string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[dns.CanonicalName(name)] = f
}

// Asked are the questions so far, as "NAME TYPE" without the last dot.
func (s *Nameserver) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// ServeDNS answers one question.
func (s *Nameserver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	if len(q.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		_ = w.WriteMsg(m)
		return
	}
	name, qtype := dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype
	_, tcp := w.RemoteAddr().(*net.TCPAddr)
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimSuffix(name, ".")+" "+dns.TypeToString[qtype])
	fault := s.fault(name)
	s.answer(m, name, qtype, 0)
	key := name + dns.TypeToString[qtype]
	lost := fault == LostOnce && !tcp && !s.lost[key]
	lame := fault == LameOnce && !q.RecursionDesired && !s.lost[key]
	if fault != LameOnce || !q.RecursionDesired {
		s.lost[key] = true
	}
	s.mu.Unlock()
	switch {
	case fault == Silent || lost:
		return
	case fault == WrongID && !tcp:
		forged := m.Copy()
		forged.Id++
		forged.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 66)}}
		_ = w.WriteMsg(forged)
	case fault == NoEDNS && q.IsEdns0() != nil:
		m = new(dns.Msg)
		m.SetRcode(q, dns.RcodeFormatError)
	case fault == Referral || lame:
		m.Authoritative, m.Answer, m.Rcode = false, nil, dns.RcodeSuccess
		m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 60}, Ns: "ns.elsewhere.invalid."}}
	case fault == ServFail:
		m.Answer, m.Rcode = nil, dns.RcodeServerFailure
	case fault == Refused:
		m.Answer, m.Rcode = nil, dns.RcodeRefused
	case fault == CutOnUDP && !tcp:
		m.Answer, m.Truncated = nil, true
	case fault == WrongName:
		m.Question[0].Name = "other.invalid."
	}
	if !tcp {
		size := dns.MinMsgSize
		if o := q.IsEdns0(); o != nil {
			size = int(o.UDPSize())
		}
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}

func (s *Nameserver) fault(name string) Fault {
	if f := s.faults[name]; f != 0 {
		return f
	}
	for i, end := dns.NextLabel(name, 0); !end; i, end = dns.NextLabel(name, i) {
		if f := s.faults["*."+name[i:]]; f != 0 {
			return f
		}
	}
	return 0
}

// answer fills in what the zones say.
func (s *Nameserver) answer(m *dns.Msg, name string, qtype uint16, depth int) {
	origin, records := s.zoneOf(name, m.RecursionDesired)
	if records == nil {
		if depth == 0 {
			m.Rcode = dns.RcodeRefused
		}
		return
	}
	m.Authoritative = !m.RecursionDesired || s.cached[origin] == nil
	rrs, exists := records[name], false
	for owner := range records {
		if dns.IsSubDomain(name, owner) {
			exists = true // also an empty non-terminal
		}
	}
	if !exists && name != origin {
		rrs, exists = s.wildcard(records, name, origin)
	}
	for _, rr := range rrs {
		switch {
		case rr.Header().Rrtype == qtype:
			m.Answer = append(m.Answer, rr)
		case rr.Header().Rrtype == dns.TypeCNAME && depth < 16:
			m.Answer = append(m.Answer, rr)
			s.answer(m, dns.CanonicalName(rr.(*dns.CNAME).Target), qtype, depth+1)
			return
		}
	}
	if len(m.Answer) > depth {
		return
	}
	if !exists && name != origin {
		m.Rcode = dns.RcodeNameError
	}
	m.Ns = append(m.Ns, &dns.SOA{Hdr: dns.RR_Header{Name: origin, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 300},
		Ns: "ns." + strings.TrimPrefix(origin, "."), Mbox: "hostmaster." + strings.TrimPrefix(origin, "."), Serial: uint32(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Unix()), Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 300})
}

// zoneOf is the zone with the longest origin that holds a name.
func (s *Nameserver) zoneOf(name string, recurse bool) (string, map[string][]dns.RR) {
	for i, end := 0, false; !end; i, end = dns.NextLabel(name, i) {
		if z := s.cached[name[i:]]; z != nil && recurse {
			return name[i:], z
		}
		if z := s.zones[name[i:]]; z != nil {
			return name[i:], z
		}
	}
	return ".", s.zones["."]
}

func (s *Nameserver) wildcard(records map[string][]dns.RR, name, origin string) ([]dns.RR, bool) {
	for i, end := dns.NextLabel(name, 0); !end; i, end = dns.NextLabel(name, i) {
		parent := name[i:]
		if found := records["*."+parent]; found != nil {
			var rrs []dns.RR
			for _, rr := range found {
				rr = dns.Copy(rr)
				rr.Header().Name = name
				rrs = append(rrs, rr)
			}
			return rrs, true
		}
		if records[parent] != nil || parent == origin { // RFC 4592: the closest encloser decides
			return nil, false
		}
	}
	return nil, false
}
