//go:build !race

package mailtest

// Race says that the race detector is on, which makes the store about seven times slower.
const Race = false
