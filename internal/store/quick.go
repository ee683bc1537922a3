package store

import (
	"context"
	"regexp"
	"slices"
	"strings"
)

// The conditions of segments read fields by json_extract, which any SQLite knows and an index on the expression can
// answer. Without an index it takes every contact's whole JSON apart, most of the time of a scan. So before a scan the
// text is changed to functions of ours (functions.go) that look for the one member and give the same. The SQL of a
// condition is put together from a fixed vocabulary (package segment), so the places are found by their text.
var (
	extracted = regexp.MustCompile(`json_extract\(c\.fields, '\$\.(f\d+)'\)`)
	unpacked  = regexp.MustCompile(`EXISTS \(SELECT 1 FROM json_each\(c\.fields, '\$\.(f\d+)'\) AS e WHERE e\.value (?:= (\?)|IN \((\?(?:, \?)*)\))\)`)
)

const (
	quickField = "mailer_field" // (fields, 'f1')
	quickHolds = "mailer_holds" // (fields, 'f1', text, ...)
)

// quick is sql with the functions of ours, save for the fields whose index serves it.
func quick(sql string, indexed []string) string {
	sql = unpacked.ReplaceAllString(sql, quickHolds+"(c.fields, '$1', $2$3)")
	return extracted.ReplaceAllStringFunc(sql, func(part string) string {
		path := extracted.FindStringSubmatch(part)[1]
		if slices.Contains(indexed, path) {
			return part
		}
		return quickField + "(c.fields, '" + path + "')"
	})
}

// quicken makes w ready to be asked of many contacts, and tells what SQLite will do: single when the people are found by
// a list of some that must be made first, so that the query cannot be cut into stretches of contacts.
func (s *Store) quicken(ctx context.Context, w Where) (quickened Where, single bool, err error) {
	if w.SQL == "" {
		return w, false, nil
	}
	steps, err := s.steps(ctx, "SELECT count(*) FROM contacts AS c"+w.clause(), w.Args)
	if err != nil {
		return w, false, err
	}
	var indexed []string
	for _, st := range steps {
		if strings.HasPrefix(st.detail, "LIST SUBQUERY") {
			single = true
		}
		if m := usedIndex.FindStringSubmatch(st.detail); m != nil && fieldIndex.MatchString(m[1]) {
			indexed = append(indexed, "f"+fieldIndex.FindStringSubmatch(m[1])[1])
		}
	}
	return Where{SQL: quick(w.SQL, indexed), Args: w.Args}, single, nil
}
