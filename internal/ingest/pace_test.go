package ingest

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	p := &pace{rows: 64}
	for range 20 { // 10 µs a row
		p.after(time.Duration(p.rows)*10*time.Microsecond, false)
	}
	if p.rows < 14250 || p.rows > 15750 {
		t.Errorf("%d rows a transaction, want what takes %v", p.rows, alone)
	}
	var rest, took time.Duration
	for range 20 {
		took = time.Duration(p.rows) * 10 * time.Microsecond
		rest = p.after(took, true)
	}
	if p.rows < 290 || p.rows > 310 || rest != yields*took {
		t.Errorf("beside a send: %d rows, rest %v after %v", p.rows, rest, took)
	}
	for range 20 { // a disk that is stuck
		p.after(time.Second, false)
	}
	if p.rows != minRows {
		t.Errorf("%d rows, want %d", p.rows, minRows)
	}
	for range 20 {
		p.after(0, false)
	}
	if p.rows != maxRows {
		t.Errorf("%d rows, want %d", p.rows, maxRows)
	}
}
