package main

import (
	"slices"
	"strings"

	"mailer/internal/ingest"
)

// withProfile fills in what the profile says where no flag does.
func (o importOptions) withProfile(dir string) (importOptions, error) {
	if o.noHeader {
		o.header = "none"
	}
	if o.profile == "" {
		return o, nil
	}
	p, err := ingest.LoadProfile(dir, o.profile)
	if err != nil {
		return o, usage("%w", err)
	}
	texts := []struct {
		flag, value string
		into        *string
	}{
		{"format", p.Format, &o.format}, {"encoding", p.Encoding, &o.encoding}, {"delimiter", p.Delimiter, &o.delimiter}, {"sheet", p.Sheet, &o.sheet},
		{"header", p.Header, &o.header}, {"list", p.List, &o.list}, {"on-duplicate", p.OnDuplicate, &o.onDuplicate},
		{"consent-source", p.Consent.Source, &o.consentSource}, {"consent-at", p.Consent.At, &o.consentAt}, {"consent-text", p.Consent.Text, &o.consentText},
	}
	for _, t := range texts {
		if t.value != "" && !o.given(t.flag) && !(t.flag == "header" && o.noHeader) {
			*t.into = t.value
		}
	}
	if !o.given("fields") {
		o.fields = p.Fields
	}
	if !o.given("unlist-missing") {
		o.unlist = p.UnlistMissing
	}
	o.maps = append(o.profileMaps(p), o.maps...)
	return o, nil
}

// profileMaps are the columns of a profile that no --map names.
func (o importOptions) profileMaps(p ingest.Profile) []string {
	var maps []string
	for _, m := range p.Mappings() {
		if !slices.ContainsFunc(o.maps, func(flag string) bool { return strings.HasPrefix(flag, m.Column+"=") }) {
			maps = append(maps, m.Column+"="+m.Field)
		}
	}
	return maps
}

// asProfile is what the flags say.
func (o importOptions) asProfile() ingest.Profile {
	p := ingest.Profile{
		Fields: o.fields, Format: unlessAuto(o.format), Encoding: unlessAuto(o.encoding), Delimiter: unlessAuto(o.delimiter), Sheet: o.sheet,
		Header: unlessAuto(o.header), List: o.list, Consent: ingest.ProfileConsent{Source: o.consentSource, At: o.consentAt, Text: o.consentText},
		UnlistMissing: o.unlist,
	}
	if o.given("on-duplicate") || o.profile != "" {
		p.OnDuplicate = o.onDuplicate
	}
	for _, text := range o.maps {
		if m, err := ingest.ParseMapping(text); err == nil {
			if p.Map == nil {
				p.Map = map[string]string{}
			}
			p.Map[m.Column] = m.Field
		}
	}
	return p
}

func unlessAuto(flag string) string {
	if flag == "auto" {
		return ""
	}
	return flag
}

// saveProfile keeps the flags of an import that could be read.
func (r *importRun) saveProfile(dir string) error {
	if r.o.saveProfile == "" {
		return nil
	}
	path, err := ingest.SaveProfile(dir, r.o.saveProfile, r.o.asProfile(), r.o.profile == r.o.saveProfile)
	if err != nil {
		return err
	}
	r.a.out.Printf("  the flags are saved in %s: --profile %s uses them\n", path, r.o.saveProfile)
	return nil
}

// profileNames are for the shell's completion.
func (a *app) profileNames() []string {
	dir, err := a.find()
	if err != nil {
		return nil
	}
	return ingest.Profiles(dir)
}
