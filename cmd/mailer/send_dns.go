package main

import (
	"cmp"
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"sync"

	"mailer/internal/address"
	"mailer/internal/config"
	"mailer/internal/doctor"
	"mailer/internal/message"
	"mailer/internal/send"
	"mailer/internal/zone"
)

// askDNS begins to find out whether mail of a new campaign will arrive, while its messages are looked at. Call what it returns for the
// findings, once. It asks nothing for a rehearsal: a domain that is nobody's, or a sandbox on this machine, unless dns: servers: says
// whom to ask about that one's mail. A dry run keeps nothing, so its answers are asked for again.
func askDNS(ctx context.Context, s *send.Sender, p *send.Plan, dryRun bool) (findings func() []send.Finding) {
	level := s.Workspace.Config.Checks.DNS
	relays := carriers(s.Workspace.Config, p)
	if level == config.LevelOff || len(relays) == 0 || rehearsal(s.Workspace.Config, relays) {
		return func() []send.Finding { return nil }
	}
	ctx, stop := context.WithTimeout(ctx, doctor.Patience) // of all domains together
	froms := fromDomains(p)
	asked := make([]doctor.Asked, len(froms))
	failed := make([]error, len(froms))
	// A question that was lost, or went to a server that is down, must be asked again within the time that there is.
	r, err := doctorResolver(s.Workspace, doctorDomainOptions{patience: doctor.Patience / 3})
	var all sync.WaitGroup
	for i, from := range froms {
		all.Go(func() {
			if failed[i] = err; err == nil {
				asked[i], failed[i] = askDomain(ctx, s, r, from, relays, dryRun)
			}
		})
	}
	return func() []send.Finding {
		defer stop()
		all.Wait()
		var found []send.Finding
		var silent []string
		for i, a := range asked {
			if failed[i] != nil {
				a.Silent = failed[i].Error()
			}
			found = append(found, dnsFindings(a, level)...)
			if a.Silent != "" && !slices.Contains(silent, a.Silent) {
				silent = append(silent, a.Silent)
			}
		}
		if len(silent) > 0 {
			found = append(found, send.Finding{Level: message.LevelWarning, Rule: message.RuleDNS,
				Message: "not all could be found out about " + strings.Join(froms, ", ") + " (" + strings.Join(silent, "; ") + "); mailer doctor domain asks with more patience"})
		}
		return found
	}
}

// askDomain asks about one domain, or knows it from a short while ago.
func askDomain(ctx context.Context, s *send.Sender, r zone.Resolver, from string, relays config.Relays, dryRun bool) (doctor.Asked, error) {
	d := &doctor.Domain{From: from}
	domainOfConfig(d, s.Workspace, relays)
	d.Envelope = cmp.Or(d.Envelope, from)
	name := d.Hash(s.Workspace.Config.DNS.Addresses())
	if text, ok, err := s.Store.Answer(ctx, name); err == nil && ok {
		var known doctor.Asked
		if json.Unmarshal([]byte(text), &known) == nil {
			return known, nil
		}
	}
	d.Resolver = r
	asked := d.Preflight(ctx)
	if asked.Keep() && !dryRun {
		text, err := json.Marshal(asked)
		if err != nil {
			return asked, err
		}
		// A database that is busy with another send costs the same questions next time, and no more.
		_ = s.Store.KeepAnswer(ctx, name, string(text))
	}
	return asked, nil
}

// elsewhere says where the records are that findings speak of: there is no room for them in a line.
var elsewhere = strings.NewReplacer(" The right record is below.", "", "the record below", "the record that mailer doctor domain shows", "the one below", "the one that mailer doctor domain shows")

// dnsFindings are the failures as the check before a send has them: our own stop it, those of others warn. What is not as good as it
// could be is for mailer doctor.
func dnsFindings(a doctor.Asked, level config.Level) []send.Finding {
	var all []send.Finding
	for _, f := range a.Findings {
		if f.Level != doctor.Fail {
			continue
		}
		text := []string{f.Check}
		if f.Subject != "" {
			text = append(text, "("+f.Subject+"):")
		}
		one := send.Finding{Level: message.LevelWarning, Rule: message.RuleDNS, Message: strings.Join(append(text, f.Found, elsewhere.Replace(f.Do)), " ")}
		if f.Own && level == config.LevelError {
			one.Level = message.LevelError
		}
		all = append(all, one)
	}
	return all
}

// carriers are the relays of a plan; a draft has none yet.
func carriers(c config.Config, p *send.Plan) config.Relays {
	if len(p.Relays) > 0 {
		return p.Relays
	}
	return slices.DeleteFunc(slices.Clone(c.Relays), func(r config.Relay) bool { return p.Request.Relay != "" && r.Name != p.Request.Relay })
}

// rehearsal reports whether no mail can leave this machine, as far as the configuration says: all relays are on it, and at none of the
// ports where a mail server of one's own listens.
func rehearsal(c config.Config, relays config.Relays) bool {
	return len(c.DNS.Servers) == 0 && !slices.ContainsFunc(relays, func(r config.Relay) bool {
		return !onThisMachine(r.Host) || r.Port == 25 || r.Port == 465 || r.Port == 587
	})
}

func onThisMachine(host string) bool {
	host = zone.Clean(strings.Trim(host, "[]"))
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// fromDomains are the domains that a campaign's documents are from, without those that are nobody's or only known within a
// network.
func fromDomains(p *send.Plan) []string {
	var all []string
	for _, v := range p.Content.Variants {
		a, err := address.Parse(cmp.Or(v.Front.From, p.Content.Sender.From))
		if err == nil && !doctor.Reserved(a.Domain()) && !doctor.Private(a.Domain()) && !slices.Contains(all, a.Domain()) {
			all = append(all, a.Domain())
		}
	}
	return all
}
