package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The file that is imported is not overwritten with its own rejected rows, by whatever name or way it comes.
func TestRejectsSpareTheInput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.csv")
	if err := os.WriteFile(path, []byte("email\na@example.jp\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, files := range [][]string{{path}, {"other.csv", filepath.Join(filepath.Dir(path), ".", "list.csv")}, {"-"}} {
		if _, err := createRejects(path, files, f, false); err == nil || !strings.Contains(err.Error(), "is the file that is imported") {
			t.Errorf("%q: %v", files, err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "email\na@example.jp\n" {
		t.Errorf("the list is %q now, %v", text, err)
	}
	r, err := createRejects(path+".rejects", []string{path, "-"}, strings.NewReader(""), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
}
