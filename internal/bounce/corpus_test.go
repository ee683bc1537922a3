package bounce

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// label is what is known about a mail of the collection that BOUNCE_CORPUS names.
type label struct {
	File         string   `json:"file"`
	Kind         string   `json:"kind"`
	KindAccept   []string `json:"kind_accept"`
	Complainants []string `json:"complainants"`
	Bounces      []struct {
		Recipient string   `json:"recipient"`
		Alias     []string `json:"alias"`
		Hard      bool     `json:"hard"`
		Arguable  bool     `json:"arguable"`
		Status    string   `json:"status"`
		Reply     string   `json:"reply"`
		StatusToo []string `json:"status_accept"`
		ClassToo  []string `json:"class_accept"`
	} `json:"bounces"`
}

// TestCorpus holds the reader to a floor over real mails, where a labelled collection is at hand.
func TestCorpus(t *testing.T) {
	dir := os.Getenv("BOUNCE_CORPUS")
	if dir == "" {
		t.Skip("BOUNCE_CORPUS names no collection of labelled bounce mails")
	}
	var mails, kinds, recipients, found, predicted, right, judged, agreed, classed, classes int
	for _, l := range labels(t, dir) {
		raw, err := os.ReadFile(filepath.Join(dir, "mails", l.File))
		if err != nil {
			t.Fatal(err)
		}
		v := Parse(raw)
		mails++
		if v.Kind == l.Kind || slices.Contains(l.KindAccept, v.Kind) {
			kinds++
		}
		got := map[string]Recipient{}
		for _, r := range v.Bounces {
			got[strings.ToLower(r.Recipient)] = r
		}
		predicted += len(got)
		for _, b := range l.Bounces {
			recipients++
			for _, name := range append(b.Alias, b.Recipient) {
				r, ok := got[strings.ToLower(strings.Trim(name, "<>"))]
				if !ok {
					continue
				}
				delete(got, strings.ToLower(strings.Trim(name, "<>")))
				found++
				right++
				if want := classesOf(append(append(b.StatusToo, b.Status, b.Reply), b.ClassToo...)); want != "" {
					classed++
					if c := classesOf([]string{r.Status}); c != "" && strings.Contains(want, c) || c == "" && strings.Contains(want, classesOf([]string{r.Reply})) {
						classes++
					}
				}
				if !b.Arguable {
					judged++
					if r.Hard == b.Hard {
						agreed++
					}
					if r.Hard && !b.Hard {
						t.Errorf("%s: %s is hard (%s), and should not be", l.File, r.Recipient, r.Reason)
					}
				}
				break
			}
		}
		for _, r := range got {
			if r.Hard && !quotedSame(l, r.Recipient) {
				t.Errorf("%s: %s is hard, and did not fail", l.File, r.Recipient)
			}
		}
	}
	for _, f := range []struct {
		name        string
		part, whole int
		floor       float64
	}{{"kind", kinds, mails, 0.99}, {"recall", found, recipients, 0.99}, {"precision", right, predicted, 0.995}, {"hard or soft", agreed, judged, 0.99}, {"status class", classes, classed, 0.99}} {
		share := float64(f.part) / float64(f.whole)
		t.Logf("%s: %d of %d, %.2f %%", f.name, f.part, f.whole, 100*share)
		if share < f.floor {
			t.Errorf("%s: %.2f %%, below %.1f %%", f.name, 100*share, 100*f.floor)
		}
	}
}

// classesOf is the first digit of each code.
func classesOf(codes []string) string {
	var all string
	for _, c := range codes {
		if c != "" {
			all += c[:1]
		}
	}
	return all
}

// quotedSame: a label may write the local part in quotes.
func quotedSame(l label, address string) bool {
	for _, b := range l.Bounces {
		if strings.EqualFold(strings.ReplaceAll(b.Recipient, `"`, ""), strings.ReplaceAll(address, `"`, "")) {
			return true
		}
	}
	return false
}

func labels(t *testing.T, dir string) []label {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "labels.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []label
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var l label
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
