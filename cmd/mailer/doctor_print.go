package main

import (
	"fmt"
	"strings"
	"time"

	"mailer/internal/doctor"
	"mailer/internal/ui"
)

// pageWidth is how wide findings are laid out: they are read in terminals and pasted into mails.
const pageWidth = 80

// tellDiagnosis prints findings, the worst first, as people read them or a line each for scripts, then a summary. Its error is the
// exit code.
func tellDiagnosis(a *app, subject string, all []doctor.Finding) error {
	for _, f := range all {
		if err := a.out.Emit("finding", f); err != nil {
			return err
		}
		tellFinding(a, f)
	}
	n := doctor.Count(all)
	a.out.Printf("\n%s\n", wrap("", willArrive(n)))
	if err := a.out.Emit("summary", struct {
		Subject string       `json:"subject"`
		Worst   doctor.Level `json:"worst"`
		Arrives string       `json:"arrives"`
		Fail    int          `json:"fail"`
		Warn    int          `json:"warn"`
		Unknown int          `json:"unknown"`
		Info    int          `json:"info"`
		Pass    int          `json:"pass"`
	}{subject, doctor.Worst(all), arrives(n), n[doctor.Fail], n[doctor.Warn], n[doctor.Unknown], n[doctor.Info], n[doctor.Pass]}); err != nil {
		return err
	}
	return doctorExit(all)
}

// doctorExit is 5 where a check failed. What is not known is no failure.
func doctorExit(all []doctor.Finding) error {
	if doctor.Worst(all) == doctor.Fail {
		return &exit{code: exitSafety}
	}
	return nil
}

// arrives answers the question in one word.
func arrives(n map[doctor.Level]int) string {
	switch {
	case n[doctor.Fail] > 0:
		return "no"
	case n[doctor.Unknown] > 0:
		return "unknown"
	}
	return "yes"
}

// willArrive answers it in a sentence.
func willArrive(n map[doctor.Level]int) string {
	text := map[string]string{
		"no":      "No, or not for long: what failed comes first above.",
		"unknown": "Nothing speaks against it, but not all could be found out.",
		"yes":     "Nothing that was checked speaks against it.",
	}[arrives(n)]
	var counts []string
	for _, l := range []doctor.Level{doctor.Fail, doctor.Warn, doctor.Unknown, doctor.Info, doctor.Pass} {
		if n[l] > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n[l], l))
		}
	}
	return "Will it arrive? " + text + " (" + strings.Join(counts, ", ") + ")"
}

// tellFinding prints one: a line of verdict, then why, what to do and what to publish. What went well is a line.
func tellFinding(a *app, f doctor.Finding) {
	a.out.Printf("%-7s  %s", strings.ToUpper(string(f.Level)), f.Check)
	if f.Subject != "" {
		a.out.Printf("  %s", ui.Clean(f.Subject))
	}
	a.out.Printf("\n%s\n", wrap("  ", ui.Clean(f.Found)))
	if f.Level.Worse(doctor.Info) || len(f.Publish) > 0 || f.Where != "" {
		for _, part := range []struct{ word, text string }{{"Why: ", f.Why}, {"Do:  ", f.Do}} {
			if part.text != "" {
				a.out.Printf("%s\n", wrap("  ", part.word+ui.Clean(part.text)))
			}
		}
	}
	for _, line := range f.Detail {
		a.out.Printf("%s\n", wrap("    ", ui.Clean(line)))
	}
	if f.Where != "" { // whole in a line, to be copied
		a.out.Printf("  Who: %s\n", ui.Clean(f.Where))
	}
	for _, r := range f.Publish {
		tellRecord(a, r)
	}
	if f.Level.Worse(doctor.Info) {
		a.out.Println()
	}
}

// tellRecord prints a record for panels, whose fields take a value in one line, and for zone files.
func tellRecord(a *app, r doctor.Record) {
	a.out.Printf("\n  Name:  %s\n", ui.Clean(r.Name))
	if short := inPanel(r); short != "" {
		a.out.Printf("         (where the panel adds .%s itself: %s)\n", ui.Clean(r.Zone), ui.Clean(short))
	}
	a.out.Printf("  Type:  %s\n  Value, in one line:\n%s\n", r.Type, ui.Clean(r.Value))
	if r.Note != "" {
		a.out.Printf("%s\n", wrap("  ", "Note: "+ui.Clean(r.Note)))
	}
	a.out.Printf("  Or in a zone file:\n%s\n", clean(zoneLines(r)))
}

// inPanel is what is typed into a panel that adds the zone.
func inPanel(r doctor.Record) string {
	switch short, ok := strings.CutSuffix(r.Name, "."+r.Zone); {
	case r.Zone == "":
		return ""
	case r.Name == r.Zone:
		return "@"
	case ok:
		return short
	}
	return ""
}

// zoneLines is a record as a zone file has it, in lines that fit a page. A TXT record may have strings of any length up to 255.
func zoneLines(r doctor.Record) string {
	if r.Type != "TXT" {
		return r.Name + ". IN " + r.Type + " " + r.Value
	}
	const room = pageWidth - len(`  ""`) - 2
	value := []byte(r.Value)
	if head := r.Name + `. IN TXT `; len(head)+len(value)+2 <= pageWidth {
		return head + txtString(value)
	}
	lines := []string{r.Name + ". IN TXT ("}
	for len(value) > 0 {
		n := min(room, len(value))
		lines, value = append(lines, "  "+txtString(value[:n])), value[n:]
	}
	return strings.Join(append(lines, ")"), "\n")
}

// txtString is a string of a zone file (RFC 1035 section 5.1).
func txtString(b []byte) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(string(b)) + `"`
}

// wrap breaks a text at spaces. What has none, an address or a key, stays whole.
func wrap(indent, text string) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
			b.WriteString(indent)
			column = ui.Width(indent)
		case column+1+ui.Width(word) > pageWidth:
			b.WriteString("\n" + indent)
			column = ui.Width(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += ui.Width(word)
	}
	return b.String()
}

// markdownReport is for whoever runs the DNS: only what to do there, and who asks for it.
func markdownReport(title string, at time.Time, all []doctor.Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s, checked by mailer.\n", markdownText(title), at.Format(time.DateOnly))
	n := 0
	for _, f := range all {
		if !f.Level.Worse(doctor.Info) || f.Level == doctor.Unknown || f.Own && len(f.Publish) == 0 {
			continue
		}
		n++
		urgency := "should be done"
		if f.Level == doctor.Fail {
			urgency = "must be done: mail does not arrive, or will not for long"
		}
		fmt.Fprintf(&b, "\n## %d. %s (%s)\n\nThis %s.\n\n%s\n", n, markdownText(f.Subject), markdownText(f.Check), urgency, markdownText(f.Found))
		for _, part := range []struct{ word, text string }{{"What to do", f.Do}, {"Why", f.Why}} {
			if part.text != "" {
				fmt.Fprintf(&b, "\n**%s:** %s\n", part.word, markdownText(part.text))
			}
		}
		for _, r := range f.Publish {
			writeRecord(&b, r)
		}
	}
	if n == 0 {
		b.WriteString("\nNothing needs to be done.\n")
	}
	return b.String()
}

func writeRecord(b *strings.Builder, r doctor.Record) {
	fmt.Fprintf(b, "\nName (type %s):\n\n%s", r.Type, codeBlock(r.Name))
	if short := inPanel(r); short != "" {
		fmt.Fprintf(b, "\nWhere the panel adds `.%s` itself, only `%s`. Value:\n\n", ui.Clean(r.Zone), ui.Clean(short))
	} else {
		b.WriteString("\nValue:\n\n")
	}
	b.WriteString(codeBlock(r.Value))
	if len(r.Strings) > 1 {
		fmt.Fprintf(b, "\nThe value is longer than one string of a TXT record may be (255). In a zone file:\n\n%s", codeBlock(zoneLines(r)))
	}
	if r.Note != "" {
		fmt.Fprintf(b, "\nNote: %s.\n", markdownText(r.Note))
	}
}

// codeBlock is a text to copy as it is.
func codeBlock(text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + "\n" + clean(text) + "\n" + fence + "\n"
}

// markdownText makes a text mean nothing but itself: a part of it comes out of the DNS.
func markdownText(s string) string {
	var b strings.Builder
	for _, r := range ui.Clean(s) {
		if strings.ContainsRune("\\`*_[]<>#|~", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
