package segment_test

import (
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailer/internal/address"
	"mailer/internal/contact"
	"mailer/internal/segment"
	"mailer/internal/store"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// The law of the language, held against expr's own virtual machine: random people, random expressions, the same answer
// from SQLite and from the machine. The machine knows nothing of missing fields and of days, so each comparison is
// written for it in full first: oracle.write puts `F != nil and` before it and makes two comparisons of times out of one
// with a day. Both sides get the expression as text; nothing of package segment's insides is used.
//
// SEGMENT_SEED repeats a run, SEGMENT_CASES makes it longer.
func TestSQLAgreesWithExprVM(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEGMENT_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	cases := 3000
	if s := os.Getenv("SEGMENT_CASES"); s != "" {
		cases, _ = strconv.Atoi(s)
	}
	rnd := newRand(seed)
	hits := 0
	const perWorld = 100
	begun, done := time.Now(), 0
	for ; done < cases; done += perWorld {
		if time.Since(begun) > 5*time.Second && os.Getenv("SEGMENT_CASES") == "" {
			break // the race detector slows SQLite thirty-fold
		}
		w := newWorld(t, rnd)
		for range perWorld {
			src := w.expression(3)
			bySQL, byVM := w.bySQL(t, src), w.byVM(t, src)
			if !slices.Equal(bySQL, byVM) {
				q, _ := segment.Compile(src, w.schema)
				t.Fatalf("SEGMENT_SEED=%d\nexpression: %s\nSQL: %s\nargs: %q\nby SQL:     %v\nby expr VM: %v\n%s",
					seed, src, q.SQL, q.Args, bySQL, byVM, w.describe(bySQL, byVM))
			}
			if len(bySQL) > 0 && len(bySQL) < len(w.people) {
				hits++
			}
		}
		w.close()
	}
	t.Logf("%d of %d expressions picked some but not all", hits, done)
	if hits < done/4 {
		t.Errorf("SEGMENT_SEED=%d: only %d of %d expressions picked some but not all: the generator says nothing", seed, hits, done)
	}
}

// person is a contact as the machine sees it: a value of Go for each field that is there.
type person struct {
	id     int64
	key    string
	values map[string]any
	lists  []string

	added     time.Time
	consented bool
	consents  []time.Time // where it is known when

	deliveries []sending
	events     []happening
	reasons    []string // of suppressions
	domainOut  bool     // the domain is suppressed
}

type world struct {
	rnd    *rand.Rand
	db     *sql.DB
	store  *store.Store // the same file
	schema segment.Schema
	people []person
}

func (w *world) close() { w.db.Close(); w.store.Close() }

// now is far from midnight and from the end of a month on purpose: the laws of days are tested elsewhere with fixed times.
var now = time.Date(2026, 11, 22, 15, 30, 20, 0, time.UTC)

var (
	oddNames = []string{"pref", "都道府県", "会社名", "Company Name", "a.b", "年齢", "x'y", `say "hi"`, "メール・区分", "नाम", "if", "not", "count",
		"email", "lists", "null", "f1", "$.f2", "c.key", "Straße", "naïve", "2026売上", "tab\there", "`tick`", "back\\slash", "?", "ガ"}
	texts = []string{"東京都", "都", "府", "大阪府", "東京", "京都府", "Tokyo", "tokyo", "a", "ab", "abc", "b", "%", "_", "a%", "O'Brien", `"`, `\`, "\n", "🍣",
		"\U0010FFFF", "\U0010FFFFa", "\uD7FF", "true", "nil", "30", "株式会社", " a", "A", "é", "e\u0301", "?", "?1", "' OR 1=1 --"}
	numbers = []string{"0", "1", "-1", "2", "3", "29", "30", "30.5", "0.1", "0.3", "-0.25", "1000000", "999999999999999", "123456.789012345", "-0"}
	dates   = []string{"2026-01-05", "2026-01-05 00:00", "2026-01-05 10:00", "2026-01-05 23:59:59", "2026-01-06", "2026/1/31", "2025-12-31 23:59:59",
		"2026-01-01", "1990/4/1", "2026-11-22", "2026-11-22 15:30:20", "2026-11-21 12:00", "2026-08-24", "9999-12-31 23:59:59", "0001-01-01"}
	booleans = []string{"true", "false", "yes", "いいえ"}
	tags     = []string{"vip", "東京", "a b", "x'", "%"}
	patterns = []string{"^東", "都$", "[a-c]+", "a.", "京|阪", "^$", "", `\d`, "(?s)^.$", "é", `^[\p{Han}]+$`, "(?i)TOKYO", "O'B"}
	listings = []string{"news", "ニュース", "it's"}
)

func pick[T any](rnd *rand.Rand, from []T) T { return from[rnd.IntN(len(from))] }

func newWorld(t *testing.T, rnd *rand.Rand) *world {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mailer.db")
	st, err := store.Open(t.Context(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(OFF)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	w := &world{rnd: rnd, db: db, store: st, schema: segment.Schema{Now: now, Location: time.UTC, Lists: map[string]int64{}, Campaigns: map[string]int64{},
		FewOnList: func(id int64) bool { return id%2 == 0 }, FewInCampaign: func(id int64) bool { return id%2 == 0 }}}
	for i, name := range campaigns {
		w.schema.Campaigns[name] = int64(i + 1)
		w.exec(t, "INSERT INTO campaigns (id, name, class, content_hash, content, state, created_at, expires_at) VALUES (?, ?, 'marketing', '', '', 'finished', 0, 0)", i+1, name)
	}
	for i, name := range listings {
		w.schema.Lists[name] = int64(i + 1)
		w.exec(t, "INSERT INTO lists (id, name, created_at) VALUES (?, ?, 0)", i+1, name)
	}
	names := slices.Clone(oddNames)
	rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for i, name := range names[:12] {
		w.schema.Fields = append(w.schema.Fields, contact.Field{ID: int64(i+1) * 7, Name: name, Type: contact.Types[i%len(contact.Types)]})
	}
	w.schema.Fields[5].Role = contact.Prefecture // a text
	for _, f := range w.schema.Fields {
		w.exec(t, "INSERT INTO fields (id, name, type, role, created_at) VALUES (?, ?, ?, ?, 0)", f.ID, f.Name, f.Type, f.Role)
	}
	w.exec(t, "INSERT INTO suppressions (scope, key, blocks, reason, created_at) VALUES ('domain', 'example.jp', 'all', 'manual', 0)")
	w.begin(t)
	for id := range int64(25) {
		w.people = append(w.people, w.newPerson(t, id+1))
	}
	w.exec(t, "COMMIT")
	return w
}

func (w *world) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := w.db.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
}

// begin makes the inserts of a world one transaction; there is one connection.
func (w *world) begin(t *testing.T) { w.exec(t, "BEGIN") }

// cell is a random cell of a field, and its value for the machine.
func (w *world) cell(f contact.Field) (string, any) {
	switch f.Type {
	case contact.Number:
		s := pick(w.rnd, numbers)
		v, _ := strconv.ParseFloat(s, 64)
		return s, v
	case contact.Date:
		s := pick(w.rnd, dates)
		from, _ := spanOf(s)
		return s, from
	case contact.Boolean:
		s := pick(w.rnd, booleans)
		return s, s == "true" || s == "yes"
	case contact.List:
		var items []string
		for range 1 + w.rnd.IntN(3) {
			items = append(items, pick(w.rnd, tags))
		}
		return strings.Join(items, "; "), items
	}
	s := pick(w.rnd, texts)
	return s, s
}

func (w *world) newPerson(t *testing.T, id int64) person {
	t.Helper()
	a, err := address.Parse(pick(w.rnd, []string{"Taro", "hanako", "a..b", "日本"}) + fmt.Sprint(id) + "@" +
		pick(w.rnd, []string{"docomo.ne.jp", "example.com", "Example.JP", "mail.example.com"}))
	if err != nil {
		a, _ = address.Parse(fmt.Sprintf("x%d@example.com", id))
	}
	p := person{id: id, key: a.Key, values: map[string]any{}, added: pick(w.rnd, moments)}
	cells := map[int64]string{}
	for _, f := range w.schema.Fields {
		if w.rnd.IntN(3) > 0 {
			cells[f.ID], p.values[f.Name] = w.cell(f)
		}
	}
	fields, err := contact.EncodeFields(w.schema.Fields, cells)
	if err != nil {
		t.Fatal(err)
	}
	w.exec(t, "INSERT INTO contacts (id, key, address, fields, created_at, updated_at) VALUES (?, ?, ?, ?, ?, 0)", id, a.Key, a.Text, fields, p.added.UnixMilli())
	for _, name := range listings {
		if w.rnd.IntN(2) == 0 {
			p.lists = append(p.lists, name)
			source, at := pick(w.rnd, []string{"", "", "form"}), any(nil)
			if w.rnd.IntN(3) == 0 {
				p.consents = append(p.consents, pick(w.rnd, moments))
				at = p.consents[len(p.consents)-1].UnixMilli()
			}
			p.consented = p.consented || source != "" || at != nil
			w.exec(t, "INSERT INTO memberships (list, contact, since, consent_source, consent_at) VALUES (?, ?, 0, ?, ?)", w.schema.Lists[name], id, source, at)
		}
	}
	w.live(t, &p)
	return p
}

// expression is a random one, at most depth deep.
func (w *world) expression(depth int) string {
	if depth == 0 || w.rnd.IntN(4) == 0 {
		return w.leaf()
	}
	a := func() string { return w.expression(depth - 1) }
	switch w.rnd.IntN(8) {
	case 0, 1:
		return "not (" + a() + ")"
	case 2:
		return "!(" + a() + ")"
	case 3:
		return a() + " and " + a()
	case 4:
		return "(" + a() + " && " + a() + ") or " + a()
	case 5:
		return "(" + a() + " || " + a() + ")"
	case 6:
		return a() + " and (" + a() + " or " + a() + " or " + a() + ")"
	}
	return "(" + a() + " or " + a() + ")"
}

func (w *world) leaf() string {
	switch w.rnd.IntN(16) {
	case 12, 13, 14:
		return w.historyLeaf()
	case 15:
		return w.placeLeaf()
	case 0:
		return fmt.Sprintf("list(%s)", strconv.Quote(pick(w.rnd, listings)))
	case 1:
		return fmt.Sprintf("%s in lists", strconv.Quote(pick(w.rnd, listings)))
	case 2:
		return pick(w.rnd, []string{`domain == "docomo.ne.jp"`, `domain != "EXAMPLE.com"`, `email endsWith "@example.jp"`, `email contains "Taro"`,
			`email startsWith "taro1"`, `email == "taro1@DOCOMO.ne.jp"`, `domain in ["example.com", "example.jp"]`, `domain endsWith ".com"`, `email matches "^[A-H]"`, `domain matches "JP$"`, "true", "false"})
	}
	f := pick(w.rnd, w.schema.Fields)
	name := w.reference(f)
	switch w.rnd.IntN(8) {
	case 0:
		return pick(w.rnd, []string{"has(" + name + ")", name + " == nil", name + " != nil"})
	case 1:
		if f.Type == contact.List {
			break
		}
		alike := slices.DeleteFunc(slices.Clone(w.schema.Fields), func(o contact.Field) bool { return o.Type != f.Type })
		op := w.operator()
		if f.Type == contact.Boolean {
			op = pick(w.rnd, []string{"==", "!="})
		}
		return name + " " + op + " " + w.reference(pick(w.rnd, alike))
	}
	return w.leafOf(f, name)
}

func (w *world) operator() string {
	return pick(w.rnd, []string{"==", "!=", "<", "<=", ">", ">="})
}

// reference writes a field in one of the ways there are.
func (w *world) reference(f contact.Field) string {
	plain := map[string]bool{"pref": true, "都道府県": true, "会社名": true, "年齢": true, "if": false, "count": true, "null": true, "f1": true, "Straße": true, "naïve": true}
	ways := []string{"field(" + strconv.Quote(f.Name) + ")", "$env[" + strconv.Quote(f.Name) + "]"}
	if plain[f.Name] {
		ways = append(ways, f.Name, f.Name, f.Name)
	}
	return pick(w.rnd, ways)
}

func (w *world) leafOf(f contact.Field, name string) string {
	kind := w.rnd.IntN(4)
	not := pick(w.rnd, []string{"", "", "not "})
	switch f.Type {
	case contact.Number:
		switch kind {
		case 0:
			return fmt.Sprintf("%s %sin [%s, %s]", name, not, pick(w.rnd, numbers), pick(w.rnd, numbers))
		case 1:
			return fmt.Sprintf("%s %sin %s..%s", name, not, pick(w.rnd, numbers), pick(w.rnd, numbers))
		case 2:
			return fmt.Sprintf("%s <= %s < %s", pick(w.rnd, numbers), name, pick(w.rnd, numbers))
		}
		return fmt.Sprintf("%s %s %s", name, w.operator(), pick(w.rnd, numbers))
	case contact.Date:
		a, b := w.date(), w.date()
		switch kind {
		case 0:
			return fmt.Sprintf("%s %sin [%s, %s]", name, not, a, b)
		case 1:
			return fmt.Sprintf("%s %sin %s..%s", name, not, a, b)
		}
		return fmt.Sprintf("%s %s %s", name, w.operator(), a)
	case contact.Boolean:
		return pick(w.rnd, []string{name, "not " + name, name + " == true", name + " == false", "false != " + name, name + " in [true]"})
	case contact.List:
		if kind == 0 {
			return fmt.Sprintf("%s %sin [%q, %q]", name, not, pick(w.rnd, tags), pick(w.rnd, tags))
		}
		return fmt.Sprintf("%s %sin %s", strconv.Quote(pick(w.rnd, tags)), not, name)
	}
	s := func() string { return strconv.Quote(pick(w.rnd, texts)) }
	if w.rnd.IntN(5) == 0 {
		return fmt.Sprintf("%s %smatches %q", name, not, pick(w.rnd, patterns))
	}
	switch kind {
	case 0:
		return fmt.Sprintf("%s %sin [%s, %s, %s]", name, not, s(), s(), s())
	case 1, 2:
		return fmt.Sprintf("%s %s%s %s", name, not, pick(w.rnd, []string{"contains", "startsWith", "endsWith"}), pick(w.rnd, []string{s(), s(), s(), `""`}))
	}
	return fmt.Sprintf("%s %s %s", name, w.operator(), s())
}

func (w *world) date() string {
	return pick(w.rnd, []string{strconv.Quote(pick(w.rnd, dates)), strconv.Quote(pick(w.rnd, dates)), `"2026-01"`, `"2026"`, `"2026-01-05T10:00:00+09:00"`,
		`date("2026-01-05")`, "today()", "now()", `ago("90d")`, `ago("1d")`, `ago("2h")`, `ago("1mo")`, `ahead("3 w")`})
}

func (w *world) bySQL(t *testing.T, src string) []int64 {
	t.Helper()
	q, err := segment.Compile(src, w.schema)
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	rows, err := w.db.Query("SELECT c.id FROM contacts AS c WHERE "+q.SQL+" ORDER BY c.id", q.Args...)
	if err != nil {
		t.Fatalf("%s\n%s: %v", src, q.SQL, err)
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	w.byStore(t, src, q, ids)
	return ids
}

// byStore asks the store, which puts the query in other words before it asks many.
func (w *world) byStore(t *testing.T, src string, q segment.Query, want []int64) {
	t.Helper()
	people, err := w.store.Sample(t.Context(), store.Where(q), 1000, "")
	if err != nil {
		t.Fatalf("%s\n%s: %v", src, q.SQL, err)
	}
	var ids []int64
	for _, p := range people {
		ids = append(ids, p.ID)
	}
	slices.Sort(ids)
	counts, err := w.store.CountEach(t.Context(), []store.Where{store.Where(q), store.Where(q.Not())}, nil)
	if err != nil || !slices.Equal(ids, want) || counts[0] != int64(len(want)) || counts[1] != int64(len(w.people)-len(want)) {
		t.Fatalf("%s\n%s %q: the store picks %v and counts %d, want %v, %v", src, q.SQL, q.Args, ids, counts, want, err)
	}
}

func (w *world) byVM(t *testing.T, src string) []int64 {
	t.Helper()
	tree, err := parser.Parse(src)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	o := oracle{fields: map[string]contact.Type{}, constants: map[string]any{"P": prefectureOf, "R": regionOf}, pref: w.schema.Fields[5].Name}
	for _, f := range w.schema.Fields {
		o.fields[f.Name] = f.Type
	}
	plain := o.write(tree.Node)
	program, err := expr.Compile(plain, expr.AsBool(), expr.AllowUndefinedVariables())
	if err != nil {
		t.Fatalf("%s\n%s: %v", src, plain, err)
	}
	var ids []int64
	for _, p := range w.people {
		env := maps.Clone(o.constants)
		env["F"], env["lists"], env["key"] = p.values, p.lists, p.key
		p.history(env)
		env["domain_"] = p.key[strings.LastIndexByte(p.key, '@')+1:]
		result, err := vm.Run(program, env)
		if err != nil {
			t.Fatalf("%s\n%s: %v", src, plain, err)
		}
		if result.(bool) {
			ids = append(ids, p.id)
		}
	}
	return ids
}

func (w *world) describe(a, b []int64) string {
	var s strings.Builder
	for _, p := range w.people {
		if slices.Contains(a, p.id) != slices.Contains(b, p.id) {
			fmt.Fprintf(&s, "%d %s %v %v\n", p.id, p.key, p.values, p.lists)
		}
	}
	return s.String()
}

// oracle writes an expression again so that expr's machine can answer it.
type oracle struct {
	fields    map[string]contact.Type
	constants map[string]any
	pref      string // the field with the role
}

func (o *oracle) write(n ast.Node) string {
	switch n := n.(type) {
	case *ast.UnaryNode:
		return "not (" + o.write(n.Node) + ")"
	case *ast.BoolNode:
		return n.String()
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "or", "&&", "||":
			return "(" + o.write(n.Left) + ") " + n.Operator + " (" + o.write(n.Right) + ")"
		}
		return o.guarded(n)
	case *ast.CallNode:
		switch n.Callee.String() {
		case "list":
			return n.Arguments[0].String() + " in lists"
		case "has":
			return o.operand(n.Arguments[0]) + " != nil"
		case "field":
		default:
			return o.historyCall(n)
		}
	}
	return o.ref(n) + " != nil and " + o.ref(n) + " == true"
}

// guarded is a comparison with `!= nil` before it for each field that it names.
func (o *oracle) guarded(n *ast.BinaryNode) string {
	_, leftNil := n.Left.(*ast.NilNode)
	_, rightNil := n.Right.(*ast.NilNode)
	if leftNil || rightNil {
		return o.operand(n.Left) + n.Operator + o.operand(n.Right)
	}
	if names, ok := o.placeNames(n); ok {
		return names
	}
	var parts []string
	date := false
	for _, side := range []ast.Node{n.Left, n.Right} {
		if name, ok := o.fieldName(side); ok {
			parts = append(parts, o.ref(side)+" != nil")
			date = date || o.fields[name] == contact.Date
		}
	}
	if date {
		parts = append(parts, o.days(n))
	} else if r, ok := n.Right.(*ast.BinaryNode); ok && r.Operator == ".." {
		v := o.operand(n.Left)
		parts = append(parts, v+" >= "+r.Left.String()+" and "+v+" <= "+r.Right.String())
	} else if array, ok := n.Right.(*ast.ArrayNode); ok && o.listField(n.Left) {
		parts = append(parts, "any("+o.ref(n.Left)+", {# in "+array.String()+"})")
	} else if left := o.operand(n.Left); n.Operator == "matches" && !strings.HasPrefix(left, "F[") {
		parts = append(parts, left+` matches "(?i)`+n.Right.(*ast.StringNode).Value+`"`)
	} else if left == "key" || left == "domain_" {
		parts = append(parts, left+" "+n.Operator+" "+strings.ToLower(n.Right.String()))
	} else {
		parts = append(parts, left+" "+n.Operator+" "+o.operand(n.Right))
	}
	return "(" + strings.Join(parts, " and ") + ")"
}

// days writes a comparison of a date field as comparisons of times.
func (o *oracle) days(n *ast.BinaryNode) string {
	v := o.operand(n.Left)
	switch r := n.Right.(type) {
	case *ast.ArrayNode:
		any := []string{"false"}
		for _, item := range r.Nodes {
			any = append(any, o.day(v, "==", item))
		}
		return "(" + strings.Join(any, " or ") + ")"
	case *ast.BinaryNode:
		return o.day(v, ">=", r.Left) + " and " + o.day(v, "<=", r.Right)
	}
	if _, ok := o.fieldName(n.Right); ok {
		return v + " " + n.Operator + " " + o.operand(n.Right)
	}
	return o.day(v, n.Operator, n.Right)
}

func (o *oracle) day(v, op string, literal ast.Node) string {
	from, to := spanOfNode(literal)
	a, b := o.constant(from), o.constant(to)
	return fmt.Sprintf(map[string]string{
		"==": "(%[1]s >= %[2]s and %[1]s < %[3]s)", "!=": "not (%[1]s >= %[2]s and %[1]s < %[3]s)",
		"<": "(%[1]s < %[2]s)", "<=": "(%[1]s < %[3]s)", ">": "(%[1]s >= %[3]s)", ">=": "(%[1]s >= %[2]s)",
	}[op], v, a, b)
}

func (o *oracle) constant(v any) string {
	name := fmt.Sprintf("k%d", len(o.constants))
	o.constants[name] = v
	return name
}

// fieldName tells whether a node names a field. A bare email or domain is the address.
func (o *oracle) fieldName(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		_, ok := o.fields[n.Value]
		return n.Value, ok && n.Value != "email" && n.Value != "lists"
	case *ast.MemberNode:
		return n.Property.(*ast.StringNode).Value, true
	case *ast.CallNode:
		if n.Callee.String() == "field" {
			return n.Arguments[0].(*ast.StringNode).Value, true
		}
	}
	return "", false
}

func (o *oracle) ref(n ast.Node) string {
	name, ok := o.fieldName(n)
	if !ok {
		panic("no field: " + n.String())
	}
	return "F[" + strconv.Quote(name) + "]"
}

// operand writes one side of a comparison.
func (o *oracle) operand(n ast.Node) string {
	if _, ok := o.fieldName(n); ok {
		return o.ref(n)
	}
	if place, ok := o.place(n); ok {
		return place
	}
	switch n.String() {
	case "email":
		return "key"
	case "domain":
		return "domain_"
	}
	return n.String()
}

// spanOf is the time that a date stands for: from, and the first moment after it.
func spanOf(s string) (from, to time.Time) {
	for _, f := range []struct {
		layout string
		next   func(time.Time) time.Time
	}{
		{"2006-01-02", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
		{"2006/1/2", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
		{"2006-01-02 15:04", func(t time.Time) time.Time { return t.Add(time.Minute) }},
		{"2006-01-02 15:04:05", func(t time.Time) time.Time { return t.Add(time.Second) }},
		{time.RFC3339, func(t time.Time) time.Time { return t.Add(time.Second) }},
		{"2006-01", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
		{"2006", func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }},
	} {
		if t, err := time.Parse(f.layout, s); err == nil {
			return t, f.next(t)
		}
	}
	panic("no date: " + s)
}

func spanOfNode(n ast.Node) (from, to time.Time) {
	today := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	day := func(t time.Time) (time.Time, time.Time) { return t, t.AddDate(0, 0, 1) }
	switch s := n.String(); s {
	case "today()":
		return day(today)
	case "now()":
		return now, now.Add(time.Second)
	case `ago("90d")`:
		return day(today.AddDate(0, 0, -90))
	case `ago("1d")`:
		return day(today.AddDate(0, 0, -1))
	case `ago("2h")`:
		return now.Add(-2 * time.Hour), now.Add(-2*time.Hour + time.Second)
	case `ago("1mo")`:
		return day(today.AddDate(0, -1, 0))
	case `ahead("3 w")`:
		return day(today.AddDate(0, 0, 21))
	case `date("2026-01-05")`:
		return spanOf("2026-01-05")
	}
	return spanOf(n.(*ast.StringNode).Value)
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func (o *oracle) listField(n ast.Node) bool {
	name, ok := o.fieldName(n)
	return ok && o.fields[name] == contact.List
}
