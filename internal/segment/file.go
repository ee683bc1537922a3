package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Ext ends the name of a saved segment's file: segments/tokyo.expr holds the segment tokyo, one expression as plain
// text, over as many lines as it likes. A comment begins with # or // and goes to the end of the line.
const Ext = ".expr"

// maxFile keeps a wrong file (a video with the right name) out of memory.
const maxFile = 4 * maxSource

// CheckName says whether a segment may be called name: it becomes a file's name on any system.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the segment has no name")
	case len(name) > 100:
		return fmt.Errorf("the name of segment %.20q... is longer than 100 bytes", name)
	}
	for i, r := range name {
		if r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.M, r) || i > 0 && (r == '-' || r == '.') {
			continue
		}
		return fmt.Errorf("segment %q: a name is made of letters, digits, - _ and .", name)
	}
	return nil
}

// Names lists the segments saved in a folder, sorted. A folder that is not there holds none.
func Names(dir fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(dir, ".")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list saved segments: %w", err)
	}
	var names []string
	for _, e := range entries {
		name, isSegment := strings.CutSuffix(e.Name(), Ext)
		if isSegment && !e.IsDir() && CheckName(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Load reads the expression of a saved segment from the folder of segments. NAME.expr and a path ending in it are taken
// for NAME. A file without an expression is refused: half a file must not mean everybody.
func Load(dir fs.FS, name string) (string, error) {
	name = strings.TrimSuffix(path.Base(strings.ReplaceAll(name, `\`, "/")), Ext)
	if err := CheckName(name); err != nil {
		return "", err
	}
	f, err := dir.Open(name + Ext)
	if errors.Is(err, fs.ErrNotExist) {
		return "", notSaved(dir, name)
	}
	if err != nil {
		return "", fmt.Errorf("read segment %s: %w", name, err)
	}
	defer f.Close()
	text, err := readAtMost(f, maxFile)
	if err != nil {
		return "", fmt.Errorf("read segment %s: %w", name, err)
	}
	text = strings.TrimPrefix(text, "\ufeff")
	if utf8.ValidString(text) && empty(string(readable([]rune(text)))) {
		return "", fmt.Errorf("segment %s holds no expression; for everybody write true", name)
	}
	return strings.TrimRightFunc(strings.ReplaceAll(text, "\r\n", "\n"), unicode.IsSpace), nil
}

// notSaved says which segments there are.
func notSaved(dir fs.FS, name string) error {
	names, err := Names(dir)
	if err != nil {
		return err
	}
	near := ""
	if n := nearest(name, names); n != "" {
		near = fmt.Sprintf(" (did you mean %s?)", n)
	}
	return fmt.Errorf("%w %q%s%s", ErrNotSaved, name, near, among(names, "mailer segments save NAME --where EXPR makes one"))
}

// ErrNotSaved is the error of a name under which no segment is saved.
var ErrNotSaved = errors.New("there is no segment")

func readAtMost(r io.Reader, limit int64) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return "", err
	}
	if int64(len(text)) > limit {
		return "", fmt.Errorf("the file is larger than %d KB", limit>>10)
	}
	return string(text), nil
}
