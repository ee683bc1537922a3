package mailbox

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A mail that comes slowly is read to its end; a line that falls silent is hung up.
func TestWatchHangsUpOnSilenceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		conn := &line{Conn: near}
		w := watchOver(t.Context(), conn, time.Minute)
		defer w.stop()
		go func() {
			for range 10 {
				time.Sleep(50 * time.Second)
				far.Write([]byte("x"))
			}
		}()
		begin := time.Now()
		got, err := io.ReadAll(conn)
		if len(got) != 10 || err == nil {
			t.Errorf("read %d bytes, then %v", len(got), err)
		}
		if took := time.Since(begin); took != 10*50*time.Second+time.Minute {
			t.Errorf("hung up after %s", took)
		}
	})
}
