// Package templates holds the layouts that mailer brings along. A file of the same name in the folder templates/ of a
// workspace takes their place.
package templates

import "embed"

// FS has layouts/NAME.html and layouts/NAME.txt, and partials/NAME.html and .txt, which they include.
//
//go:embed layouts partials
var FS embed.FS
