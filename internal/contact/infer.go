package contact

import "strings"

// Inference finds the type of a new column: the narrowest that every non-empty cell fits. The zero value is ready; for a
// column whose name is known, NewInference is better. What a column was found not to be is not asked again, and a column
// that can only be text costs nothing.
type Inference struct {
	seen bool
	not  uint8 // types that are ruled out
	name listName
	list listEvidence
}

const (
	notNumber = 1 << iota
	notDate
	notBoolean
	notList
	onlyText = notNumber | notDate | notBoolean | notList
)

// listName is what the name of a column says about lists.
type listName int8

const (
	mayBeList   listName = iota
	oftenList            // a list if one cell holds several
	surelyTags           // a list, even if every cell of this file holds one
	neverAsList          // a role that is no list
)

// NewInference is the inference of a column of this name.
func NewInference(header string) Inference {
	i := Inference{}
	switch role := RoleOf(header); {
	case role == Tags:
		i.name = surelyTags
	case textRoles[role]:
		i.name, i.not = neverAsList, onlyText
	case role != NoRole || MayBeAddress(header):
		i.name, i.not = neverAsList, notList
	case groupNames[headerKey(header)]:
		i.name = oftenList
	}
	return i
}

// textRoles are roles that mean a text even where every cell of one file is a number: the next file has the postal code
// with a zero before it, the telephone number with hyphens, the prefecture by its name.
var textRoles = map[Role]bool{
	Name: true, LastName: true, FirstName: true, Kana: true, LastKana: true, FirstKana: true, Company: true, Department: true, Title: true,
	Prefecture: true, Street: true, Postcode: true, Phone: true, Language: true,
}

// groupNames are headers of columns that hold one word or several.
var groupNames = map[string]bool{
	"group": true, "groups": true, "グループ": true, "グループ名": true, "category": true, "categories": true, "カテゴリ": true, "カテゴリー": true,
	"interests": true, "interest": true, "興味": true, "関心": true, "ご興味": true, "segments": true, "セグメント": true,
}

// See takes one cell into account.
func (i *Inference) See(cell string) {
	if cell != "" {
		i.seen = true
		if i.not != onlyText {
			i.see(cell)
		}
	}
}

func (i *Inference) see(cell string) {
	if i.not&notNumber == 0 && !isNumber(cell) {
		i.not |= notNumber
	}
	if i.not&notDate == 0 && !isDate(cell) {
		i.not |= notDate
	}
	if i.not&notBoolean == 0 {
		if _, ok := ParseBoolean(cell); !ok {
			i.not |= notBoolean
		}
	}
	if i.not&notList == 0 && !i.list.see(cell, i.name != mayBeList) {
		i.not |= notList
	}
}

// Type is the verdict; a column without a single value is text.
func (i *Inference) Type() Type {
	switch {
	case !i.seen:
		return Text
	case i.name == surelyTags && i.not&notList == 0:
		return List
	case i.not&notNumber == 0:
		return Number
	case i.not&notDate == 0:
		return Date
	case i.not&notBoolean == 0:
		return Boolean
	case i.not&notList == 0 && i.list.plain(i.name != mayBeList):
		return List
	}
	return Text
}

// Empty reports whether no cell had a value.
func (i *Inference) Empty() bool { return !i.seen }

// listEvidence is what speaks for a list: words of a small vocabulary, several to a cell, always with the same character
// between them. A comma never does: it stands in addresses and sentences.
type listEvidence struct {
	cells, several, items int
	between               byte
	words                 []string
}

// Bounds of the evidence, and with them of its memory.
const (
	maxWords   = 64
	maxWord    = 40  // bytes; what is longer is a sentence
	lonelyRows = 256 // by then a tenth of the cells must hold several items
)

// see takes a cell in and reports whether the column can be a list still. In a column that is named like one, anything
// goes but sentences.
func (e *listEvidence) see(cell string, named bool) bool {
	e.cells++
	if named {
		if len(cell) > 20*maxWord {
			return false
		}
		if strings.ContainsAny(cell, listSeparators) {
			e.several++
		}
		return true
	}
	if strings.ContainsAny(cell, ",、；\n@\"<") || strings.Contains(cell, "://") {
		return false
	}
	sep := byte(0)
	for _, c := range []byte(";|") {
		if strings.IndexByte(cell, c) >= 0 {
			if sep != 0 || e.between != 0 && e.between != c {
				return false
			}
			sep, e.between = c, c
		}
	}
	if sep == 0 {
		return e.word(cell) && (e.cells < lonelyRows || 10*e.several >= e.cells)
	}
	e.several++
	for more := true; more; {
		var word string
		if i := strings.IndexByte(cell, sep); i >= 0 {
			word, cell = cell[:i], cell[i+1:]
		} else {
			word, more = cell, false
		}
		if word == "" || !e.word(word) {
			return false
		}
	}
	return e.cells < lonelyRows || 10*e.several >= e.cells
}

func (e *listEvidence) word(word string) bool {
	if e.items++; len(word) > maxWord || strings.TrimSpace(word) == "" {
		return false
	}
	for _, w := range e.words {
		if w == word {
			return true
		}
	}
	if len(e.words) == maxWords {
		return false
	}
	e.words = append(e.words, strings.Clone(word))
	return true
}

// plain reports whether the column is a list beyond doubt: the words come again and again.
func (e *listEvidence) plain(named bool) bool {
	if named {
		return e.several > 0
	}
	return e.several >= 3 && 10*e.several >= e.cells && e.items >= 2*len(e.words)
}
