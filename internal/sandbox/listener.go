package sandbox

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// listener knows its connections, so that closing it can end them and wait for the goroutines that serve them: the
// servers of the libraries close theirs and do not wait.
type listener struct {
	net.Listener
	handlers sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[*conn]bool
}

func watch(ln net.Listener) *listener {
	return &listener{Listener: ln, open: make(map[*conn]bool)}
}

// Accept returns a connection whose Close says that its handler is done.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.Close()
		return nil, net.ErrClosed
	}
	wrapped := &conn{Conn: c, l: l}
	l.open[wrapped] = true
	l.handlers.Add(1)
	return wrapped, nil
}

// shut stops listening, cuts every connection and waits for the handlers.
func (l *listener) shut() {
	l.mu.Lock()
	l.closed = true
	for c := range l.open {
		c.Conn.Close()
	}
	l.mu.Unlock()
	l.Listener.Close()
	l.handlers.Wait()
}

// conn is a connection that can be told to end after the reply that is about to be written.
type conn struct {
	net.Conn
	l      *listener
	ending atomic.Bool
	once   sync.Once
}

// linger is how long the rest of the client's input is read after the last reply. Closing with input unread would reset
// the connection, and a reset can take the reply with it.
const linger = time.Second

// hangUp ends the connection after the next write.
func (c *conn) hangUp() { c.ending.Store(true) }

// cut ends the connection now.
func (c *conn) cut() { c.Conn.Close() }

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.ending.Load() {
		half.CloseWrite()
	}
	return n, err
}

func (c *conn) Read(b []byte) (int, error) {
	if c.ending.Load() {
		c.Conn.SetReadDeadline(time.Now().Add(linger))
		io.Copy(io.Discard, c.Conn)
		return 0, io.EOF
	}
	return c.Conn.Read(b)
}

// Close is called by the handler when it ends.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.l.mu.Lock()
		delete(c.l.open, c)
		c.l.mu.Unlock()
		c.l.handlers.Done()
	})
	return err
}
