// Package templates holds the layouts that mailer brings along. A file of the same name in the folder templates/ of a
// workspace takes their place.
package templates

import "embed"

// FS has layouts/NAME.html and layouts/NAME.txt.
//
//go:embed layouts
var FS embed.FS
