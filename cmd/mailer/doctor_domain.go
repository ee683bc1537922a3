package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"mailer/internal/address"
	"mailer/internal/config"
	"mailer/internal/doctor"
	"mailer/internal/resolver"

	"github.com/spf13/cobra"
)

const doctorDomainHelp = `Check what the DNS says about a sending domain: SPF, DKIM (the record against the private key), DMARC (alignment for this From
and this return path, addresses for reports), and what is beside them. Each finding says what was found, why it matters and who
asks for it, what to do, and the record to publish.

In a workspace From, the return path, the keys and the relays are those of mailer.yaml. With DOMAIN it needs no workspace; name what
it cannot know: --selector of the DKIM key, --ip of the machines that send, --envelope for the domain of the return path.

--markdown writes a report to hand to whoever runs the DNS: only what to do, the records in blocks to copy.

Exit codes: 0 nothing failed; 2 wrong usage or configuration; 4 stopped by a signal; 5 a check failed. What could not be found out is no failure.

  mailer doctor domain
  mailer doctor domain example.com --selector s2026 --ip 192.0.2.10 --markdown dns.md`

// doctorPatience bounds all checks of a domain together.
const doctorPatience = 30 * time.Second

type doctorDomainOptions struct {
	selectors     []string
	relay         string
	ips           []string
	resolver      []string
	envelope      string
	markdown      string
	authoritative bool
	patience      time.Duration // at most, for one question to one server
}

func newDoctorDomainCmd(a *app) *cobra.Command {
	var o doctorDomainOptions
	cmd := &cobra.Command{
		Use:   "domain [DOMAIN]",
		Short: "Check the DNS of a sending domain: SPF, DKIM, DMARC",
		Long:  doctorDomainHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exactArgs(1, "DOMAIN or nothing")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return runDoctorDomain(cmd.Context(), a, args, o) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.selectors, "selector", nil, "`selector` of a DKIM key that signs, beside those of mailer.yaml")
	f.StringVar(&o.relay, "relay", "", "only the relay of this `name`")
	f.StringSliceVar(&o.ips, "ip", nil, "`address` that the mail leaves from")
	f.StringVar(&o.envelope, "envelope", "", "`domain` of the return path (default: that of mailer.yaml, else DOMAIN)")
	f.StringSliceVar(&o.resolver, "resolver", nil, "name server to ask, `host` or host:port (default: that of mailer.yaml, else the system's)")
	f.BoolVar(&o.authoritative, "authoritative", false, "ask the name servers of the domain themselves, past every cache")
	f.StringVar(&o.markdown, "markdown", "", "write what to do as a report into this `file`; - is standard output, and nothing else")
	return cmd
}

func runDoctorDomain(ctx context.Context, a *app, args []string, o doctorDomainOptions) error {
	if o.markdown == "-" && a.out.JSON {
		return usage("--markdown - and --json both write to standard output; give --markdown a file")
	}
	d, ws, err := a.domainToCheck(args, o)
	if err != nil {
		return err
	}
	r, err := doctorResolver(ws, o)
	if err != nil {
		return err
	}
	d.Resolver, d.Client = r, doctor.WebClient(r)
	var all []doctor.Finding
	if len(args) == 0 && doctor.Reserved(d.From) && len(o.resolver)+len(ws.Config.DNS.Servers) == 0 {
		all = []doctor.Finding{nobodys(d.From, ws.Config)}
	} else {
		patience, stop := context.WithTimeout(ctx, doctorPatience)
		defer stop()
		all = d.Check(patience)
	}
	if err := ctx.Err(); err != nil { // what a signal cut off is not what nobody knows
		return err
	}
	doctor.Sort(all)
	if o.markdown != "" {
		if err := writeReport(a, o.markdown, markdownReport("What the DNS of "+d.From+" needs", a.now(), all)); err != nil {
			return err
		}
	}
	if o.markdown == "-" {
		return doctorExit(all)
	}
	return tellDiagnosis(a, d.From, all)
}

// doctorResolver asks the servers of the flag, else those of mailer.yaml, else the system's.
func doctorResolver(ws *config.Workspace, o doctorDomainOptions) (*resolver.Resolver, error) {
	options := resolver.Options{Servers: o.resolver, Authoritative: o.authoritative}
	if ws != nil {
		if options.Timeout = ws.Config.DNS.Timeout; o.patience > 0 {
			options.Timeout = min(options.Timeout, o.patience)
		}
		if len(o.resolver) == 0 {
			options.Servers = ws.Config.DNS.Addresses()
		}
	}
	r, err := resolver.New(options)
	if err != nil {
		return nil, usage("%w; name one with --resolver", err)
	}
	return r, nil
}

// domainToCheck puts together what is known: of mailer.yaml where the domain is one that it sends from, and of the flags.
func (a *app) domainToCheck(args []string, o doctorDomainOptions) (*doctor.Domain, *config.Workspace, error) {
	var ws *config.Workspace
	_, err := a.find()
	if err == nil || len(args) == 0 || a.dir != "" || o.relay != "" { // a mailer.yaml that is there must be right
		if ws, err = a.workspace(); err != nil {
			return nil, nil, err
		}
	}
	d := &doctor.Domain{}
	switch {
	case len(args) == 1:
		if d.From, err = domainName("DOMAIN", args[0]); err != nil {
			return nil, nil, err
		}
	default:
		from, err := address.Parse(ws.Config.Sender.From)
		if err != nil {
			return nil, nil, usage("sender.from in mailer.yaml names no domain to check; set it, or name one: mailer doctor domain example.com")
		}
		d.From = from.Domain()
	}
	if ws != nil && slices.Contains(senderDomains(ws.Config), d.From) {
		if err := domainOfWorkspace(d, ws, o); err != nil {
			return nil, nil, err
		}
	}
	for _, s := range o.selectors {
		if !dnsName.MatchString(s) {
			return nil, nil, usage("--selector %q cannot stand in DNS: letters, digits and hyphens", s)
		}
		if !slices.ContainsFunc(d.Keys, func(k doctor.Key) bool { return k.Selector == s && k.Domain == d.From }) {
			d.Keys = append(d.Keys, doctor.Key{Domain: d.From, Selector: s})
		}
	}
	if o.envelope != "" {
		if d.Envelope, err = domainName("--envelope", o.envelope); err != nil {
			return nil, nil, err
		}
	}
	if d.Envelope == "" {
		d.Envelope = d.From
	}
	return d, ws, relayAddresses(d, o.ips)
}

// relayAddresses gives the addresses of --ip to the relay in question.
func relayAddresses(d *doctor.Domain, ips []string) error {
	var all []netip.Addr
	for _, text := range ips {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return usage("--ip %q is no IP address", text)
		}
		all = append(all, ip.Unmap())
	}
	switch {
	case len(all) == 0:
	case len(d.Relays) == 1:
		d.Relays[0].Addresses = all
	default: // of several nobody knows whose they are
		d.Relays = append(d.Relays, doctor.Relay{Name: "--ip", Addresses: all})
	}
	return nil
}

func domainName(what, text string) (string, error) {
	if addr, err := address.Parse(text); err == nil {
		return addr.Domain(), nil
	}
	addr, err := address.Parse("x@" + strings.TrimSuffix(text, "."))
	if err != nil || !dnsName.MatchString(addr.Domain()) {
		return "", usage("%s %q is no domain; name one such as example.com", what, text)
	}
	return addr.Domain(), nil
}

// senderDomains are the domains that a workspace sends from.
func senderDomains(c config.Config) []string {
	var all []string
	for _, from := range append([]string{c.Sender.From}, identityFroms(c)...) {
		if addr, err := address.Parse(from); err == nil {
			all = append(all, addr.Domain())
		}
	}
	return all
}

func identityFroms(c config.Config) []string {
	var all []string
	for _, id := range c.Sender.Identities {
		all = append(all, id.From)
	}
	return all
}

// domainOfWorkspace takes what mailer.yaml says about mail of a From domain.
func domainOfWorkspace(d *doctor.Domain, ws *config.Workspace, o doctorDomainOptions) error {
	relays := ws.Config.Relays
	if o.relay != "" {
		one, err := ws.Relay(o.relay)
		if err != nil {
			return err
		}
		relays = config.Relays{one}
	}
	domainOfConfig(d, ws, relays)
	return nil
}

func domainOfConfig(d *doctor.Domain, ws *config.Workspace, relays config.Relays) {
	var others []doctor.Key
	for _, k := range ws.Config.DKIM {
		key := doctor.Key{Domain: k.Domain, Selector: k.Selector, File: k.KeyFile}
		if private, err := ws.SigningKey(k); err != nil {
			key.Err = err
		} else {
			key.Private = private
		}
		signs := func(from string) bool { return from == k.Domain || strings.HasSuffix(from, "."+k.Domain) }
		switch {
		case signs(d.From):
			d.Keys = append(d.Keys, key)
		case !slices.ContainsFunc(senderDomains(ws.Config), signs): // else it is another sender's, and right there
			others = append(others, key)
		}
	}
	if len(d.Keys) == 0 { // none signs this From: what is there for nobody is worth a word
		d.Keys = others
	}
	if path, err := address.Parse(ws.Config.Bounces.ReturnPath("x")); err == nil {
		d.Envelope = path.Domain()
	}
	d.OneClick = ws.Config.Sender.UnsubscribeURL
	for _, r := range relays {
		d.Relays = append(d.Relays, doctor.Relay{Name: r.Name, Host: r.Host, Hello: r.Hello})
	}
}

func writeReport(a *app, file, text string) error {
	if file == "-" {
		_, err := fmt.Fprint(a.out.Data(), text)
		return err
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
