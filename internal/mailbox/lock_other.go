//go:build !unix

package mailbox

import (
	"context"
	"os"
)

// quietSize is the size of a file.
func quietSize(_ context.Context, f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
