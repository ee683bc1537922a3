// Package examples holds two whole workspaces, scheduler files and two more lists, inside the binary too: mailer demo runs
// from any folder.
//
// The people are invented and their domains reserved for examples (RFC 2606, and those of JPRS), but for some addresses at
// carriers, which cannot be shown otherwise; no example ever mails anybody. In lists/ some local parts hold a word for
// mailer sandbox, which makes the person behave so: unknown.sato@example.jp.
package examples

import "embed"

// FS holds all of them.
//
//go:embed japanese-shop english-newsletter cron lists
var FS embed.FS
