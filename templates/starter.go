package templates

import "embed"

// Starter is the workspace that `mailer init` writes. A name that begins with dot- is written with a dot.
//
//go:embed starter
var Starter embed.FS
