package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode"

	"mailer/internal/spelling"
)

// A saved segment is a file of the workspace: segments/tokyo.expr holds the segment tokyo, one expression as plain text,
// over as many lines as it likes. A comment begins with # or // and goes to the end of the line.
const (
	Folder = "segments"
	Ext    = ".expr"
)

// Path is the file of a segment in the workspace, slash-separated.
func Path(name string) string { return Folder + "/" + name + Ext }

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
		return fmt.Errorf("segment %q: a name is made of letters, digits and the signs - _ . only", name)
	}
	return nil
}

// Names lists the segments saved in a workspace, sorted.
func Names(workspace fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(workspace, Folder)
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

// Load reads the expression of a saved segment from the workspace. The name may also be given as the file's. A file
// without an expression is refused: half a file must not mean everybody.
func Load(workspace fs.FS, name string) (string, error) {
	name = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(name, "./"), Folder+"/"), Ext)
	if err := CheckName(name); err != nil {
		return "", err
	}
	f, err := workspace.Open(Path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", notSaved(workspace, name)
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
	if strings.TrimSpace(text) == "" {
		return "", fmt.Errorf("segment %s is empty; for everybody write true", name)
	}
	return strings.TrimRightFunc(strings.ReplaceAll(text, "\r\n", "\n"), unicode.IsSpace), nil
}

// notSaved says which segments there are.
func notSaved(workspace fs.FS, name string) error {
	names, err := Names(workspace)
	if err != nil {
		return err
	}
	near := ""
	if n := spelling.Nearest(name, names); n != "" {
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
