package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mailer/internal/segment"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

func newSegmentsSaveCmd(a *app) *cobra.Command {
	var o segmentSource
	var replace bool
	cmd := &cobra.Command{
		Use:   "save NAME --where EXPR",
		Short: "Save an expression under a name",
		Long: `Save an expression as segments/NAME.expr, once it has been checked against the fields and lists of the workspace.
A segment that is there already is changed only with --replace. In a workspace of 100,000 contacts and more a field gets
an index when the segment asks for a small part of them by it.`,
		Args: exactArgs(1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = strings.TrimSuffix(args[0], segment.Ext)
			return runSegmentsSave(cmd.Context(), a, o, replace)
		},
	}
	o.flag(cmd)
	cmd.Flags().BoolVar(&replace, "replace", false, "change a segment that is there already")
	return cmd
}

func runSegmentsSave(ctx context.Context, a *app, o segmentSource, replace bool) error {
	if err := segment.CheckName(o.name); err != nil {
		return usage("%w", err)
	}
	if strings.TrimSpace(o.where) == "" {
		return usage("segments save needs --where EXPR; for everybody write --where true")
	}
	s, err := a.openSegments(ctx)
	if err != nil {
		return err
	}
	defer s.store.Close()
	e, err := segment.Explain(o.where, s.schema)
	if err != nil {
		return fmt.Errorf("--where: %w", err)
	}
	if err := writeSegment(s.ws.Dir, o, replace); err != nil {
		return err
	}
	bar := counting(a)
	n, err := s.store.CountWith(ctx, store.Where(e.Query), bar.set)
	bar.close()
	if err != nil {
		return err
	}
	index, made, err := s.store.TendIndexes(ctx, seeks(e))
	if err != nil {
		a.out.Warnf("%s; the segment works without an index", err)
	}
	file := segment.Path(o.name)
	a.out.Printf("saved %s: %s\n", ui.Clean(file), ui.Count(n, "contact", "contacts"))
	if made {
		a.out.Printf("made an index on %s, so that it is counted sooner\n", ui.Clean(index.Name))
	}
	return a.out.Emit("summary", struct {
		Segment string `json:"segment"`
		File    string `json:"file"`
		Count   int64  `json:"count"`
		Index   string `json:"index,omitempty"` // the field of an index that was made
	}{o.name, file, n, index.Name})
}

// seeks are the conditions of a segment that an index can answer.
func seeks(e segment.Explanation) []store.Seek {
	var list []store.Seek
	for _, s := range e.Seeks {
		list = append(list, store.Seek{Field: s.Field, Where: store.Where(s.Query)})
	}
	return list
}

// writeSegment writes the file whole or not at all. Saving the same expression again is no change.
func writeSegment(dir string, o segmentSource, replace bool) error {
	text := strings.TrimSpace(o.where) + "\n"
	path := filepath.Join(dir, filepath.FromSlash(segment.Path(o.name)))
	old, err := os.ReadFile(path)
	switch {
	case err == nil && string(old) == text:
		return nil
	case err == nil && !replace:
		return usage("segment %s is there already; --replace changes it", o.name)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("save segment %s: %w", o.name, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("save segment %s: %w", o.name, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".saving-*")
	if err != nil {
		return fmt.Errorf("save segment %s: %w", o.name, err)
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("save segment %s: %w", o.name, err)
	}
	return nil
}
