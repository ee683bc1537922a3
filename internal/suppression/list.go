package suppression

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/japanese"
)

// Entry is one line of a list of suppressions. What the list does not say is empty.
type Entry struct {
	Line                            int
	Address                         string // as written; with Scope "domain" a domain
	Scope, Blocks, Reason, Evidence string
}

// addressColumns are the names of the column that holds the address, in lower case.
var addressColumns = []string{"address", "email", "e-mail", "mail", "email address", "e-mail address", "mailaddress", "recipient", "key", "メールアドレス", "メール", "アドレス", "eメール"}

// ReadList reads a plain list (one address a line, # begins a comment) or a CSV or TSV file whose first row names an
// address column; columns scope, blocks, reason and evidence are taken where they are there, as export writes them.
func ReadList(r io.Reader, fn func(Entry) error) error {
	in := csv.NewReader(r)
	in.FieldsPerRecord, in.LazyQuotes, in.Comment, in.TrimLeadingSpace = -1, true, '#', true
	var columns map[string]int
	for first := true; ; first = false {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the list: %w", err)
		}
		if len(row) == 1 && strings.Contains(row[0], "\t") {
			row = strings.Split(row[0], "\t")
		}
		if first {
			row[0] = strings.TrimPrefix(row[0], "\ufeff")
			if columns = header(row); columns != nil {
				continue
			}
		}
		line, _ := in.FieldPos(0)
		if err := fn(entry(line, row, columns)); err != nil {
			return err
		}
	}
}

// header returns the columns of a first row that names them, nil for a row that is an entry already.
func header(row []string) map[string]int {
	columns := map[string]int{}
	for i, cell := range row {
		name := strings.ToLower(strings.TrimSpace(decoded(cell)))
		if strings.Contains(name, "@") {
			return nil
		}
		if slices.Contains(addressColumns, name) {
			name = "address"
		}
		if _, have := columns[name]; !have {
			columns[name] = i
		}
	}
	if _, ok := columns["address"]; !ok {
		return nil
	}
	return columns
}

func entry(line int, row []string, columns map[string]int) Entry {
	if columns == nil {
		return Entry{Line: line, Address: firstAddress(row)}
	}
	cell := func(name string) string {
		if i, ok := columns[name]; ok && i < len(row) {
			return strings.TrimSpace(decoded(row[i]))
		}
		return ""
	}
	return Entry{line, cell("address"), cell("scope"), cell("blocks"), cell("reason"), cell("evidence")}
}

// firstAddress is the first cell that looks like an address, else the first.
func firstAddress(row []string) string {
	for _, cell := range row {
		if strings.Contains(cell, "@") {
			return strings.TrimSpace(decoded(cell))
		}
	}
	return strings.TrimSpace(decoded(row[0]))
}

// decoded reads a cell that is not UTF-8 as CP932, the other encoding such lists come in.
func decoded(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	out, err := japanese.ShiftJIS.NewDecoder().String(s)
	if err != nil {
		return s
	}
	return out
}
