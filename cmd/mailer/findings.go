package main

import (
	"mailer/internal/ingest"
	"mailer/internal/ui"
)

// shownTypos is how many suspicious domains people see at once.
const shownTypos = 5

// tellAddresses warns of what is odd about a file's addresses: a finding line each for scripts.
func tellAddresses(a *app, file string, all []ingest.Finding) error {
	typos, dead := 0, 0
	for _, f := range all {
		if err := a.out.Emit("finding", struct {
			File string `json:"file"`
			ingest.Finding
		}{file, f}); err != nil {
			return err
		}
		if f.Code == ingest.TypoDomain {
			if typos++; typos > shownTypos {
				continue
			}
		}
		if f.Code == ingest.DeadDomain {
			if dead++; dead > shownTypos {
				continue
			}
		}
		a.out.Warnf("%s: %s", ui.Clean(file), ui.Clean(f.Message))
	}
	if more := typos - shownTypos; more > 0 {
		a.out.Warnf("%s: and %s that look like a slip of the finger (--json lists them)", ui.Clean(file), ui.Count(more, "more domain", "more domains"))
	}
	if more := dead - shownTypos; more > 0 {
		a.out.Warnf("%s: and %s that take no mail (--json lists them)", ui.Clean(file), ui.Count(more, "more domain", "more domains"))
	}
	return nil
}
