package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"mailer/internal/config"
	"mailer/internal/segment"
	"mailer/internal/store"

	"github.com/spf13/cobra"
)

func newSegmentsCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "segments",
		Aliases: []string{"segment"},
		Short:   "Pick people by an expression: count, explain, sample, save",
		Long:    segment.Help, // so that `mailer help segments` is the manual
	}
	cmd.AddCommand(newSegmentsListCmd(a), newSegmentsSaveCmd(a), newSegmentsCountCmd(a), newSegmentsExplainCmd(a), newSegmentsSampleCmd(a))
	return cmd
}

// segmentSource is the flags that say which people: a saved segment, an expression, or both.
type segmentSource struct {
	name  string
	where string
}

func (o *segmentSource) flag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.where, "where", "", "contacts for which this `expression` holds")
}

// bind takes NAME from the arguments.
func (o *segmentSource) bind(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage("%s takes one segment, got %q; an expression goes in quotes behind --where", cmd.CommandPath(), args)
	}
	if len(args) == 1 {
		o.name = args[0]
	}
	if o.name == "" && strings.TrimSpace(o.where) == "" {
		return usage("%s needs the NAME of a saved segment or --where EXPR", cmd.CommandPath())
	}
	return nil
}

// segments is an open workspace in which expressions are compiled.
type segments struct {
	ws     *config.Workspace
	store  *store.Store
	schema segment.Schema
}

func (a *app) openSegments(ctx context.Context) (*segments, error) {
	ws, st, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	schema, err := segmentSchema(ctx, a, ws, st)
	if err != nil {
		st.Close()
		return nil, err
	}
	return &segments{ws, st, schema}, nil
}

// segmentSchema is what expressions of a workspace may speak of.
func segmentSchema(ctx context.Context, a *app, ws *config.Workspace, st *store.Store) (segment.Schema, error) {
	schema, err := st.Vocabulary(ctx)
	schema.Now, schema.Location = a.now(), ws.Config.Location()
	return schema, err
}

// counting is the progress of a count, which mostly is over before anybody would see it.
func counting(a *app) *lateBar {
	return &lateBar{a: a, label: "count", unit: "contacts", after: time.Now().Add(time.Second)}
}

func (s *segments) files() fs.FS { return os.DirFS(s.ws.Dir) }

// load reads a saved segment. A name under which there is none is a wrong argument.
func (s *segments) load(name string) (string, error) {
	src, err := segment.Load(s.files(), name)
	var system *fs.PathError
	if err != nil && !errors.As(err, &system) {
		return "", usage("%w", err)
	}
	return src, err
}

// query compiles what the flags say. The expression of a saved segment is named in its errors.
func (s *segments) query(o segmentSource) (store.Where, error) {
	var where store.Where
	if o.name != "" {
		src, err := s.load(o.name)
		if err != nil {
			return where, err
		}
		q, err := segment.Compile(src, s.schema)
		if err != nil {
			return where, fmt.Errorf("segment %s: %w", o.name, err)
		}
		where = store.Where(q)
	}
	q, err := segment.Compile(o.where, s.schema)
	if err != nil {
		return where, fmt.Errorf("--where: %w", err)
	}
	if strings.TrimSpace(o.where) == "" {
		return where, nil
	}
	return where.And(store.Where(q)), nil
}
