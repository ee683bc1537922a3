package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"mailer/internal/zone"
)

// askSystem asks by the system's own means, where no file says which servers it has. They tell no TTL, and do not tell a name
// that does not exist from one without such a record: both are Empty.
func (r *Resolver) askSystem(ctx context.Context, q question) zone.Answer {
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return zone.Answer{Name: q.name, Type: q.t, Err: ctx.Err()}
	}
	a := zone.Answer{Name: q.name, Type: q.t, Server: "the system's"}
	within, stop := context.WithTimeout(ctx, 2*r.timeout)
	defer stop()
	var err error
	a.Records, err = r.systemRecords(within, q.name+".", q.t)
	var lookup *net.DNSError
	switch {
	case err != nil && errors.As(err, &lookup) && lookup.IsNotFound, err == nil && len(a.Records) == 0:
		a.State = zone.Empty
	case err != nil:
		a.Records, a.Err = nil, err
	default:
		a.State = zone.Found
	}
	return a
}

func (r *Resolver) systemRecords(ctx context.Context, name string, t zone.Type) (all []zone.Record, err error) {
	hosts := func(names []string, err error) ([]zone.Record, error) {
		for _, n := range names {
			all = append(all, zone.Record{Host: zone.Clean(n)})
		}
		return all, err
	}
	switch t {
	case zone.A, zone.AAAA:
		network := map[zone.Type]string{zone.A: "ip4", zone.AAAA: "ip6"}[t]
		found, err := r.system.LookupNetIP(ctx, network, name)
		for _, ip := range found {
			all = append(all, zone.Record{IP: ip.Unmap()})
		}
		return all, err
	case zone.TXT:
		texts, err := r.system.LookupTXT(ctx, name)
		for _, s := range texts {
			all = append(all, zone.Record{Text: s, Strings: []string{s}})
		}
		return all, err
	case zone.MX:
		found, err := r.system.LookupMX(ctx, name)
		for _, mx := range found {
			all = append(all, zone.Record{Host: zone.Clean(mx.Host), Pref: mx.Pref})
		}
		return all, err
	case zone.NS:
		found, err := r.system.LookupNS(ctx, name)
		var names []string
		for _, ns := range found {
			names = append(names, ns.Host)
		}
		return hosts(names, err)
	case zone.PTR:
		ip, ok := zone.Unreverse(name)
		if !ok {
			return nil, fmt.Errorf("%s is not the reverse name of an address", name)
		}
		return hosts(r.system.LookupAddr(ctx, ip.String()))
	case zone.CNAME:
		to, err := r.system.LookupCNAME(ctx, name)
		if err == nil && strings.EqualFold(to, name) {
			return nil, nil
		}
		return hosts([]string{to}, err)
	}
	return nil, fmt.Errorf("the system cannot be asked for %s records; name servers in mailer.yaml: dns: {servers: [ADDRESS]}", t)
}

var _ zone.Resolver = (*Resolver)(nil)

// Servers are the addresses that are asked; none where the system asks by its own means.
func (r *Resolver) Servers() []netip.AddrPort { return r.servers }
