package ingest

import (
	"context"
	"time"

	"mailer/internal/store"
)

// Undo takes a change set back, in short transactions like the import. A second call goes on where the first was stopped.
func Undo(ctx context.Context, st *store.Store, id int64, ev Events) (store.ChangeSet, error) {
	set, err := st.BeginUndo(ctx, id)
	if err != nil {
		return set, err
	}
	all, rows := set.Totals.Undo.Before-1, set.Totals.Rows() // changes are counted, people are told
	pace, err := newPace(ctx, st)
	if err != nil {
		return set, err
	}
	for all > 0 && set.Totals.Undo.Before > 1 {
		err := pace.step(ctx, st, func() (held time.Duration, err error) {
			set, held, err = st.UndoRows(ctx, id, pace.rows)
			return held, err
		})
		if err != nil {
			return set, err
		}
		if ev.Progress != nil {
			ev.Progress(Undoing, rows*(all-set.Totals.Undo.Before+1)/all, rows)
		}
	}
	return st.FinishUndo(ctx, id)
}
