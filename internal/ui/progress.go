package ui

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress is a bar with count, rate and time left on standard error. It is silent where nobody looks: the library
// writes to pipes unless told not to, so Bar decides.
type Progress struct {
	bar *progressbar.ProgressBar
}

// Bar starts a progress bar over total steps of unit ("rows", "messages"); total -1 is a spinner. Close it.
func (o *Out) Bar(label, unit string, total int64) *Progress {
	return &Progress{bar: progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(o.stderr),
		progressbar.OptionSetDescription(label),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString(unit),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetWidth(24),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetVisibility(Terminal(o.stderr) || o.Progress),
		// The spinner would turn in a goroutine of the library's that nobody waits for and that races with Set.
		progressbar.OptionSetSpinnerChangeInterval(0),
	)}
}

// Set moves the bar to n.
func (p *Progress) Set(n int64) { p.bar.Set64(n) }

// Close takes the bar off the screen.
func (p *Progress) Close() {
	p.bar.Clear()
	p.bar.Close()
}
