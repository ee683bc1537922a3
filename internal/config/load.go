package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Lookup finds an environment variable, as os.LookupEnv does.
type Lookup func(name string) (string, bool)

// Override is a value given by a flag.
type Override struct {
	Key   string // a path such as timezone or relays.main.connections
	Value string
	Flag  string // such as --timezone, for messages
}

// Load reads the workspace in dir. Whatever is wrong comes as Errors.
func Load(dir string, lookup Lookup, overrides ...Override) (*Workspace, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, &Error{Message: err.Error()}
	}
	w := &Workspace{Dir: abs, Path: filepath.Join(abs, FileName)}
	text, err := os.ReadFile(w.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{File: w.Path, Message: fmt.Sprintf("no such file; make a workspace with `mailer init %s`", dir)}
	} else if err != nil {
		return nil, &Error{File: w.Path, Message: err.Error()}
	}
	if err := w.parse(text, lookup, overrides); err != nil {
		return nil, err
	}
	w.warnIfExposed()
	return w, nil
}

func (w *Workspace) parse(text []byte, lookup Lookup, overrides []Override) error {
	root, err := parseYAML(w.Path, text)
	if err != nil {
		return err
	}
	w.Config, w.sources = Default(), map[string]Source{}
	d := decoder{file: w.Path, sources: w.sources, anchors: map[string]ast.Node{}}
	v := reflect.ValueOf(&w.Config).Elem()
	if root != nil {
		d.node("", root, v)
	}
	if lookup != nil {
		d.environment(v, lookup)
	}
	for _, o := range overrides {
		d.override(v, o)
	}
	w.Config.derive()
	c := checker{decoder: &d, config: &w.Config, warnings: &w.Warnings}
	c.check()
	return d.result()
}

// Decode reads another YAML file of a workspace, as strictly as mailer.yaml, into the struct that v points to.
func Decode(file string, text []byte, v any) error {
	root, err := parseYAML(file, text)
	if err != nil {
		return err
	}
	d := decoder{file: file, sources: map[string]Source{}, anchors: map[string]ast.Node{}}
	if root != nil {
		d.node("", root, reflect.ValueOf(v).Elem())
	}
	return d.result()
}

// parseYAML gives the one document's root, nil for an empty file.
func parseYAML(file string, text []byte) (ast.Node, error) {
	if !utf8.Valid(text) {
		return nil, &Error{File: file, Message: "is not UTF-8; save it as UTF-8 in your editor"}
	}
	parsed, err := parser.ParseBytes(bytes.TrimPrefix(text, []byte("\ufeff")), 0)
	if err != nil {
		return nil, syntaxError(file, err)
	}
	var root ast.Node
	for _, doc := range parsed.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType {
			continue
		}
		if root != nil {
			return nil, &Error{File: file, Message: "holds more than one YAML document; join them and remove the --- between"}
		}
		root = doc.Body
	}
	return root, nil
}

func syntaxError(file string, err error) *Error {
	e := &Error{File: file, Message: err.Error()}
	var at yaml.Error
	if errors.As(err, &at) {
		if e.Message = at.GetMessage(); strings.Contains(e.Message, "'\t'") {
			e.Message = "there is a tab before the key: YAML wants spaces"
		}
		if t := at.GetToken(); t != nil && t.Position != nil {
			e.Line, e.Column = t.Position.Line, t.Position.Column
		}
	}
	return e
}

// warnIfExposed looks at the file's mode only where there is something to hide.
func (w *Workspace) warnIfExposed() {
	info, err := os.Stat(w.Path)
	if err != nil || !readableByOthers(info) {
		return
	}
	for key, s := range w.sources {
		if s.From == FromFile && isPassword(key) {
			w.Warnings = append(w.Warnings, &Error{File: w.Path, Line: s.Line, Column: s.Column, Key: key,
				Message: fmt.Sprintf("the file holds a password and can be read by others; run: chmod 600 %s", w.Path)})
		}
	}
}
