package pace

import _ "embed"

// Help is the manual of pacing, Markdown.
//
//go:embed help.md
var Help string
