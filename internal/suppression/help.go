package suppression

import _ "embed"

// Help is the manual of cleaning, Markdown.
//
//go:embed help.md
var Help string
