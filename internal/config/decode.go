package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"mailer/internal/pace"
	"mailer/internal/spelling"
)

// Where a value in force came from.
const (
	FromDefault = "default"
	FromFile    = "file"
	FromEnv     = "environment"
	FromFlag    = "flag"
)

// Source is where a value in force came from.
type Source struct {
	From         string
	Name         string // of the variable or flag
	Line, Column int    // in the file
}

// String is a note for people.
func (s Source) String() string {
	switch s.From {
	case FromFile:
		return fmt.Sprintf("line %d", s.Line)
	case FromEnv:
		return "$" + s.Name
	case FromFlag:
		return s.Name
	}
	return FromDefault
}

// decoder fills a Config from a YAML tree, and goes on after an error so as to report them all. goccy's own decoder
// stops at the first one and keeps no positions, which the checks, the environment and `config show` need.
type decoder struct {
	file    string
	sources map[string]Source // by key path
	anchors map[string]ast.Node
	merges  int
	errs    Errors
}

// maxMerges stops a mapping that merges itself.
const maxMerges = 32

func (d *decoder) fail(e Error) { e.File = d.file; d.errs = append(d.errs, &e) }

func (d *decoder) failAt(n ast.Node, key, format string, args ...any) {
	s := sourceOf(n)
	d.fail(Error{Line: s.Line, Column: s.Column, Key: key, Message: fmt.Sprintf(format, args...)})
}

// result is nil, or all errors in the order of the file.
func (d *decoder) result() error {
	if len(d.errs) == 0 {
		return nil
	}
	sort.SliceStable(d.errs, func(i, j int) bool {
		a, b := d.errs[i], d.errs[j]
		return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
	})
	return d.errs
}

func sourceOf(n ast.Node) Source {
	s := Source{From: FromFile}
	if t := n.GetToken(); t != nil && t.Position != nil {
		s.Line, s.Column = t.Position.Line, t.Position.Column
	}
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return sourceOf(m.Values[0].Key) // a block mapping's own token is its first colon
	}
	return s
}

// node stores what a node of the tree says in v, the value at that path.
func (d *decoder) node(path string, n ast.Node, v reflect.Value) {
	n, ok := d.plain(path, n)
	if !ok || n == nil || n.Type() == ast.NullType { // `reply_to:` with nothing behind it leaves the default
		return
	}
	d.sources[path] = sourceOf(n)
	switch {
	case isScalar(v):
		d.scalar(path, n, v)
	case v.Kind() == reflect.Struct:
		d.mapping(path, n, func(name string, key, value ast.Node) { d.field(path, name, key, value, v) })
	case v.Kind() == reflect.Map:
		v.SetZero()
		d.mapping(path, n, func(name string, _, value ast.Node) {
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			e := reflect.New(v.Type().Elem()).Elem()
			d.node(join(path, name), value, e)
			v.SetMapIndex(reflect.ValueOf(name), e)
		})
	case keyField(v.Type().Elem()) >= 0:
		d.mapping(path, n, func(name string, _, value ast.Node) { d.entry(path, name, value, v) })
	default:
		d.sequence(path, n, v)
	}
}

// plain looks through tags, anchors and aliases.
func (d *decoder) plain(path string, n ast.Node) (ast.Node, bool) {
	switch t := n.(type) {
	case *ast.TagNode:
		return d.plain(path, t.Value)
	case *ast.AnchorNode:
		value, ok := d.plain(path, t.Value)
		d.anchors[t.Name.GetToken().Value] = value
		return value, ok
	case *ast.AliasNode:
		name := t.Value.GetToken().Value
		target, ok := d.anchors[name]
		if !ok {
			d.failAt(n, path, "no anchor &%s stands before this", name)
		}
		return target, ok
	}
	return n, true
}

func (d *decoder) mapping(path string, n ast.Node, each func(name string, key, value ast.Node)) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.failAt(n, path, "must hold keys and values, not %s", describe(n))
		return
	}
	if d.merges++; d.merges > maxMerges {
		d.failAt(n, path, "merges (<<) too deeply")
		return
	}
	defer func() { d.merges-- }()
	for it := m.MapRange(); it.Next(); { // first, because a key written out wins over a merged one
		if !it.Key().IsMergeKey() {
			continue
		}
		if base, ok := d.plain(path, it.Value()); ok {
			d.mapping(path, base, each)
		}
	}
	for it := m.MapRange(); it.Next(); {
		if !it.Key().IsMergeKey() {
			each(it.Key().GetToken().Value, it.Key(), it.Value())
		}
	}
}

func (d *decoder) field(path, name string, key, value ast.Node, v reflect.Value) {
	var names []string
	for _, f := range fields(v) {
		if f.name == name {
			d.node(join(path, name), value, f.value)
			return
		}
		names = append(names, f.name)
	}
	s := sourceOf(key)
	d.fail(Error{Line: s.Line, Column: s.Column, Key: path,
		Message: fmt.Sprintf("unknown key %q", name), Nearest: spelling.Nearest(name, names)})
}

// entry adds one named entry to a list such as Relays, or goes on with one that a merge key has begun.
func (d *decoder) entry(path, name string, value ast.Node, list reflect.Value) {
	key := keyField(list.Type().Elem())
	for i := range list.Len() {
		if list.Index(i).Field(key).String() == name {
			d.node(join(path, name), value, list.Index(i))
			return
		}
	}
	e := reflect.New(list.Type().Elem())
	if with, ok := e.Interface().(interface{ setDefaults() }); ok {
		with.setDefaults()
	}
	e.Elem().Field(key).SetString(name)
	d.node(join(path, name), value, e.Elem())
	list.Set(reflect.Append(list, e.Elem()))
}

func (d *decoder) sequence(path string, n ast.Node, v reflect.Value) {
	list, ok := n.(*ast.SequenceNode)
	if text, one := scalarText(n); one && v.Type() == reflect.TypeFor[Folders]() {
		v.Set(reflect.ValueOf(Folders{text}))
		return
	}
	if !ok {
		d.failAt(n, path, "must be a list, such as [a, b], not %s", describe(n))
		return
	}
	v.SetZero() // a list of nothing is as none
	if len(list.Values) > 0 {
		v.Set(reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values)))
	}
	for i, one := range list.Values {
		d.node(join(path, strconv.Itoa(i)), one, v.Index(i))
	}
}

func (d *decoder) scalar(path string, n ast.Node, v reflect.Value) {
	text, ok := scalarText(n)
	switch v.Type() {
	case reflect.TypeFor[Curve]():
		if list, days := n.(*ast.SequenceNode); days {
			text, ok = joined(list)
		}
	case reflect.TypeFor[pace.Span](), reflect.TypeFor[NameServer]():
		if !ok {
			text, ok = unsplit(n)
		}
	}
	switch {
	case !ok:
		d.failAt(n, path, "must be a single value, not %s", describe(n))
	case v.Kind() == reflect.Int && v.Type() == reflect.TypeFor[int]() && n.Type() != ast.IntegerType,
		v.Kind() == reflect.Bool && n.Type() != ast.BoolType:
		d.failAt(n, path, "must be %s, not %s", kindName(v), describe(n))
	default:
		if err := setScalar(v, text); err != nil {
			d.failAt(n, path, "%v", err)
		}
	}
}

// joined is a list of scalars with commas between.
func joined(list *ast.SequenceNode) (string, bool) {
	var all []string
	for _, n := range list.Values {
		text, ok := scalarText(n)
		if !ok {
			return "", false
		}
		all = append(all, text)
	}
	return strings.Join(all, ","), true
}

// unsplit is a time of day or an address with a port that goccy took for a key and its value: in {quiet: [21:00-08:00]} YAML
// sees no mapping, since no space follows the colon, and goccy does.
func unsplit(n ast.Node) (string, bool) {
	m, ok := n.(ast.MapNode)
	if !ok {
		return "", false
	}
	it := m.MapRange()
	if !it.Next() {
		return "", false
	}
	value, ok := scalarText(it.Value())
	text := it.Key().GetToken().Value + ":" + value
	return text, ok && !it.Next()
}

// scalarText is a scalar as it was written: a user name 007 stays 007.
func scalarText(n ast.Node) (string, bool) {
	switch t := n.(type) {
	case *ast.LiteralNode:
		return t.Value.Value, true
	case *ast.StringNode:
		return t.Value, true
	case ast.ScalarNode:
		return t.GetToken().Value, true
	}
	return "", false
}

// environment looks for a variable for every key below v. An empty variable counts as none, as compose files and
// unit files leave them.
func (d *decoder) environment(v reflect.Value, lookup Lookup) {
	set := func(key string, value reflect.Value) bool {
		text, _ := lookup(EnvName(key))
		if text != "" {
			d.given(key, value, text, Source{From: FromEnv, Name: EnvName(key)})
		}
		return text != ""
	}
	walk("", v, func(key string, value reflect.Value) {
		if value.Type() != reflect.TypeFor[Secret]() {
			set(key, value)
			return
		}
		// A password in the environment replaces the file's, in whatever form that is.
		var rest []field
		for _, f := range fields(value) {
			if !set(join(key, f.name), f.value) {
				rest = append(rest, f)
			}
		}
		for i := 0; len(rest) < len(fields(value)) && i < len(rest); i++ {
			rest[i].value.SetZero()
			delete(d.sources, join(key, rest[i].name))
		}
	})
}

// override applies one flag.
func (d *decoder) override(v reflect.Value, o Override) {
	found := false
	walk("", v, func(key string, value reflect.Value) {
		if key == o.Key && value.Type() != reflect.TypeFor[Secret]() {
			found = true
			d.given(key, value, o.Value, Source{From: FromFlag, Name: o.Flag})
		}
	})
	if !found {
		d.fail(Error{Key: o.Key, Message: fmt.Sprintf("%s sets a key that the configuration does not have", o.Flag)})
	}
}

// given stores a value from outside the file: a scalar, or a list of scalars between commas; between semicolons, if each may
// have commas in it, as "sat,sun 10:00-12:00" has.
func (d *decoder) given(key string, v reflect.Value, text string, s Source) {
	d.sources[key] = s
	var err error
	if v.Kind() != reflect.Slice {
		err = setScalar(v, text)
	} else {
		sign := ','
		if v.Type().Elem() == reflect.TypeFor[pace.Span]() {
			sign = ';'
		}
		parts := strings.FieldsFunc(text, func(r rune) bool { return r == sign })
		v.Set(reflect.MakeSlice(v.Type(), len(parts), len(parts)))
		for i, part := range parts {
			err = errors.Join(err, setScalar(v.Index(i), strings.TrimSpace(part)))
		}
	}
	if err != nil {
		d.errs = append(d.errs, &Error{File: s.String(), Key: key, Message: err.Error()})
	}
}

// walk visits every scalar, list of scalars and secret below v.
func walk(path string, v reflect.Value, visit func(key string, v reflect.Value)) {
	switch {
	case isScalar(v) || v.Kind() == reflect.Slice && isScalar(reflect.New(v.Type().Elem()).Elem()):
		visit(path, v)
	case v.Kind() == reflect.Slice:
		key := keyField(v.Type().Elem())
		for i := range v.Len() {
			name := strconv.Itoa(i)
			if key >= 0 {
				name = v.Index(i).Field(key).String()
			}
			walk(join(path, name), v.Index(i), visit)
		}
	case v.Kind() == reflect.Map:
		for _, name := range names(v) {
			e := reflect.New(v.Type().Elem()).Elem() // what lies in a map cannot be set
			e.Set(v.MapIndex(reflect.ValueOf(name)))
			walk(join(path, name), e, visit)
			v.SetMapIndex(reflect.ValueOf(name), e)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			switch tag := v.Type().Field(i).Tag.Get("yaml"); tag {
			case ",key":
			case ",inline":
				visit(path, v.Field(i))
			default:
				walk(join(path, tag), v.Field(i), visit)
			}
		}
	}
}

// EnvName is the variable that sets a key: relays.main.host is MAILER_RELAYS_MAIN_HOST.
func EnvName(key string) string {
	return "MAILER_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key)
}

func setScalar(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		span, err := ParseDuration(text)
		*p = span
		return err
	case *int:
		n, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		*p = n
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		*p = b
	case *string:
		*p = text
	}
	return nil
}

func isScalar(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String, reflect.Int, reflect.Int64, reflect.Bool:
		return true
	}
	return reflect.PointerTo(v.Type()).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// names are the keys of a map, in order.
func names(m reflect.Value) []string {
	var all []string
	for _, k := range m.MapKeys() {
		all = append(all, k.String())
	}
	slices.Sort(all)
	return all
}

type field struct {
	name  string
	value reflect.Value
}

// fields are a struct's keys in order, those of an inline one among them.
func fields(v reflect.Value) []field {
	var all []field
	for i := range v.NumField() {
		switch tag := v.Type().Field(i).Tag.Get("yaml"); tag {
		case ",key":
		case ",inline":
			all = append(all, fields(v.Field(i))...)
		default:
			all = append(all, field{tag, v.Field(i)})
		}
	}
	return all
}

// keyField is the field that holds the key where a mapping is kept as a list in the file's order; -1: none does.
func keyField(t reflect.Type) int {
	for i := 0; t.Kind() == reflect.Struct && i < t.NumField(); i++ {
		if t.Field(i).Tag.Get("yaml") == ",key" {
			return i
		}
	}
	return -1
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func kindName(v reflect.Value) string {
	if v.Kind() == reflect.Bool {
		return "true or false"
	}
	return "a whole number"
}

// describe names what stands in the file in words.
func describe(n ast.Node) string {
	switch n.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "keys and values"
	case ast.SequenceType:
		return "a list"
	}
	text, _ := scalarText(n)
	return strconv.Quote(text)
}
