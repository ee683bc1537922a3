// Package contact says what a person on a list is: an address and fields. Every column of an imported file is a field
// under its own name. A field prints exactly as its cell held it; its type only says how it compares.
package contact

import "time"

// Type says how the values of a field compare.
type Type string

// The types of fields.
const (
	Text    Type = "text"
	Number  Type = "number"
	Date    Type = "date"
	Boolean Type = "boolean"
	List    Type = "list"
)

// Types lists every type, for help texts and completion.
var Types = []Type{Text, Number, Date, Boolean, List}

// Valid reports whether t is a type.
func (t Type) Valid() bool {
	for _, known := range Types {
		if t == known {
			return true
		}
	}
	return false
}

// Field is one field of the workspace.
type Field struct {
	ID       int64
	Name     string
	Type     Type
	Role     Role
	Declared bool // the type was set by the user, not inferred from a file
}

// Path is the field's key in the stored JSON. It is made from the id, so that no field name ever reaches SQL text.
func (f Field) Path() string { return "f" + itoa(f.ID) }

// Contact is one person.
type Contact struct {
	ID      int64
	Address string
	Key     string
	Values  map[string]string // cell text by field name; an empty cell has no entry
	Created time.Time
	Updated time.Time
}
