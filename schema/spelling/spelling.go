// Package spelling finds what a misspelled word was meant to be, for errors to suggest.
package spelling

import "strings"

// Nearest is the known word that a misspelled one is most likely meant to be, or
// "".
func Nearest(word string, known []string) string {
	best, distance := "", 0
	for _, k := range known {
		if flat(k) == flat(word) {
			return k
		}
		d := edits(flat(word), flat(k))
		if d <= max(1, min(len(word), len(k))/3) && (best == "" || d < distance) {
			best, distance = k, d
		}
	}
	return best
}

// flat is a word without what people write differently.
func flat(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(s))
}

// edits is the number of letters to insert, remove, replace or swap with their
// neighbour to make b of a (optimal string alignment).
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(last[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
