package store

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"mailer/internal/contact"
)

// step is a line of EXPLAIN QUERY PLAN (https://sqlite.org/eqp.html).
type step struct {
	id, parent int
	detail     string
}

func (s *Store) steps(ctx context.Context, query string, args []any) ([]step, error) {
	rows, err := s.read.QueryContext(ctx, "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []step
	for rows.Next() {
		var st step
		var unused int
		if err := rows.Scan(&st.id, &st.parent, &unused, &st.detail); err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	return all, rows.Err()
}

// QueryPlan says in plain words, a sentence a step, how the people of w are found.
func (s *Store) QueryPlan(ctx context.Context, w Where) ([]string, error) {
	steps, err := s.steps(ctx, "SELECT count(*) FROM contacts AS c"+w.clause(), w.Args)
	if err != nil {
		return nil, fmt.Errorf("explain the query: %w", explain(err))
	}
	all, err := s.CountContacts(ctx, Where{})
	if err != nil {
		return nil, err
	}
	fields, err := s.Fields(ctx)
	if err != nil {
		return nil, err
	}
	var words []string
	for _, st := range steps {
		if text := planWords(st.detail, all, fields); text != "" && (len(words) == 0 || words[len(words)-1] != text) {
			words = append(words, text)
		}
	}
	return words, nil
}

var (
	planStep   = regexp.MustCompile(`^(SCAN|SEARCH) (\w+)(.*)$`)
	fieldIndex = regexp.MustCompile(`^` + indexPrefix + `(\d+)$`)
	usedIndex  = regexp.MustCompile(`INDEX (\w+)`)
)

// planWords is a step for people who have never seen a query plan; empty for a step that only holds others.
func planWords(detail string, all int64, fields []contact.Field) string {
	m := planStep.FindStringSubmatch(detail)
	if m == nil {
		if strings.HasPrefix(detail, "MULTI-INDEX OR") {
			return "joins the answers of several indexes"
		}
		return ""
	}
	search := m[1] == "SEARCH"
	switch table := m[2]; {
	case table == "c" && !search:
		return "reads all " + thousands(all) + " contacts"
	case table == "c":
		return contactsWords(m[3], fields)
	case table == "e":
		return "goes through the items of the list field"
	case table == "m" && strings.Contains(m[3], "(list=?)"):
		return "reads who is on the list"
	case table == "m":
		return "looks each person up on the list"
	case table == "d" && !strings.Contains(m[3], "key=?"):
		return "reads the deliveries of the campaign"
	case table == "d":
		return "looks up each person's deliveries by address"
	case table == "t":
		return "looks up the attempts of a delivery"
	case table == "h":
		return "looks up each person's history by address"
	case table == "s":
		return "looks each person up among the suppressions"
	}
	return detail
}

func contactsWords(how string, fields []contact.Field) string {
	if strings.Contains(how, "INTEGER PRIMARY KEY") {
		return "looks up these contacts"
	}
	index := usedIndex.FindStringSubmatch(how)
	if index == nil {
		return "looks contacts up:" + how
	}
	if id := fieldIndex.FindStringSubmatch(index[1]); id != nil {
		for _, f := range fields {
			if strconv.FormatInt(f.ID, 10) == id[1] {
				return "uses the index on " + f.Name
			}
		}
	}
	return "looks contacts up by address"
}

// thousands writes 1000000 as 1,000,000.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
