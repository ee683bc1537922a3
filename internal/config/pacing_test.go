package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/pace"
)

// full has every key that says how fast, when and by which relay.
const full = `timezone: Asia/Tokyo
rates: [200/s, 100000/d]
relays:
  main: {host: a.example, weight: 3, warmup: {curve: standard, start: 2026-12-01, providers: {gmail: [50, 100, 200], docomo.ne.jp: slow}}}
  second: {host: b.example}
  spare: {host: c.example, standby: true, warmup: {curve: [1_000, 2000]}}
  carriers: {host: d.example, weight: 0, for: [DOCOMO.ne.jp, au, "*.ac.jp"], direct: true}
  shop: {host: e.example, from: [Shop.example.com, Info@example.com]}
domains:
  docomo.ne.jp: {connections: 2, rates: [10/s]}
  gmail: {pause: 2h}
  example.org: {rates: [1/s]}
  schools: {members: ["*.ac.jp", ed.jp], connections: 1}
breakers: {window: 30m, least: 50, hard: 2.5%, policy: off, complaint: 0.1%}
hours:
  windows: [mon-fri 09:00-18:00, "sat,sun 10:00-12:00"]
  quiet: [21:00-08:00]
  timezone: Europe/Berlin
bounces: {return_path: "bounce+{token}@example.com", mailbox: {host: imap.example.com, username: b, password_env: P}}
`

func TestPacing(t *testing.T) {
	w, err := load(t, full, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := w.Config
	if len(w.Warnings) > 0 {
		t.Errorf("warnings %v", w.Warnings)
	}
	if !reflect.DeepEqual(c.Rates, []pace.Rate{{N: 200, Per: time.Second}, {N: 100000, Per: 24 * time.Hour}}) {
		t.Errorf("rates %v", c.Rates)
	}
	if r := c.Relays[0]; r.Weight != 3 || r.Standby || r.Direct || r.Warmup.Start != "2026-12-01" {
		t.Errorf("main %+v", r)
	}
	if r := c.Relays[1]; r.Weight != 1 || !r.Warmup.Curve.IsZero() {
		t.Errorf("second %+v", r)
	}
	if r := c.Relays[2]; !r.Standby || !slices.Equal(r.Warmup.Curve.Steps, []int64{1000, 2000}) {
		t.Errorf("spare %+v", r)
	}
	if r := c.Relays[3]; r.Weight != 0 || !r.Direct || !slices.Equal(r.For, []string{"docomo.ne.jp", "au", "*.ac.jp"}) {
		t.Errorf("carriers %+v", r)
	}
	if r := c.Relays[4]; !slices.Equal(r.From, []string{"shop.example.com", "info@example.com"}) {
		t.Errorf("shop %+v", r)
	}
	levels := c.Breakers()
	if levels.Window != 30*time.Minute || levels.Least != 50 || levels.Shares[pace.Hard] != 0.025 || levels.Shares[pace.Policy] != 0 || levels.Shares[pace.Complaint] != 0.001 {
		t.Errorf("breakers %+v", levels)
	}
	hours := c.Hours()
	if len(hours.Windows) != 2 || len(hours.Quiet) != 1 || hours.Location.String() != "Europe/Berlin" {
		t.Errorf("hours %+v", hours)
	}
}

func TestPacingDefaults(t *testing.T) {
	c := Default()
	levels := c.Breakers()
	if levels.Window != time.Hour || levels.Least != 100 || levels.Shares[pace.Hard] != 0.05 || levels.Shares[pace.Policy] != 0.2 || levels.Shares[pace.Complaint] != 0.003 {
		t.Errorf("breakers %+v", levels)
	}
	c.Timezone = "Asia/Tokyo"
	now := time.Date(2026, 12, 24, 3, 0, 0, 0, time.UTC)
	if h := c.Hours(); h.Location.String() != "Asia/Tokyo" || !h.Next(now).Equal(now) {
		t.Errorf("hours %+v", h)
	}
}

func TestProviders(t *testing.T) {
	w, err := load(t, full, nil)
	if err != nil {
		t.Fatal(err)
	}
	table, err := w.Providers()
	if err != nil {
		t.Fatal(err)
	}
	for domain, lane := range map[string]string{"docomo.ne.jp": "docomo", "gmail.com": "gmail", "example.org": "example.org", "kyoto-u.ac.jp": "schools", "ed.jp": "schools"} {
		if got := table.Lane(domain); got != lane {
			t.Errorf("%s: %s, want %s", domain, got, lane)
		}
	}
	if p, _ := table.Provider("docomo"); p.Connections != 2 || len(p.Rates) != 1 {
		t.Errorf("docomo %+v", p)
	}
	if p, _ := table.Provider("gmail"); p.Pause != 2*time.Hour {
		t.Errorf("gmail %+v", p)
	}
	warm := w.Config.Relays[0].Warmup
	if steps := warm.Steps(table); len(steps) < 20 || steps[0] != 50 {
		t.Errorf("steps %v", steps)
	}
	if steps := warm.LaneSteps(table, "gmail"); !slices.Equal(steps, []int64{50, 100, 200}) {
		t.Errorf("gmail %v", steps)
	}
	if steps := warm.LaneSteps(table, "docomo"); len(steps) < 20 {
		t.Errorf("docomo, named by its domain: %v", steps)
	}
	if steps := warm.LaneSteps(table, "yahoo"); steps != nil {
		t.Errorf("yahoo %v", steps)
	}
	days := []pace.Day{{Date: "2026-11-30", Sent: 5}, {Date: "2026-12-01", Sent: 6}, {Date: "2026-12-02", Sent: 7}}
	if since := warm.Since(days); !reflect.DeepEqual(since, days[1:]) || warm.Begun("2026-11-30") || !warm.Begun("2026-12-01") {
		t.Errorf("since %v", since)
	}
	if since := (Warmup{}).Since(days); !reflect.DeepEqual(since, days) || !(Warmup{}).Begun("2026-11-30") {
		t.Errorf("without a start: %v", since)
	}
}

func TestRelaysFor(t *testing.T) {
	w, err := load(t, `relays:
  main: {host: h.example, weight: 3}
  second: {host: h.example}
  spare: {host: h.example, standby: true}
  manual: {host: h.example, weight: 0}
  carriers: {host: h.example, weight: 0, for: [docomo.ne.jp, au]}
  schools: {host: h.example, for: ["*.ac.jp"]}
  shop: {host: h.example, from: [shop.example.com, info@example.com]}
  both: {host: h.example, weight: 0, for: [au], from: [shop.example.com]}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ from, lane, domain, want string }{
		{"news@example.com", "gmail", "gmail.com", "main:3 second:1 spare:1"},
		{"news@example.com", "docomo", "docomo.ne.jp", "carriers:1"},
		{"news@example.com", "docomo", "mopera.net", "main:3 second:1 spare:1"}, // a domain is not its whole group
		{"news@example.com", "au", "ezweb.ne.jp", "carriers:1"},
		{"news@example.com", "kyoto-u.ac.jp", "kyoto-u.ac.jp", "schools:1"},
		{"news@example.com", "ac.jp", "ac.jp", "main:3 second:1 spare:1"},
		{"a@shop.example.com", "gmail", "gmail.com", "shop:1"},
		{"Shop <A@SHOP.example.com>", "gmail", "gmail.com", "shop:1"},
		{"a@sub.shop.example.com", "gmail", "gmail.com", "main:3 second:1 spare:1"},
		{"INFO@example.com", "gmail", "gmail.com", "shop:1"},
		{"a@shop.example.com", "docomo", "docomo.ne.jp", "carriers:1"}, // for goes before from
		{"a@shop.example.com", "au", "au.com", "both:1"},               // and both before either
		{"info@example.com", "au", "au.com", "carriers:1"},
		{"", "gmail", "gmail.com", "main:3 second:1 spare:1"},
	} {
		var got []string
		for _, r := range w.Config.RelaysFor(tt.from, tt.lane, tt.domain) {
			got = append(got, fmt.Sprintf("%s:%d", r.Name, r.Weight))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s to %s: %v, want %s", tt.from, tt.domain, got, tt.want)
		}
	}
	if w.Config.Relays[4].Weight != 0 {
		t.Error("the configuration was changed")
	}
	only := Config{Relays: Relays{{Name: "m"}, {Name: "n", Weight: 1, For: []string{"gmail"}}}}
	if got := only.RelaysFor("a@example.com", "docomo", "docomo.ne.jp"); len(got) != 0 {
		t.Errorf("a message without a way: %v", got)
	}
}

func TestPacingErrorsHaveTheirPlace(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"rate", "rates: [100]", `mailer.yaml:1:9: rates.0: "100" is not a rate`},
		{"rates as one value", "rates: 100/s", `mailer.yaml:1:8: rates: must be a list`},
		{"weight", "relays: {m: {host: h, weight: -1}}", `mailer.yaml:1:31: relays.m.weight: must be 0`},
		{"standby", "relays: {m: {host: h, standby: perhaps}}", `relays.m.standby: must be true or false, not "perhaps"`},
		{"unknown relay key", "relays: {m: {host: h, warm_up: {}}}", `relays.m: unknown key "warm_up" (did you mean "warmup"?)`},
		{"for: provider", "relays: {m: {host: h, for: [gmial]}}", `mailer.yaml:1:29: relays.m.for.0: no provider is named "gmial"; write one of au,`},
		{"for: nearest", "relays: {m: {host: h, for: [gmial]}}", `(did you mean "gmail"?)`},
		{"for: address", "relays: {m: {host: h, for: [a@b.example]}}", `relays.m.for.0: "a@b.example" is not a domain name`},
		{"from", "relays: {m: {host: h, from: [\"a b\"]}}", `relays.m.from.0: "a b" is neither an address nor the domain of one`},
		{"from: address", "relays: {m: {host: h, from: [\"@b.example\"]}}", `relays.m.from.0: "@b.example" is neither`},
		{"curve", "relays: {m: {host: h, warmup: {curve: standart}}}", `mailer.yaml:1:39: relays.m.warmup.curve: no warm-up is named "standart"; write one of slow, standard,`},
		{"curve: nearest", "relays: {m: {host: h, warmup: {curve: standart}}}", `(did you mean "standard"?)`},
		{"curve of nothing", "relays: {m: {host: h, warmup: {curve: [50, 0]}}}", `relays.m.warmup.curve: "0" is not a number of messages`},
		{"curve of lists", "relays: {m: {host: h, warmup: {curve: [[50]]}}}", `relays.m.warmup.curve: must be a single value, not a list`},
		{"curve of words", "relays: {m: {host: h, warmup: {curve: [50, many]}}}", `"many" is not a number of messages`},
		{"start", "relays: {m: {host: h, warmup: {curve: slow, start: tomorrow}}}", `relays.m.warmup.start: "tomorrow" is not a day; write it as 2026-12-01`},
		{"start alone", "relays: {m: {host: h, warmup: {start: 2026-12-01}}}", `relays.m.warmup: has a start and no curve`},
		{"warm-up of nobody", "relays: {m: {host: h, warmup: {providers: {gmial: slow}}}}", `relays.m.warmup.providers.gmial: no provider is named "gmial"`},
		{"warm-up of one twice", "relays: {m: {host: h, warmup: {providers: {gmail: slow, googlemail.com: slow}}}}",
			`mailer.yaml:1:73: relays.m.warmup.providers.googlemail.com: gmail and googlemail.com are one provider, gmail`},
		{"warm-up of a provider", "relays: {m: {host: h, warmup: {providers: {gmail: fast}}}}", `relays.m.warmup.providers.gmail: no warm-up is named "fast"`},
		{"two of one group", "domains:\n  outlook.com: {connections: 2}\n  hotmail.com: {rates: [1/s]}\n",
			`mailer.yaml:3:16: domains.hotmail.com: outlook.com and hotmail.com are both Microsoft, whose domains are one group`},
		{"name and domain", "domains: {gmail: {}, gmail.com: {}}", `domains.gmail.com: gmail and gmail.com are both Gmail`},
		{"group by a slip", "domains: {yaho: {connections: 1}}", `mailer.yaml:1:17: domains.yaho: no provider is named "yaho"; write one of au,`},
		{"group by a slip: nearest", "domains: {yaho: {connections: 1}}", `(did you mean "yahoo"?)`},
		{"member", "domains: {school: {members: [a b]}}", `domains.school.members.0: "a b" is not a domain name`},
		{"member twice", "domains: {a: {members: [x.example]}, b: {members: [x.example]}}", `domains.b: x.example is in a and in b`},
		{"connections", "domains: {gmail: {connections: -1}}", `domains.gmail.connections: must be 0`},
		{"pause", "domains: {gmail: {pause: long}}", `domains.gmail.pause: "long" is not a time span`},
		{"unknown lane key", "domains: {gmail: {rate: [1/s]}}", `(did you mean "rates"?)`},
		{"no sign", "breakers: {hard: 5}", `mailer.yaml:1:18: breakers.hard: "5" is not a share; write 5%, 0.3% or off`},
		{"nothing", "breakers: {hard: 0%}", `"0%" is not a share`},
		{"over all", "breakers: {complaint: 101%}", `"101%" is not a share`},
		{"no number", "breakers: {complaint: NaN%}", `"NaN%" is not a share`},
		{"negative", "breakers: {policy: -1%}", `"-1%" is not a share`},
		{"window", "breakers: {window: 1s}", `breakers.window: must be 1m or longer`},
		{"least", "breakers: {least: 0}", `breakers.least: must be 1 or more`},
		{"unknown breaker", "breakers: {complaints: 1%}", `unknown key "complaints" (did you mean "complaint"?)`},
		{"span", "hours: {quiet: [21:00-08:00, at night]}", `mailer.yaml:1:30: hours.quiet.1: "at night"`},
		{"zone", "hours: {timezone: Asia/Tokio}", `mailer.yaml:1:19: hours.timezone: no time zone is named "Asia/Tokio"`},
		{"never open", "hours: {windows: [mon 09:00-10:00], quiet: [mon]}", `mailer.yaml:1:8: hours: leave no time at which mail may go`},
	} {
		_, err := load(t, tt.text, nil)
		var one *Error
		if !errors.As(err, &one) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.name, err, tt.want)
		}
	}
}

func TestPacingFromTheEnvironment(t *testing.T) {
	w, err := load(t, full, map[string]string{
		"MAILER_RATES":                              "5/s, 100/h",
		"MAILER_RELAYS_MAIN_WARMUP_CURVE":           "10, 20",
		"MAILER_RELAYS_MAIN_WARMUP_PROVIDERS_GMAIL": "slow",
		"MAILER_RELAYS_MAIN_WEIGHT":                 "0",
		"MAILER_RELAYS_SHOP_FROM":                   "example.net, a@example.org",
		"MAILER_DOMAINS_DOCOMO_NE_JP_CONNECTIONS":   "7",
		"MAILER_BREAKERS_POLICY":                    "1%",
		"MAILER_HOURS_QUIET":                        "sat,sun 10:00-12:00; 22:00-07:00",
	})
	if err != nil {
		t.Fatal(err)
	}
	c := w.Config
	if len(c.Rates) != 2 || c.Relays[0].Weight != 0 || !slices.Equal(c.Relays[0].Warmup.Curve.Steps, []int64{10, 20}) ||
		c.Relays[0].Warmup.Providers["gmail"].Name != "slow" || !slices.Equal(c.Relays[4].From, []string{"example.net", "a@example.org"}) ||
		c.Domains[0].Connections != 7 || c.Breaking.Policy != 1 || len(c.Opening.Quiet) != 2 {
		t.Errorf("%+v", c)
	}
	_, err = load(t, full, map[string]string{"MAILER_BREAKERS_HARD": "much", "MAILER_RELAYS_MAIN_WARMUP_CURVE": "quick"})
	for _, want := range []string{`$MAILER_BREAKERS_HARD: breakers.hard: "much" is not a share`, `$MAILER_RELAYS_MAIN_WARMUP_CURVE: relays.main.warmup.curve: no warm-up is named "quick"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

// goccy reads [21:00-08:00] within { } as a mapping.
func TestHoursOnOneLine(t *testing.T) {
	w, err := load(t, "hours: {windows: [mon-fri 09:00-18:00, sat], quiet: [21:00-08:00, \"12:00-13:00\"], timezone: UTC}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(w.Config.Opening); got != "{[mon-fri 09:00-18:00 sat] [21:00-08:00 12:00-13:00] UTC}" {
		t.Errorf("got %s", got)
	}
	_, err = load(t, "hours: {quiet: [{from: 21, to: 8}]}", nil)
	if err == nil || !strings.Contains(err.Error(), "mailer.yaml:1:17: hours.quiet.0: must be a single value, not keys and values") {
		t.Errorf("got %v", err)
	}
}

// What the manual shows is a mailer.yaml, but for the hosts.
func TestTheManualLoads(t *testing.T) {
	env := map[string]string{"MAILER_RELAYS_MAIN_HOST": "smtp.example.com"}
	blocks := 0
	for _, block := range strings.Split(pace.Help, "\n\n") {
		if !strings.HasPrefix(block, "    ") || !strings.Contains(strings.SplitN(block, "\n", 2)[0], ":") || strings.Contains(block, "mailer ") {
			continue
		}
		blocks++
		w, err := load(t, block, env)
		if err != nil || len(w.Warnings) > 0 {
			t.Errorf("%v %v in\n%s", err, w, block)
		}
	}
	if blocks != 6 {
		t.Errorf("%d blocks", blocks)
	}
	w, err := load(t, "timezone: UTC", nil)
	if err != nil {
		t.Fatal(err)
	}
	table, err := w.Providers()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range table.Providers() {
		if !strings.Contains(pace.Help, "`"+p.Name+"`") {
			t.Errorf("the manual does not name %s", p.Name)
		}
	}
	for name, at := range map[string]map[int]int64{"standard": {1: 50, 17: 100_000, 24: 1_000_000}, "slow": {15: 1000, 37: 100_000}} {
		curve, _ := table.Curve(name)
		for day, want := range at {
			if curve[day-1] != want {
				t.Errorf("%s: %d on day %d, and the manual says %d", name, curve[day-1], day, want)
			}
		}
	}
}

func TestPercent(t *testing.T) {
	for text, want := range map[string]string{"5%": "5%", "0.3%": "0.3%", "off": "off", "5 %": "5%", "100%": "100%", "0.30%": "0.3%"} {
		var p Percent
		if err := p.UnmarshalText([]byte(text)); err != nil || p.String() != want {
			t.Errorf("%q: %v, %v; want %s", text, p, err, want)
		}
	}
}

func FuzzCurve(f *testing.F) {
	for _, seed := range []string{"standard", "50, 100", "", "1_000", "-1", "1,,2", "9223372036854775808", "５０"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c, again Curve
		if c.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(c.String())); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%q is %+v, read back %+v, %v", text, c, again, err)
		}
		if c.Name != "" && len(c.Steps) > 0 || slices.ContainsFunc(c.Steps, func(n int64) bool { return n < 1 }) {
			t.Errorf("%q is %+v", text, c)
		}
	})
}
