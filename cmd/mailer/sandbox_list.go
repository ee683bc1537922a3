package main

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"strings"

	"mailer/internal/sandbox"
)

// formatHelp has an entry for each format: its name, whose it is, and the words that may follow the name.
func formatHelp() string {
	var b strings.Builder
	line, last := "", ""
	for _, p := range sandbox.Personalities() {
		if p.Format == "" {
			continue
		}
		if p.Format != last {
			b.WriteString(line + "\n")
			line, last = fmt.Sprintf("  %-17s %s:", p.Format+"-", p.Help), p.Format
		}
		word := " " + strings.TrimPrefix(p.Name, p.Format+"-")
		if len(line)+len(word) > helpWidth {
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", 19)
		}
		line += word
	}
	return strings.TrimPrefix(b.String(), "\n") + line + "\n"
}

const helpWidth = 118 // as wide as the rest of the help is written

// runSandboxList prints the table that the sandbox and its tests are made of.
func runSandboxList(a *app, format string) error {
	all := sandbox.Personalities()
	switch {
	case format != "text" && format != "csv":
		return usage("--format takes text or csv, not %q", format)
	case a.out.JSON:
		for _, p := range all {
			if err := a.out.Emit("recipient", p); err != nil {
				return err
			}
		}
		return a.out.Emit("summary", struct {
			Recipients int `json:"recipients"`
		}{len(all)})
	case format == "csv":
		w := csv.NewWriter(a.out.Data())
		w.Write([]string{"email", "name", "read as", "proven by", "and then"})
		for _, p := range all {
			w.Write([]string{p.Example, p.Name, p.Promise.String(), p.Promise.Proof, string(p.Promise.Does)})
		}
		w.Flush()
		return w.Error()
	}
	var rows [][]string
	for _, p := range all {
		if p.Format != "" {
			rows = append(rows, []string{p.Example, cmp.Or(p.Remark, p.Help), p.Promise.String(), cmp.Or(p.Promise.Proof, "-"), string(p.Promise.Does)})
		}
	}
	a.out.Table([]string{"recipient", "writes", "read as", "proven by", "and then"}, rows)
	a.out.Println("mailer sandbox --help tells of the others, who need no format of their own.")
	return nil
}
