package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/suppression"
)

// Cleaning says what comes of mail that came back. Package suppression says what each part means.
type Cleaning struct {
	Hard     HardRule          `yaml:"hard"`
	HalfLife time.Duration     `yaml:"half_life"`
	Soft     Bar               `yaml:"soft"`
	Full     Bar               `yaml:"full"`
	Weights  map[string]Weight `yaml:"weights"` // by reason; those that are left out keep their defaults
	Freeze   Freeze            `yaml:"freeze"`
}

// Bar is when soft bounces suppress an address: all three must be reached.
type Bar struct {
	Score     Weight        `yaml:"score"` // 0: never
	Campaigns int           `yaml:"campaigns"`
	Over      time.Duration `yaml:"over"`
}

// Freeze is when the dead addresses of a provider are not believed.
type Freeze struct {
	Share  Percent       `yaml:"share"`
	Least  int           `yaml:"least"`
	Window time.Duration `yaml:"window"`
	For    time.Duration `yaml:"for"`
}

// HardRule says what becomes of dead addresses.
type HardRule string

// The rules.
const (
	HardSuppress HardRule = "suppress"
	HardKeep     HardRule = "keep" // record them only
)

// UnmarshalText reads suppress or keep.
func (h *HardRule) UnmarshalText(b []byte) error { return oneOf(h, string(b), HardSuppress, HardKeep) }

// Weight is a number that is not negative.
type Weight float64

// UnmarshalText reads 1 or 0.5.
func (w *Weight) UnmarshalText(b []byte) error {
	n, err := strconv.ParseFloat(string(b), 64)
	if err != nil || !(n >= 0) || math.IsInf(n, 0) { // NaN is neither
		return fmt.Errorf("%q is not a number such as 1 or 0.5", b)
	}
	*w = Weight(n)
	return nil
}

// String writes a number as it is read.
func (w Weight) String() string { return strconv.FormatFloat(float64(w), 'f', -1, 64) }

// defaultCleaning is suppression.DefaultPolicy as it is written in the file.
func defaultCleaning() Cleaning {
	p := suppression.DefaultPolicy()
	bar := func(b suppression.Bar) Bar { return Bar{Weight(b.Score), b.Campaigns, b.Over} }
	return Cleaning{Hard: HardSuppress, HalfLife: p.HalfLife, Soft: bar(p.Soft), Full: bar(p.Full), Weights: defaultWeights(),
		Freeze: Freeze{Share: Percent(p.Freeze.Share * 100), Least: int(p.Freeze.Least), Window: p.Freeze.Window, For: p.Freeze.For}}
}

func defaultWeights() map[string]Weight {
	all := map[string]Weight{}
	for reason, w := range suppression.DefaultPolicy().Weights {
		all[reason] = Weight(w)
	}
	return all
}

// derive adds the weights that the file leaves out.
func (c *Cleaning) derive() {
	all := defaultWeights()
	maps.Copy(all, c.Weights)
	c.Weights = all
}

// Policy is how the list is cleaned.
func (c Config) Policy() suppression.Policy {
	bar := func(b Bar) suppression.Bar {
		return suppression.Bar{Score: float64(b.Score), Campaigns: b.Campaigns, Over: b.Over}
	}
	x := c.Cleaning
	p := suppression.Policy{KeepDead: x.Hard == HardKeep, HalfLife: x.HalfLife, Soft: bar(x.Soft), Full: bar(x.Full), Weights: map[string]float64{},
		Freeze: suppression.Freeze{Share: x.Freeze.Share.Share(), Least: int64(x.Freeze.Least), Window: x.Freeze.Window, For: x.Freeze.For}}
	for reason, w := range x.Weights {
		p.Weights[reason] = float64(w)
	}
	return p
}

func (c *checker) cleaning(x Cleaning) {
	if x.HalfLife <= 0 {
		c.bad("cleaning.half_life", "must be longer than nothing, such as 90d")
	}
	for _, b := range []struct {
		key string
		bar Bar
	}{{"cleaning.soft", x.Soft}, {"cleaning.full", x.Full}} {
		if b.bar.Campaigns < 1 {
			c.bad(b.key+".campaigns", "must be 1 or more; score: 0 switches it off")
		}
	}
	var known []string
	for _, r := range bounce.Reasons() {
		if suppression.Countable(r) {
			known = append(known, r)
		}
	}
	slices.Sort(known)
	for _, reason := range slices.Sorted(maps.Keys(x.Weights)) {
		key := "cleaning.weights." + reason
		switch {
		case bounce.Words(reason) == "":
			c.unknown(key, reason, "no reason is named %q; write one of %s", known)
		case !suppression.Countable(reason) && x.Weights[reason] > 0:
			c.bad(key, "%s is about our side (%s): it never counts against an address", reason, bounce.Words(reason))
		}
	}
	if x.Freeze.Least < 1 {
		c.bad("cleaning.freeze.least", "must be 1 or more")
	}
	if x.Freeze.Window < time.Minute {
		c.bad("cleaning.freeze.window", "must be 1m or longer")
	}
	if x.Freeze.For <= 0 {
		c.bad("cleaning.freeze.for", "must be longer than nothing, such as 1d; share: off switches it off")
	}
}
