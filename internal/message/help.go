package message

import _ "embed"

// Help is the manual of writing campaigns, Markdown.
//
//go:embed help.md
var Help string
