package main

import (
	"strings"

	"mailer/internal/segment"

	"github.com/spf13/cobra"
)

func newSegmentsListCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the saved segments, and say which of them do not work",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.openSegments(cmd.Context())
			if err != nil {
				return err
			}
			defer s.store.Close()
			return listSegments(a, s)
		},
	}
}

type segmentLine struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
	Error      string `json:"error,omitempty"`
}

func listSegments(a *app, s *segments) error {
	names, err := segment.Names(s.files())
	if err != nil {
		return err
	}
	var rows [][]string
	broken := 0
	for _, name := range names {
		line := describeSegment(s, name)
		text := oneLine(line.Expression)
		if line.Error != "" {
			broken++
			text = "BROKEN: " + firstLine(line.Error)
		}
		rows = append(rows, []string{name, text})
		if err := a.out.Emit("segment", line); err != nil {
			return err
		}
	}
	if a.out.JSON {
		return a.out.Emit("summary", map[string]int{"segments": len(names), "broken": broken})
	}
	if len(rows) == 0 {
		a.out.Println("No segment is saved. mailer segments save NAME --where EXPR saves one.")
		return nil
	}
	a.out.Table([]string{"segment", "expression"}, rows)
	return nil
}

func describeSegment(s *segments, name string) segmentLine {
	src, err := segment.Load(s.files(), name)
	if err == nil {
		_, err = segment.Compile(src, s.schema)
	}
	line := segmentLine{Name: name, Expression: src}
	if err != nil {
		line.Error = err.Error()
	}
	return line
}

// oneLine is an expression without its comment lines, on one line.
func oneLine(src string) string {
	var kept []string
	for line := range strings.Lines(src) {
		if t := strings.TrimSpace(line); !strings.HasPrefix(t, "#") && !strings.HasPrefix(t, "//") {
			kept = append(kept, t)
		}
	}
	return strings.TrimSpace(strings.Join(kept, " "))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
