package main

import (
	"fmt"
	"slices"
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
	if err := emitDiagnosis(a, subject, all); err != nil {
		return err
	}
	rest, silent := doctor.Together(all)
	tellFindingsOf(a, doctor.Briefly(rest), silent)
	if len(rest) > 0 && !rest[len(rest)-1].Level.Worse(doctor.Info) { // the others have a line after them
		a.out.Println()
	}
	a.out.Printf("%s\n", a.page("", willArrive(doctor.Count(all))))
	return doctorExit(all)
}

// tellAll is tellDiagnosis for all that there is: the answer comes first, on a terminal also last, and what went well is told in a line for each area.
func tellAll(a *app, subject string, all []doctor.Finding) error {
	if err := emitDiagnosis(a, subject, all); err != nil {
		return err
	}
	a.out.Printf("%s\n\n", a.page("", mailArrives(all)))
	var worth []doctor.Finding
	passed := map[string][]string{}
	for _, f := range all {
		switch {
		case f.Level != doctor.Pass || len(f.Publish) > 0:
			worth = append(worth, f)
		case !slices.Contains(passed[f.Area], f.Check):
			passed[f.Area] = append(passed[f.Area], f.Check)
		}
	}
	rest, silent := doctor.Together(worth)
	tellFindingsOf(a, doctor.Briefly(rest), silent)
	if len(rest) > 0 && !rest[len(rest)-1].Level.Worse(doctor.Info) { // the others have a line after them
		a.out.Println()
	}
	for _, area := range doctor.Areas {
		if len(passed[area]) > 0 {
			a.out.Printf("PASS     %s\n", strings.TrimSpace(a.page("         ", area+": "+strings.Join(passed[area], ", "))))
		}
	}
	if ui.Terminal(a.out.People()) { // where the first line is out of sight by now
		a.out.Printf("\n%s\n", a.page("", mailArrives(all)))
	}
	return doctorExit(all)
}

// mailArrives is the answer, with what speaks against it.
func mailArrives(all []doctor.Finding) string {
	var names []string
	for _, f := range all {
		if f.Level == doctor.Fail && !slices.Contains(names, f.Check) {
			names = append(names, f.Check)
		}
	}
	n := doctor.Count(all)
	text := map[string]string{
		"no":      "No, or not for long: " + strings.Join(names, ", ") + " failed.",
		"unknown": "Nothing that could be looked at speaks against it; not all could.",
		"yes":     "Nothing that was looked at speaks against it.",
	}[arrives(n)]
	return "Will my mail arrive? " + text + " (" + counted(n) + ")"
}

// tellFindingsOf prints the failures and warnings, then what nobody answered, then the rest.
func tellFindingsOf(a *app, rest []doctor.Finding, silent []doctor.Silence) {
	for _, f := range rest {
		if !f.Level.Worse(doctor.Unknown) {
			for _, s := range silent {
				tellSilence(a, s)
			}
			silent = nil
		}
		tellFinding(a, f)
	}
	for _, s := range silent {
		tellSilence(a, s)
	}
}

// tellSilence prints what is not known for one cause.
func tellSilence(a *app, s doctor.Silence) {
	a.out.Printf("UNKNOWN  %d checks\n%s\n", len(s.Checks), a.page("  ", ui.Clean(strings.Join(s.Checks, ", "))))
	tellText(a, s.Finding)
	a.out.Println()
}

// emitDiagnosis is for scripts: each finding, and the summary.
func emitDiagnosis(a *app, subject string, all []doctor.Finding) error {
	for _, f := range all {
		if err := a.out.Emit("finding", f); err != nil {
			return err
		}
	}
	n := doctor.Count(all)
	return a.out.Emit("summary", struct {
		Subject string       `json:"subject"`
		Worst   doctor.Level `json:"worst"`
		Arrives string       `json:"arrives"`
		Fail    int          `json:"fail"`
		Warn    int          `json:"warn"`
		Unknown int          `json:"unknown"`
		Info    int          `json:"info"`
		Pass    int          `json:"pass"`
	}{subject, doctor.Worst(all), arrives(n), n[doctor.Fail], n[doctor.Warn], n[doctor.Unknown], n[doctor.Info], n[doctor.Pass]})
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
	return "Will it arrive? " + text + " (" + counted(n) + ")"
}

// counted is how many findings there are of each level.
func counted(n map[doctor.Level]int) string {
	var counts []string
	for _, l := range []doctor.Level{doctor.Fail, doctor.Warn, doctor.Unknown, doctor.Info, doctor.Pass} {
		if n[l] > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n[l], l))
		}
	}
	return strings.Join(counts, ", ")
}

// tellFinding prints one: a line of verdict, then why, what to do and what to publish. What went well is a line.
func tellFinding(a *app, f doctor.Finding) {
	a.out.Printf("%-7s  %s", strings.ToUpper(string(f.Level)), f.Check)
	if f.Subject != "" {
		a.out.Printf("  %s", ui.Clean(f.Subject))
	}
	a.out.Println()
	tellText(a, f)
	for _, r := range f.Publish {
		tellRecord(a, r)
	}
	if f.Level.Worse(doctor.Info) {
		a.out.Println()
	}
}

// tellText prints what was found, why it matters and what to do.
func tellText(a *app, f doctor.Finding) {
	a.out.Printf("%s\n", a.page("  ", ui.Clean(f.Found)))
	if f.Level.Worse(doctor.Info) || len(f.Publish) > 0 || f.Where != "" {
		for _, part := range []struct{ word, text string }{{"Why: ", f.Why}, {"Do:  ", f.Do}} {
			if part.text != "" {
				a.out.Printf("%s\n", a.page("  ", part.word+ui.Clean(part.text)))
			}
		}
	}
	for _, line := range f.Detail {
		a.out.Printf("%s\n", a.page("    ", ui.Clean(line)))
	}
	if f.Where != "" { // whole in a line, to be copied
		a.out.Printf("  Who: %s\n", ui.Clean(f.Where))
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
		a.out.Printf("%s\n", a.page("  ", "Note: "+ui.Clean(r.Note)))
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
		value := r.Value
		if r.Type != "A" && r.Type != "AAAA" { // a name without the last dot would get the zone's behind it
			value = strings.TrimSuffix(value, ".") + "."
		}
		return r.Name + ". IN " + r.Type + " " + value
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

// page lays a text out as wide as the terminal is, and no wider than a page.
func (a *app) page(indent, text string) string {
	return wrap(min(pageWidth, a.out.Columns()), indent, text)
}

// wrap breaks a text at spaces. What has none, an address or a key, stays whole.
func wrap(width int, indent, text string) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
			b.WriteString(indent)
			column = ui.Width(indent)
		case column+1+ui.Width(word) > width:
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

// markdownReport is for whoever runs the DNS: only what to do there, and who asks for it. Whether mail passes at all follows from the rest.
func markdownReport(title string, at time.Time, all []doctor.Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s, checked by mailer.\n", markdownText(title), at.Format(time.DateOnly))
	work := slices.DeleteFunc(slices.Clone(all), func(f doctor.Finding) bool {
		return f.Check == "dmarc_alignment" || !f.Level.Worse(doctor.Info) || f.Level == doctor.Unknown || f.Own && len(f.Publish) == 0
	})
	for i, f := range doctor.Briefly(work) {
		urgency := "should be done"
		if f.Level == doctor.Fail {
			urgency = "must be done: mail does not arrive, or will not for long"
		}
		fmt.Fprintf(&b, "\n## %d. %s (%s)\n\nThis %s.\n\n%s\n", i+1, markdownText(f.Subject), markdownText(f.Check), urgency, markdownText(f.Found))
		for _, part := range []struct{ word, text string }{{"What to do", f.Do}, {"Why", f.Why}} {
			if part.text != "" {
				fmt.Fprintf(&b, "\n**%s:** %s\n", part.word, markdownText(part.text))
			}
		}
		for _, r := range f.Publish {
			writeRecord(&b, r)
		}
	}
	if len(work) == 0 {
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
