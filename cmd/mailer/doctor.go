package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"mailer/internal/config"
	"mailer/internal/doctor"
	"mailer/internal/send"
	"mailer/internal/store"
	"mailer/internal/zone"

	"github.com/spf13/cobra"
)

const doctorHelp = `Find out whether mail will arrive, and if not, why, and say what to do about it.

Without a word behind it everything of the workspace is looked at, side by side: the domain of every sender, how close you are to what
Gmail, Yahoo and Microsoft call a bulk sender, the ways to unsubscribe, the relays, what is bad about the list of all contacts, and the
workspace itself (modes of files, passwords, clock, disk, database, backups, what cron starts). Nothing is sent and nothing is changed.
Without a network what needs it is unknown. An area alone (mailer doctor domain, relay, list) says more and has more patience; --skip
leaves one out.

Each finding has a level: pass, info, unknown (it could not be found out: never a reason to stop), warn (mail arrives today, at some
receivers, or not as well as it could) and fail (mail does not arrive, or will not for long). The first line answers the question.

--markdown writes a report to hand to whoever runs the DNS: only what to do there, the records in blocks to copy.

Exit codes: 0 nothing failed (warnings and what is not known count as well); 2 wrong usage or configuration; 4 stopped by a signal; 5 a
check failed.

  mailer doctor
  mailer doctor --skip list --markdown dns.md`

// doctorGlance bounds what has to do with the network where everything is looked at; an area alone has more time.
const doctorGlance = 10 * time.Second

type doctorOptions struct {
	skip     []string
	resolver []string
	markdown string
}

func newDoctorCmd(a *app) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out whether mail will arrive, and why not",
		Long:  doctorHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("mailer doctor has no area %q; a domain is looked at by mailer doctor domain DOMAIN, a relay by mailer doctor relay NAME", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd.Context(), a, o) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.skip, "skip", nil, "leave out this `area`: "+strings.Join(doctor.Areas, ", ")+" (repeat it for several)")
	f.StringSliceVar(&o.resolver, "resolver", nil, "name server to ask, `host` or host:port (default: that of mailer.yaml, else the system's)")
	f.StringVar(&o.markdown, "markdown", "", "write what to do in the DNS as a report into this `file`; - is standard output, and nothing else")
	cmd.AddCommand(newDoctorDomainCmd(a), newDoctorRelayCmd(a), newDoctorListCmd(a))
	return cmd
}

func runDoctor(ctx context.Context, a *app, o doctorOptions) error {
	if o.markdown == "-" && a.out.JSON {
		return usage("--markdown - and --json both write to standard output; give --markdown a file")
	}
	for _, name := range o.skip {
		if !slices.Contains(doctor.Areas, name) {
			return usage("--skip %q is no area; there are %s", name, strings.Join(doctor.Areas, ", "))
		}
	}
	ws, err := a.workspace()
	if err != nil {
		return err
	}
	r, err := doctorResolver(ws, doctorDomainOptions{resolver: o.resolver})
	if err != nil {
		return err
	}
	p := patient{app: a, ws: ws, resolver: r}
	if p.store, p.broken = a.openQuietly(ctx, ws); p.store != nil {
		defer p.store.Close()
	}
	areas := slices.DeleteFunc(p.areas(), func(area doctor.Area) bool { return slices.Contains(o.skip, area.Name) })
	all, err := lookAtAll(ctx, a, areas)
	if err != nil {
		return err
	}
	doctor.Sort(all)
	subject := strings.Join(domainsOf(ws.Config), ", ")
	if o.markdown != "" {
		forDNS := slices.DeleteFunc(slices.Clone(all), func(f doctor.Finding) bool { return f.Area != "domain" && len(f.Publish) == 0 })
		if err := writeReport(a, o.markdown, markdownReport("What the DNS of "+cmp.Or(subject, "the sender")+" needs", a.now(), forDNS)); err != nil {
			return err
		}
	}
	if o.markdown == "-" {
		return doctorExit(all)
	}
	return tellAll(a, subject, all)
}

// openQuietly opens the database that is there, as it is. One that is missing, broken or of an older schema is a finding, and no reason
// to stop.
func (a *app) openQuietly(ctx context.Context, ws *config.Workspace) (*store.Store, error) {
	if _, err := os.Stat(ws.Database()); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return a.openAs(ctx, ws, store.Options{Look: true})
}

// lookAtAll shows which areas are still looked at.
func lookAtAll(ctx context.Context, a *app, areas []doctor.Area) ([]doctor.Finding, error) {
	live := a.out.Live()
	defer live.Close()
	all := doctor.All(ctx, areas, func(left []string) {
		if len(left) > 0 {
			live.Show("looking at: " + strings.Join(left, ", "))
		}
	})
	return all, ctx.Err()
}

// patient is a workspace that is looked at.
type patient struct {
	app      *app
	ws       *config.Workspace
	store    *store.Store // nil: there is none, or it cannot be opened
	broken   error        // why
	resolver zone.Resolver
}

func (p patient) areas() []doctor.Area {
	return []doctor.Area{
		{Name: "domain", Check: p.domains},
		{Name: "relay", Check: p.relays},
		{Name: "list", Check: p.list},
		{Name: "workspace", Check: p.workspace},
	}
}

// domains checks the domain of every sender.
func (p patient) domains(ctx context.Context) ([]doctor.Finding, error) {
	froms := domainsOf(p.ws.Config)
	if len(froms) == 0 {
		return []doctor.Finding{{Area: "domain", Check: "from_domain", Level: doctor.Unknown, Found: "mailer.yaml names no sender, so no domain is looked at.",
			Do: "Set sender: from:, or name a domain: mailer doctor domain example.com"}}, nil
	}
	ctx, stop := context.WithTimeout(ctx, doctorGlance)
	defer stop()
	var areas []doctor.Area
	for _, from := range froms {
		areas = append(areas, doctor.Area{Name: "domain", Check: func(ctx context.Context) ([]doctor.Finding, error) { return p.domain(ctx, from) }})
	}
	return append(doctor.All(ctx, areas, func([]string) {}), doctor.WayOut(p.ws.Config)), nil
}

func (p patient) domain(ctx context.Context, from string) ([]doctor.Finding, error) {
	if doctor.Reserved(from) {
		return []doctor.Finding{nobodys(from, p.ws.Config)}, nil
	}
	d := &doctor.Domain{Resolver: p.resolver, Client: doctor.WebClient(p.resolver), From: from}
	domainOfConfig(d, p.ws, p.ws.Config.Relays)
	d.Envelope = cmp.Or(d.Envelope, from)
	if p.store != nil {
		d.Volume = func(ctx context.Context) (map[string]int64, error) {
			return doctor.FullestDay(ctx, p.store, p.resolver, from)
		}
	}
	return d.Check(ctx), nil
}

// nobodys is a domain for examples: the DNS has nothing to say about it.
func nobodys(from string, c config.Config) doctor.Finding {
	f := doctor.Finding{Area: "domain", Check: "from_domain", Subject: from, Level: doctor.Warn, Found: from + " is a domain for examples, and nobody's.",
		Why: "That is right for a rehearsal; mail of it to anybody else is refused.", Do: "Before you mail people set sender: from: in mailer.yaml to an address in a domain of your own."}
	if f.Own = slices.ContainsFunc(c.Relays, func(r config.Relay) bool { return !onThisMachine(r.Host) }); f.Own {
		f.Level = doctor.Fail
	}
	return f
}

// examplesAll reports whether everybody who sends is an example, and so nobody's people are on the list.
func examplesAll(c config.Config) bool {
	return !slices.ContainsFunc(domainsOf(c), func(from string) bool { return !doctor.Reserved(from) })
}

// relays connects to each. One that is away, or this machine without a network, is not known to be wrong.
func (p patient) relays(ctx context.Context) ([]doctor.Finding, error) {
	s := &send.Sender{Workspace: p.ws, Store: p.store, Now: p.app.now}
	var largest int64
	var of string
	if p.store != nil {
		var err error
		if largest, of, err = s.Largest(ctx); err != nil {
			return nil, err
		}
	}
	ctx, stop := context.WithTimeout(ctx, doctorGlance)
	defer stop()
	var areas []doctor.Area
	for _, way := range p.ws.Config.Relays {
		areas = append(areas, doctor.Area{Name: "relay", Check: func(ctx context.Context) ([]doctor.Finding, error) {
			c := doctor.Carrier{Relay: way, Largest: largest, LargestOf: of, Now: p.app.now}
			var err error
			if c.Server, err = s.Server(way); err != nil {
				return nil, err
			}
			found, err := c.Check(ctx)
			if len(found) > 0 && ctx.Err() == nil {
				err = nil // one of them says it
			}
			for i := range found {
				if f := &found[i]; f.Check == "relay_reach" && f.Level == doctor.Fail && !f.Own {
					f.Level = doctor.Unknown
				}
			}
			return found, err
		}})
	}
	return doctor.All(ctx, areas, func([]string) {}), nil
}

// list looks at all contacts, and keeps what is worth a word where everything is looked at.
func (p patient) list(ctx context.Context) ([]doctor.Finding, error) {
	if p.store == nil {
		return nil, nil
	}
	l := &doctor.List{Store: p.store, Disposables: p.ws.Config.Disposables(), Patience: doctorGlance / 2, Step: func(int64, int64) {}}
	if !examplesAll(p.ws.Config) {
		l.Resolver = p.resolver
	}
	var err error
	if l.Providers, err = p.ws.Providers(); err != nil {
		return nil, err
	}
	if l.Schema, err = segmentSchema(ctx, p.app, p.ws, p.store); err != nil {
		return nil, err
	}
	all, err := l.Check(ctx)
	return slices.DeleteFunc(all, func(f doctor.Finding) bool {
		return f.Check == "verdict" && f.Level != doctor.Pass || f.Level == doctor.Info // the verdict sums up what is told anyway
	}), err
}

func (p patient) workspace(ctx context.Context) ([]doctor.Finding, error) {
	all := doctor.Workspace(doctor.LookAtWorkspace(ctx, p.ws, p.store, send.Gone, p.app.now(), nil))
	if p.broken != nil && !slices.ContainsFunc(all, func(f doctor.Finding) bool { return f.Check == "database" && f.Level.Worse(doctor.Info) }) {
		all = append(all, doctor.Finding{Area: "workspace", Check: "database", Subject: p.ws.Database(), Level: doctor.Unknown, Found: "The database could not be opened: " + p.broken.Error() + ".", Do: "Run mailer db check."})
	}
	return all, nil
}

// domainsOf are the domains that a workspace sends from, each once.
func domainsOf(c config.Config) []string {
	var all []string
	for _, d := range senderDomains(c) {
		if !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	return all
}
