package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Setting is one value in force, and where it came from.
type Setting struct {
	Key    string
	Value  any
	Source Source
}

// Settings are all values in force, passwords redacted, in the order of the documentation.
func (w *Workspace) Settings() []Setting {
	var all []Setting
	add := func(key string, v reflect.Value) {
		all = append(all, Setting{Key: key, Value: printable(key, v), Source: w.source(key)})
	}
	walk("", reflect.ValueOf(&w.Config).Elem(), func(key string, v reflect.Value) {
		if v.Type() != reflect.TypeFor[Secret]() {
			add(key, v)
			return
		}
		for _, f := range fields(v) {
			if !f.value.IsZero() {
				add(join(key, f.name), f.value)
			}
		}
	})
	return all
}

func printable(key string, v reflect.Value) any {
	if isPassword(key) {
		return redacted
	}
	switch x := v.Interface().(type) { // as it is written in the file
	case time.Duration:
		return formatDuration(x)
	case Curve:
		if len(x.Steps) > 0 {
			return x.Steps
		}
		return x.Name
	case Weight:
		return float64(x)
	case fmt.Stringer:
		return x.String()
	case int, bool:
		return x
	}
	if v.Kind() != reflect.Slice {
		return v.String()
	}
	list := make([]any, v.Len())
	for i := range list {
		list[i] = printable(key, v.Index(i))
	}
	return list
}

// YAML writes what is in force as a mailer.yaml, each value with a note of where it came from.
func (w *Workspace) YAML() (string, error) {
	notes := yaml.CommentMap{}
	tree := w.tree("", "$", reflect.ValueOf(&w.Config).Elem(), notes)
	text, err := yaml.MarshalWithOptions(tree, yaml.WithComment(notes), yaml.IndentSequence(true))
	if err != nil {
		return "", fmt.Errorf("write the configuration as YAML: %w", err)
	}
	return string(text), nil
}

// tree turns a struct into ordered keys and values; at is its place in goccy's path syntax.
func (w *Workspace) tree(path, at string, v reflect.Value, notes yaml.CommentMap) yaml.MapSlice {
	var out yaml.MapSlice
	for _, f := range fields(v) {
		key, at := join(path, f.name), at+"."+f.name
		switch {
		case isSecretPart(f.name) && f.value.IsZero():
		case f.value.Kind() == reflect.Map:
			named := yaml.MapSlice{}
			for _, name := range names(f.value) {
				value := f.value.MapIndex(reflect.ValueOf(name))
				named = append(named, yaml.MapItem{Key: name, Value: printable(join(key, name), value)})
				notes[at+".'"+name+"'"] = []*yaml.Comment{yaml.LineComment(" " + w.source(join(key, name)).String())}
			}
			out = append(out, yaml.MapItem{Key: f.name, Value: named})
		case f.value.Kind() == reflect.Struct && !isScalar(f.value):
			out = append(out, yaml.MapItem{Key: f.name, Value: w.tree(key, at, f.value, notes)})
		case f.value.Kind() == reflect.Slice && !isScalar(reflect.New(f.value.Type().Elem()).Elem()):
			out = append(out, yaml.MapItem{Key: f.name, Value: w.list(key, at, f.value, notes)})
		default:
			out = append(out, yaml.MapItem{Key: f.name, Value: printable(key, f.value)})
			if f.value.Kind() == reflect.Slice && f.value.Len() == 0 {
				continue // goccy would write the note before the []
			}
			notes[at] = []*yaml.Comment{yaml.LineComment(" " + w.source(key).String())}
		}
	}
	return out
}

func (w *Workspace) list(path, at string, v reflect.Value, notes yaml.CommentMap) any {
	if key := keyField(v.Type().Elem()); key >= 0 {
		named := yaml.MapSlice{}
		for i := range v.Len() {
			name := v.Index(i).Field(key).String()
			named = append(named, yaml.MapItem{Key: name, Value: w.tree(join(path, name), at+".'"+name+"'", v.Index(i), notes)})
		}
		return named
	}
	list := []any{}
	for i := range v.Len() {
		list = append(list, w.tree(join(path, strconv.Itoa(i)), fmt.Sprintf("%s[%d]", at, i), v.Index(i), notes))
	}
	return list
}

func isSecretPart(name string) bool {
	return name == "password" || strings.HasPrefix(name, "password_")
}

func (w *Workspace) source(key string) Source {
	if s, ok := w.sources[key]; ok {
		return s
	}
	return Source{From: FromDefault}
}
