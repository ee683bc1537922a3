package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"time"

	"mailer/internal/delivery"
)

//go:embed report.html
var page string

// HTML writes one self-contained page about all campaigns and the list, as of now.
func (o Overview) HTML(w io.Writer, now time.Time) error { return render(w, "overview", o, now) }

// HTML writes one self-contained page about the campaign, as of now.
func (c Campaign) HTML(w io.Writer, now time.Time) error { return render(w, "campaign", c, now) }

func render(w io.Writer, name string, data any, now time.Time) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"n": thousands, "slices": slicesOf, "bar": width, "tallest": tallest,
		"stamp": func(t time.Time) string { return t.Format("2006-01-02 15:04") },
		"now":   func() time.Time { return now },
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("report page: %w", err)
	}
	if err := t.ExecuteTemplate(w, name, data); err != nil {
		return fmt.Errorf("write the report page: %w", err)
	}
	return nil
}

// Slice is a part of the bar that shows a balance.
type Slice struct {
	Name  string
	Count int64
	Width string // in percent
}

// slicesOf cuts the planned into parts that add up to it.
func slicesOf(c Counts) []Slice {
	var all []Slice
	for _, s := range []Slice{
		{Name: "delivered", Count: c.Delivered()}, {Name: "bounced", Count: c.Bounced()}, {Name: string(delivery.Failed), Count: c.Failed},
		{Name: string(delivery.Deferred), Count: c.Deferred}, {Name: string(delivery.Uncertain), Count: c.Uncertain},
		{Name: "remaining", Count: c.Remaining}, {Name: string(delivery.Excluded), Count: c.Excluded},
	} {
		if s.Count > 0 {
			s.Width = width(s.Count, c.Planned)
			all = append(all, s)
		}
	}
	return all
}

// width is a share as a CSS percentage.
func width(n, of int64) string {
	share, _ := Rate{n, of}.Share()
	return strconv.FormatFloat(100*share, 'f', 2, 64) + "%"
}

// tallest is the largest number of the months, for the scale of their bars.
func tallest(months []Month) int64 {
	var n int64
	for _, m := range months {
		n = max(n, m.Added, m.Suppressed)
	}
	return n
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
