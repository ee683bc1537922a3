package sandbox

import (
	"bytes"
	"compress/flate"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Caught is one message for one recipient.
type Caught struct {
	ID          int       `json:"id"` // from 1, in the order of arrival
	ReceivedAt  time.Time `json:"received_at"`
	From        string    `json:"from"` // envelope sender
	Rcpt        string    `json:"rcpt"` // envelope recipient, its local part unquoted
	EnvelopeID  string    `json:"envelope_id,omitempty"`
	Notify      string    `json:"notify,omitempty"`
	MessageID   string    `json:"message_id"` // without angle brackets
	Subject     string    `json:"subject"`
	Size        int64     `json:"size"`
	Personality string    `json:"personality"`
	Unanswered  bool      `json:"unanswered,omitempty"` // the connection was lost before the reply to the final dot
}

// Stats are the numbers of a sandbox.
type Stats struct {
	Messages      int            `json:"messages"`
	Bytes         int64          `json:"bytes"`
	Personalities map[string]int `json:"personalities"`  // of the messages
	Refused       map[string]int `json:"refused"`        // recipients and messages refused, by personality
	BodiesDropped int            `json:"bodies_dropped"` // messages whose body is not kept any more
	Inbox         int            `json:"inbox"`
}

// catch keeps what was caught: the facts of all messages, the bodies up to a limit, the oldest dropped first.
type catch struct {
	mu       sync.Mutex
	keep     int64
	kept     int64
	messages []Caught
	bodies   [][]byte // compressed, by message; nil: dropped
	oldest   int      // index of the first body that is kept
	bytes    int64
	byName   map[string]int
	refusals map[string]int
	tries    map[[2]string]time.Time

	compressors sync.Pool
}

func newCatch(keep int64) *catch {
	return &catch{keep: keep, byName: make(map[string]int), refusals: make(map[string]int), tries: make(map[[2]string]time.Time)}
}

// add records a message and returns its ID.
func (c *catch) add(m Caught, body []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.ID = len(c.messages) + 1
	c.messages = append(c.messages, m)
	c.bodies = append(c.bodies, body)
	c.bytes += m.Size
	c.byName[m.Personality]++
	c.kept += int64(len(body))
	for ; c.kept > c.keep && c.oldest < len(c.bodies); c.oldest++ {
		c.kept -= int64(len(c.bodies[c.oldest]))
		c.bodies[c.oldest] = nil
	}
	return m.ID
}

func (c *catch) refused(personality string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusals[personality]++
}

// firstTry returns when this sender first tried this recipient, and notes the time when it is now.
func (c *catch) firstTry(from, to string, now time.Time) (first time.Time, seen bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := [2]string{strings.ToLower(from), strings.ToLower(to)}
	if first, seen = c.tries[key]; !seen {
		c.tries[key] = now
	}
	return first, seen
}

func (c *catch) all() []Caught {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.messages)
}

func (c *catch) get(id int) (Caught, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id < 1 || id > len(c.messages) {
		return Caught{}, false
	}
	return c.messages[id-1], true
}

func (c *catch) raw(id int) ([]byte, bool) {
	c.mu.Lock()
	var body []byte
	if id >= 1 && id <= len(c.bodies) {
		body = c.bodies[id-1]
	}
	c.mu.Unlock()
	if body == nil {
		return nil, false
	}
	raw, err := io.ReadAll(flate.NewReader(bytes.NewReader(body)))
	return raw, err == nil
}

// find returns the newest messages that hold the words of a query in an address, the subject or the Message-ID: at most
// limit of them, after the first skip ones, and how many there are in all.
func (c *catch) find(query string, skip, limit int) (page []Caught, total int) {
	words := strings.Fields(strings.ToLower(query))
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.messages) - 1; i >= 0; i-- {
		m := c.messages[i]
		if !m.holds(words) {
			continue
		}
		if total++; total > skip && len(page) < limit {
			page = append(page, m)
		}
	}
	return page, total
}

func (m Caught) holds(words []string) bool {
	if len(words) == 0 {
		return true
	}
	text := strings.ToLower(strings.Join([]string{m.From, m.Rcpt, m.Subject, m.MessageID, m.Personality}, "\n"))
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

func (c *catch) stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Messages: len(c.messages), Bytes: c.bytes, Personalities: maps.Clone(c.byName),
		Refused: maps.Clone(c.refusals), BodiesDropped: c.oldest}
}

// pack compresses a message. Compressors are kept for reuse: one takes half a megabyte to make.
func (c *catch) pack(raw []byte) []byte {
	var b bytes.Buffer
	w, ok := c.compressors.Get().(*flate.Writer)
	if !ok {
		w, _ = flate.NewWriter(&b, flate.BestSpeed) // errors only for a wrong level
	}
	defer c.compressors.Put(w)
	w.Reset(&b)
	w.Write(raw) // a Buffer takes everything
	w.Close()
	return b.Bytes()
}
