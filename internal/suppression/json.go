package suppression

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ReadJSON finds the objects that hold an address, however deep they lie: an array, an answer of an API with its pages, a
// line each. It holds one object in memory.
func (l *List) ReadJSON(r io.Reader, fn func(Entry) error) error {
	dec := json.NewDecoder(r)
	dec.UseNumber()
	w := &jsonWalk{dec: dec, list: l, fn: fn}
	for {
		t, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			_, err = w.value(t, 0)
		}
		if err != nil {
			return w.located(err)
		}
	}
}

type jsonWalk struct {
	dec    *json.Decoder
	list   *List
	fn     func(Entry) error
	number int64 // objects with an address so far
	failed bool  // by fn
}

func (w *jsonWalk) located(err error) error {
	if w.failed {
		return err
	}
	return fmt.Errorf("read the list: behind entry %d, byte %d: %w", w.number, w.dec.InputOffset(), err)
}

// maxDepth of a list of addresses.
const maxDepth = 20

// carried is what an object inside says about the one around it: listmonk keeps a subscription's state in its lists.
const carried = "subscription_status"

// value reads what t begins. It returns the states of subscriptions that lie in it.
func (w *jsonWalk) value(t json.Token, depth int) (states string, err error) {
	delim, ok := t.(json.Delim)
	if text, is := t.(string); is && depth == 1 && holdsAt(text) { // of a plain array
		return "", w.entry(map[string]string{"email": text})
	}
	if !ok {
		return "", nil
	}
	if depth > maxDepth {
		return "", errors.New("it is nested too deep")
	}
	if delim == '{' {
		return w.object(depth)
	}
	var all []string
	for w.dec.More() {
		t, err := w.dec.Token()
		if err != nil {
			return "", err
		}
		state, err := w.value(t, depth+1)
		if err != nil {
			return "", err
		}
		if state != "" && len(all) < 1000 {
			all = append(all, state)
		}
	}
	_, err = w.dec.Token() // the end
	return strings.Join(all, ","), err
}

func (w *jsonWalk) object(depth int) (states string, err error) {
	values := map[string]string{}
	for w.dec.More() {
		name, err := w.dec.Token()
		if err != nil {
			return "", err
		}
		t, err := w.dec.Token()
		if err != nil {
			return "", err
		}
		switch v := t.(type) {
		case json.Delim:
			inside, err := w.value(v, depth+1)
			if err != nil {
				return "", err
			}
			if inside != "" && values[carried] == "" {
				values[carried] = inside
			}
		case nil:
			values[name.(string)] = ""
		default:
			values[name.(string)] = fmt.Sprint(v)
		}
	}
	if _, err := w.dec.Token(); err != nil {
		return "", err
	}
	number := w.number
	if err := w.entry(values); err != nil || w.number > number {
		return "", err
	}
	return values[carried], nil
}

// entry takes one object, if it holds an address.
func (w *jsonWalk) entry(members map[string]string) error {
	e, ok := w.list.Object(w.number+1, members)
	if !ok {
		return nil
	}
	w.number++
	if err := w.fn(e); err != nil {
		w.failed = true
		return err
	}
	return nil
}
