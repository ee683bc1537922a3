package mailbox

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// watchOver closes the connection when the context ends, or when nothing has come for the time of an answer. A large mail over
// a slow line may take longer than that, as long as it comes.
func watchOver(ctx context.Context, conn *line, silence time.Duration) *watch {
	w := &watch{conn: conn, time: silence}
	w.unbind = context.AfterFunc(ctx, func() { w.conn.Close() })
	w.conn.heard()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.time, w.look)
	return w
}

type watch struct {
	conn   *line
	time   time.Duration
	unbind func() bool

	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

// look hangs up when the line was silent for too long, else looks again when that could be.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	if silent := w.conn.silent(); silent < w.time {
		w.timer.Reset(w.time - silent)
		return
	}
	w.conn.Close()
}

// again gives the next answer its own time.
func (w *watch) again() { w.conn.heard() }

func (w *watch) stop() {
	w.unbind()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.timer.Stop()
}

// line is a connection that knows when something last came.
type line struct {
	net.Conn
	last atomic.Int64 // unix nanoseconds
}

func (l *line) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.heard()
	}
	return n, err
}

func (l *line) heard() { l.last.Store(time.Now().UnixNano()) }

func (l *line) silent() time.Duration { return time.Since(time.Unix(0, l.last.Load())) }
