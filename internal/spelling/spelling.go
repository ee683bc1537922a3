// Package spelling finds the word that a slip of the finger was meant to be (a key of mailer.yaml, a field, a campaign), and writes
// numbers with their nouns.
package spelling

import (
	"fmt"
	"strings"
)

// Nearest is the known word that differs from word by the fewest edits, if by few enough to be a slip; else "". Case costs
// nothing, and the first of several equally near wins.
func Nearest(word string, known []string) string {
	best, least := "", len([]rune(word))/3+2
	for _, k := range known {
		d := distance([]rune(strings.ToLower(word)), []rune(strings.ToLower(k)))
		if d < least && d < max(len([]rune(word)), len([]rune(k))) {
			best, least = k, d
		}
	}
	return best
}

// distance counts the insertions, deletions, substitutions and swaps of neighbours that turn a into b.
func distance(a, b []rune) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := d[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

// Count is a number with its noun: 1 mail, 2 mails.
func Count[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
