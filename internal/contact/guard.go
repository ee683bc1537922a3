package contact

import "strings"

// A spreadsheet runs a cell that begins with one of these as a formula, whoever wrote it
// (https://owasp.org/www-community/attacks/CSV_Injection).
const formulaStarts = "=+-@\t\r\n＝＋－＠"

// Guard makes a cell harmless in a spreadsheet by an apostrophe before it. Unguard takes it off again: a cell that looks
// guarded gets one more, so nothing is lost. Negative numbers stay as they are.
func Guard(cell string) string {
	if looksGuardable(cell) && !isNumber(cell) {
		return "'" + cell
	}
	return cell
}

// Unguard is the cell that Guard was given.
func Unguard(cell string) string {
	if len(cell) > 1 && cell[0] == '\'' && looksGuardable(cell[1:]) {
		return cell[1:]
	}
	return cell
}

// looksGuardable reports whether a cell begins a formula, behind any number of apostrophes.
func looksGuardable(cell string) bool {
	rest := strings.TrimLeft(cell, "'")
	for _, r := range rest {
		return strings.ContainsRune(formulaStarts, r)
	}
	return false
}
