package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

// Ctrl-C at a question ends it at once, though the terminal gives no line; so does the end of the input.
func TestAsk(t *testing.T) {
	silent, w := io.Pipe()
	defer w.Close()
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	for _, c := range []struct {
		name  string
		ctx   context.Context
		stdin io.Reader
		want  string
	}{
		{"a line", t.Context(), strings.NewReader(" 5000 \n5001\n"), "5000"},
		{"end of input", t.Context(), strings.NewReader(""), ""},
		{"Ctrl-C", interrupted, silent, ""},
	} {
		var stderr bytes.Buffer
		got, err := newApp(c.stdin, io.Discard, &stderr).ask(c.ctx, "How many? ")
		if got != c.want || err != nil {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
		if !strings.HasPrefix(stderr.String(), "How many? ") || c.want == "" && !strings.HasSuffix(stderr.String(), "\n") {
			t.Errorf("%s: shown %q", c.name, stderr.String())
		}
	}
}
