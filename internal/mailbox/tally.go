package mailbox

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strings"
)

// tally remembers what was done with the messages of a mailbox that has lasting names for them and no order. Of a name it keeps 63 bits:
// that two of 100,000 share them happens once in two billion mailboxes.
type tally struct {
	known []uint64  // of the mark, sorted; the lowest bit says that it is for a person
	all   []tallied // of the last listing, by number; nil before the first
}

// tallied is a message of the listing. There are as many as the mailbox has messages.
type tallied struct {
	name   uint64 // 0: it has none that lasts
	number uint32
	state  tallyState
}

type tallyState byte

const (
	tallyNew tallyState = iota
	tallyFiled
	tallyReview
)

// Resume takes a mark.
func (t *tally) Resume(mark string) {
	t.known = nil
	text, ours := strings.CutPrefix(mark, "seen ")
	if !ours {
		return
	}
	packed, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return // all is read again, and known by its bytes
	}
	for ; len(packed) >= 8; packed = packed[8:] {
		t.known = append(t.known, binary.LittleEndian.Uint64(packed))
	}
	slices.Sort(t.known)
}

// begin begins a new listing; what was done since the last one is known in it.
func (t *tally) begin() {
	if t.all != nil {
		t.known = t.done()
	}
	t.all = []tallied{}
}

// add tells of a message. Without a name it is new each time.
func (t *tally) add(n uint32, name string) {
	m := tallied{number: n}
	if name != "" {
		h := fnv.New64a()
		h.Write([]byte(name))
		m.name = h.Sum64() &^ 1
		at, _ := slices.BinarySearch(t.known, m.name)
		if at < len(t.known) && t.known[at]&^1 == m.name {
			m.state = tallyFiled + tallyState(t.known[at]&1)
		}
	}
	if at, there := t.find(n); there {
		t.all[at] = m
	} else {
		t.all = slices.Insert(t.all, at, m) // at the end, but for a server that counts in an order of its own
	}
}

func (t *tally) find(n uint32) (at int, there bool) {
	if last := len(t.all); last == 0 || t.all[last-1].number < n {
		return last, false
	}
	return slices.BinarySearchFunc(t.all, n, func(m tallied, n uint32) int { return cmp.Compare(m.number, n) })
}

// in are the messages in a state.
func (t *tally) in(s tallyState) []uint32 {
	var numbers []uint32
	for _, m := range t.all {
		if m.state == s {
			numbers = append(numbers, m.number)
		}
	}
	return numbers
}

func (t *tally) set(n uint32, s tallyState) {
	if at, there := t.find(n); there {
		t.all[at].state = s
	}
}

// done are the names of what is there and done with, sorted.
func (t *tally) done() []uint64 {
	var all []uint64
	for _, m := range t.all {
		if m.name != 0 && m.state != tallyNew {
			all = append(all, m.name|uint64(m.state-tallyFiled))
		}
	}
	slices.Sort(all)
	return all
}

// Mark forgets messages that are gone.
func (t *tally) Mark() string {
	all := t.done()
	packed := make([]byte, 0, 8*len(all))
	for _, name := range all {
		packed = binary.LittleEndian.AppendUint64(packed, name)
	}
	if len(packed) == 0 {
		return ""
	}
	return "seen " + base64.RawStdEncoding.EncodeToString(packed)
}
