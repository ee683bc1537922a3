package mailbox

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strings"
)

// tally remembers what was done with the messages of a mailbox that has lasting names for them and no order. Of a name it keeps 63 bits:
// that two of 100,000 share them happens once in two billion mailboxes.
type tally struct {
	known   []uint64 // of the mark, sorted; the lowest bit says that it is for a person
	names   map[uint32]uint64
	states  map[uint32]tallyState
	ordered []uint32
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
	if t.names != nil {
		t.known = t.done()
	}
	t.names, t.states, t.ordered = map[uint32]uint64{}, map[uint32]tallyState{}, nil
}

// add tells of a message. Without a name it is new each time.
func (t *tally) add(n uint32, name string) {
	t.ordered = append(t.ordered, n)
	if name == "" {
		return
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	sum := h.Sum64() &^ 1
	t.names[n] = sum
	at, _ := slices.BinarySearch(t.known, sum)
	if at < len(t.known) && t.known[at]&^1 == sum {
		t.states[n] = tallyFiled + tallyState(t.known[at]&1)
	}
}

func (t *tally) numbers() []uint32 { return t.ordered }

func (t *tally) stateOf(n uint32) tallyState { return t.states[n] }

func (t *tally) set(n uint32, s tallyState) {
	if t.states != nil {
		t.states[n] = s
	}
}

// done are the names of what is there and done with, sorted.
func (t *tally) done() []uint64 {
	var all []uint64
	for n, s := range t.states {
		if name, ok := t.names[n]; ok && s != tallyNew {
			all = append(all, name|uint64(s-tallyFiled))
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
