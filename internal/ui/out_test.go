package ui

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"
)

func TestEmitIsOneObjectALineWithItsType(t *testing.T) {
	var stdout, stderr bytes.Buffer
	o := New(&stdout, &stderr)
	o.JSON = true
	if err := o.Emit("summary", struct {
		A string `json:"a"`
	}{"<東京>"}); err != nil {
		t.Fatal(err)
	}
	if err := o.Emit("empty", struct{}{}); err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), "{\"message_type\":\"summary\",\"a\":\"<東京>\"}\n{\"message_type\":\"empty\"}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	o.Println("for people")
	if stderr.String() != "for people\n" {
		t.Errorf("beside JSON, people's text went to %q", stderr.String())
	}
	if err := o.Emit("list", []int{1}); err == nil {
		t.Error("a JSON array was let through")
	}
}

func TestTableLinesUpFullWidthCharacters(t *testing.T) {
	var stdout bytes.Buffer
	New(&stdout, &stdout).Table([]string{"name", "n"}, [][]string{{"東京都", "1"}, {"Osaka\x1b[31m", "200"}}, 1)
	lines := strings.Split(strings.TrimRight(stdout.String(), "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("got %d lines:\n%s", len(lines), stdout.String())
	}
	width := runewidth.StringWidth(lines[0])
	for _, line := range lines {
		if runewidth.StringWidth(line) != width || strings.ContainsRune(line, 0x1b) {
			t.Errorf("line %q: width %d, want %d", line, runewidth.StringWidth(line), width)
		}
	}
}

func TestFoldedRows(t *testing.T) {
	got := folded(2, []string{"id", "address", "mail", "evidence"}, [][]string{{"1", "次郎@example.jp", "7", "550 no\x1b[31m"}, {"12", "a@b.jp", "", ""}}, []int{0, 2}, 80)
	want := []string{"id  address", " 1  次郎@example.jp", "    mail 7, 550 no [31m", "12  a@b.jp"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	long := "a.very.long.name@long.example"
	got = folded(3, []string{"address", "", "reason", "", "of"}, [][]string{{long, "", "hard", "a cell that is long", "100%"}, {"a@b.jp", "f", "soft", "", "2%"}, {"and 3 more"}}, []int{3, 4}, 30)
	want = []string{"address  reason", long + "  hard", "    a cell that is long,", "    of 100%", "a@b.jp  f  soft", "    of 2%", "and 3 more"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestBarIsSilentWithoutATerminal(t *testing.T) {
	var stderr bytes.Buffer
	o := New(&bytes.Buffer{}, &stderr)
	bar := o.Bar("sending", "messages", 10)
	bar.Set(10)
	bar.Close()
	if stderr.Len() > 0 {
		t.Errorf("wrote %q to a pipe", stderr.String())
	}
}

func TestTextThatCannotBeWrittenIsKnown(t *testing.T) {
	r, w := io.Pipe()
	r.CloseWithError(io.ErrNoProgress)
	o := New(w, io.Discard)
	if o.Failed() != nil {
		t.Error("failed before anything was written")
	}
	o.Println("lost")
	o.Printf("lost too\n")
	if !errors.Is(o.Failed(), io.ErrNoProgress) {
		t.Errorf("got %v", o.Failed())
	}
}

// Under the race detector this fails when the library turns a spinner of its own.
func TestSpinnerIsOurs(t *testing.T) {
	var stderr bytes.Buffer
	o := New(&bytes.Buffer{}, &stderr)
	o.Progress = true
	bar := o.Bar("reading", "mails", -1)
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		bar.Set(1)
	}
	bar.Close()
	if !strings.Contains(stderr.String(), "reading") {
		t.Errorf("shown: %q", stderr.String())
	}
}

func TestBarShowsRateAndTimeLeft(t *testing.T) {
	var stderr bytes.Buffer
	o := New(&bytes.Buffer{}, &stderr)
	o.Progress = true
	bar := o.Bar("import", "rows", 1000)
	for n, end := int64(0), time.Now().Add(600*time.Millisecond); time.Now().Before(end); n = min(n+1, 500) {
		bar.Set(n)
		time.Sleep(time.Millisecond)
	}
	bar.Close()
	if shown := regexp.MustCompile(`import +\d+% .*\d+/1000, \d+ rows/s\) \[\d+s:\d+s\]`); !shown.MatchString(stderr.String()) {
		t.Errorf("shown: %q", stderr.String())
	}
}

// An error that is a code only was told before: scripts get no empty line of it.
func TestEmitErrorWithoutText(t *testing.T) {
	var stdout, stderr bytes.Buffer
	o := New(&stdout, &stderr)
	o.JSON = true
	if err := o.EmitError(errors.New(""), 4); err != nil || stdout.Len() > 0 {
		t.Errorf("wrote %q: %v", stdout.String(), err)
	}
	if err := o.EmitError(errors.New("broken"), 4); err != nil || stdout.String() != `{"message_type":"error","error":"broken","exit_code":4}`+"\n" {
		t.Errorf("wrote %q: %v", stdout.String(), err)
	}
}
