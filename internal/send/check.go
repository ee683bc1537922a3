package send

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mailer/internal/store"
)

// Pace says in words how long n messages take.
func (p *Plan) Pace(n int64) string {
	d := p.Estimate(n)
	if d == 0 {
		return "as fast as the relay takes them (no rate is set)"
	}
	return fmt.Sprintf("at least %s at the set rates", d.Round(time.Second))
}

// Subject is the subject's template of the first document, for people.
func (p *Plan) Subject() string { return p.Content.Variants[0].Front.Subject }

// From is the From address of the first document, for people.
func (p *Plan) From() string {
	if f := p.Content.Variants[0].Front.From; f != "" {
		return f
	}
	return p.Content.Sender.From
}

var _ = context.Background
var _ = strings.Join
var _ store.Plan
