package segment

import "unicode/utf8"

// What SQLite and PostgreSQL say differently stands in this file; the rest of the SQL is the same in both.
//
// Texts compare byte by byte, which for UTF-8 is the order of the characters: SQLite does so by itself, PostgreSQL
// wants COLLATE "C".

// Conditions without a subject, and the address.
const (
	sqlTrue   = "1"
	sqlFalse  = "0"
	sqlKey    = "c.key"
	sqlDomain = "substr(c.key, instr(c.key, '@') + 1)" // no local part holds an @ (package address)

	// The arguments are the seed and the part of 2^63 that is taken; see PlaceNumber.
	sqlSample = "mailer_place(?, c.key) < ?"
)

// sqlPrefecture and sqlRegion are the name of the prefecture or region that a cell tells, or NULL (package prefecture).
func sqlPrefecture(expr string) string { return "mailer_prefecture(" + expr + ")" }
func sqlRegion(expr string) string     { return "mailer_region(" + expr + ")" }

// sqlMatches: the text of expr matches the argument, a regular expression. SQLite has the operator and wants a function
// regexp for it; PostgreSQL's is ~, which is not RE2.
func sqlMatches(expr string) string { return expr + " REGEXP ?" }

// sqlField is the value of a field, NULL where it is missing. The path is a literal, not an argument, since only then
// can an index on the expression serve. It comes from the field's id.
func sqlField(path string) string { return "json_extract(c.fields, '$." + path + "')" }

// sqlElement: the list at path holds the argument.
func sqlElement(path string) string {
	return "EXISTS (SELECT 1 FROM json_each(c.fields, '$." + path + "') AS e WHERE e.value = ?)"
}

// sqlAnyElement: the list at path holds one of n arguments.
func sqlAnyElement(path string, n int) string {
	return "EXISTS (SELECT 1 FROM json_each(c.fields, '$." + path + "') AS e WHERE e.value IN (" + placeholders(n) + "))"
}

// sqlMoment brings a stored date to full length, so that a day equals its own midnight.
func sqlMoment(expr string) string { return "substr(" + expr + " || 'T00:00:00', 1, 19)" }

// sqlContains: the text of expr holds the argument.
func sqlContains(expr string) string { return "instr(" + expr + ", ?) > 0" }

// sqlEndsWith: the text of expr ends with the second argument; the first says where that would begin.
func sqlEndsWith(expr, suffix string) (string, []any) {
	return "substr(" + expr + ", ?) = ?", []any{-utf8.RuneCountInString(suffix), suffix}
}
