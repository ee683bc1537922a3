package internal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ring says how far a package is from the plain facts. Imports go inwards, or sideways among the nouns; verbs never
// import each other. doc.go says what each package is for.
var ring = map[string]int{
	"templates": 1, "examples": 1, // embedded files, no code of their own

	"internal/address": 1, "internal/contact": 1, "internal/segment": 1, "internal/campaign": 1,
	"internal/message": 1, "internal/delivery": 1, "internal/bounce": 1, "internal/suppression": 1, "internal/spelling": 1,
	"internal/prefecture": 1,
	"internal/pace":       1,
	"internal/provider":   1,
	"internal/zone":       1,
	"internal/statistics": 1,
	"internal/arrival":    1,
	"internal/spf":        1,
	"internal/dmarc":      1, "internal/dkim": 1,

	"internal/config": 2, "internal/relay": 2, "internal/mailbox": 2, "internal/store": 2, "internal/sandbox": 2,
	"internal/workbook": 2, "internal/resolver": 2,
	"internal/mailtest": 3, // stands on the machines that tests are given

	"internal/ingest": 3, "internal/export": 3, "internal/send": 3, "internal/collect": 3, "internal/report": 3,
	"internal/schedule": 3, "internal/doctor": 3,

	"internal/ui": 4,
	"cmd/mailer":  5,
	"internal":    5, // this map
}

const (
	nouns    = 1
	mailtest = "internal/mailtest"
)

// source is a Go file of the module.
type source struct {
	name, pkg string // slash-separated, from the root
	test      bool
	file      *ast.File
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := d.Name(); d.IsDir() && name != ".." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(filepath.ToSlash(name), "../")
		all = append(all, source{rel, path.Dir(rel), strings.HasSuffix(rel, "_test.go"), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (s source) imports() []string {
	var paths []string
	for _, spec := range s.file.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, p)
	}
	return paths
}

// To keep each arrow of doc.go pointing down the page.
func TestImportsPointInwards(t *testing.T) {
	for _, s := range sources(t) {
		if ring[s.pkg] == 0 {
			t.Errorf("%s: package %s has no ring; give it one in layers_test.go and a line in doc.go", s.name, s.pkg)
			continue
		}
		for _, p := range s.imports() {
			to, ours := strings.CutPrefix(p, "mailer/")
			if !ours || s.test {
				continue
			}
			if why := outward(s.pkg, to); why != "" {
				t.Errorf("%s imports %s: %s", s.name, to, why)
			}
		}
	}
}

// outward says why from must not import to, or nothing when it may.
func outward(from, to string) string {
	switch {
	case to == mailtest:
		return "mailtest is for tests only"
	case ring[to] < ring[from], ring[from] == nouns && ring[to] == nouns:
		return ""
	case ring[to] == ring[from]:
		return "only nouns may import sideways"
	}
	return "imports point inwards: nouns < machines < verbs < ui < cmd"
}

func TestOutward(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		ok       bool
	}{
		{"internal/send", "internal/store", true}, {"internal/store", "internal/send", false}, {"internal/send", "internal/collect", false},
		{"internal/bounce", "internal/address", true}, {"internal/store", "internal/config", false}, {"internal/send", "internal/mailtest", false},
		{"internal/message", "templates", true}, {"internal/report", "internal/ui", false}, {"cmd/mailer", "internal/ui", true},
	} {
		if got := outward(tt.from, tt.to); (got == "") != tt.ok {
			t.Errorf("%s imports %s: %q", tt.from, tt.to, got)
		}
	}
}

// One package holds all SQL, so that what commits together can be read together.
func TestOnlyTheStoreSpeaksSQL(t *testing.T) {
	for _, s := range sources(t) {
		for _, p := range s.imports() {
			if !s.test && s.pkg != "internal/store" && (p == "database/sql" || strings.HasPrefix(p, "modernc.org/sqlite")) {
				t.Errorf("%s imports %s; statements belong into internal/store", s.name, p)
			}
		}
	}
}

// Nouns say what is true of the data that they are given; reading it is the work of others.
func TestNounsTouchNothing(t *testing.T) {
	world := map[string]string{
		"os": "files", "os/exec": "processes", "net": "the network", "net/http": "the network", "database/sql": "the database",
		"crypto/tls": "the network", "log": "the screen",
	}
	for _, s := range sources(t) {
		for _, p := range s.imports() {
			if what := world[p]; ring[s.pkg] == nouns && !s.test && what != "" {
				t.Errorf("%s imports %s: a noun does not touch %s", s.name, p, what)
			}
		}
	}
}

// Start-up belongs to main: what runs in init cannot be given a context, an error to return or a test.
func TestNoInitFunctions(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" && !s.test {
				t.Errorf("%s has an init function", s.name)
			}
		}
	}
}
