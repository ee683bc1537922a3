package zone

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Mailbox is whether a domain can receive mail (RFC 5321 section 5.1).
type Mailbox int

// What can become of mail for a domain.
const (
	Unclear   Mailbox = iota // nobody knows
	Exchanged                // it has MX records, one of which leads somewhere
	Implicit                 // it has an address and no MX
	NullMX                   // it says that it takes none (RFC 7505)
	Dangling                 // no MX host has an address
	Nowhere                  // neither MX nor address
	Absent                   // it does not exist
)

// Dead reports whether mail surely does not arrive.
func (m Mailbox) Dead() bool { return m >= NullMX }

// Words says it of a domain.
func (m Mailbox) Words() string {
	return [...]string{"nobody knows", "takes mail", "takes mail at its own address, perhaps", "says that it takes no mail (null MX)",
		"has MX records that lead nowhere", "has neither MX nor address", "does not exist"}[m]
}

// Receives finds out whether a domain can receive mail, and the host in question. The error says why it is unclear.
func Receives(ctx context.Context, r Resolver, domain string) (Mailbox, string, error) {
	mx := r.Lookup(ctx, domain, MX)
	switch mx.State {
	case Unknown:
		return Unclear, "", why(mx.Err)
	case Missing:
		return Absent, "", nil
	case Empty:
		found, err := hasAddress(ctx, r, domain)
		switch {
		case found:
			return Implicit, "", nil
		case err != nil:
			return Unclear, "", err
		}
		return Nowhere, "", nil
	}
	var hosts []string
	var unknown error
	for _, record := range mx.Records {
		if record.Host == "" && len(mx.Records) == 1 {
			return NullMX, "", nil
		}
		hosts = append(hosts, record.Host)
		found, err := hasAddress(ctx, r, record.Host)
		if found {
			return Exchanged, record.Host, nil
		}
		if err != nil {
			unknown = err
		}
	}
	if unknown != nil {
		return Unclear, "", unknown
	}
	return Dangling, strings.Join(hosts, ", "), nil
}

// why is never nil.
func why(err error) error {
	if err == nil {
		return errors.New("no answer")
	}
	return err
}

// hasAddress: the error says that nobody knows.
func hasAddress(ctx context.Context, r Resolver, host string) (bool, error) {
	var unknown error
	for _, t := range []Type{A, AAAA} {
		a := r.Lookup(ctx, host, t)
		switch a.State {
		case Found:
			return true, nil
		case Unknown:
			unknown = fmt.Errorf("%s of %s: %w", t, host, why(a.Err))
		}
	}
	return false, unknown
}

// atOnce is how many domains are asked about side by side: as many as a resolver at home answers without dropping some.
const atOnce = 16

// ReceivesEach asks about many domains, those in front first, until the context ends. What was not asked by then is Unclear.
func ReceivesEach(ctx context.Context, r Resolver, domains []string) []Mailbox {
	all := make([]Mailbox, len(domains))
	next := make(chan int)
	var running sync.WaitGroup
	for range min(atOnce, len(domains)) {
		running.Go(func() {
			for i := range next {
				all[i], _, _ = Receives(ctx, r, domains[i])
			}
		})
	}
	for i := 0; i < len(domains) && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	running.Wait()
	return all
}
