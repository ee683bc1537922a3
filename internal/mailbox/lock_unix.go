//go:build unix

package mailbox

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// lockTime is how long a message may take to be written to an mbox.
const lockTime = 30 * time.Second

// quietSize is the size of a file while nobody writes to it: MTAs hold a lock of fcntl while they do.
func quietSize(ctx context.Context, f *os.File) (int64, error) {
	lock := syscall.Flock_t{Type: syscall.F_RDLCK, Whence: io.SeekStart}
	for until := time.Now().Add(lockTime); ; {
		err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EINTR) {
			break // a file system without locks
		}
		if time.Now().After(until) {
			return 0, errors.New("somebody has it locked")
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	info, err := f.Stat()
	lock.Type = syscall.F_UNLCK
	syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
