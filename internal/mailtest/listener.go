package mailtest

import (
	"net"
	"sync"
)

// listener takes connections on the loopback interface and closes them with itself.
type listener struct {
	ln net.Listener

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
	group  sync.WaitGroup
}

// listen begins; serve has a connection to itself, which is closed when it returns.
func (l *listener) listen(serve func(net.Conn)) error {
	var err error
	if l.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	l.conns = map[net.Conn]bool{}
	l.group.Go(func() {
		for {
			conn, err := l.ln.Accept()
			if err != nil {
				return
			}
			l.group.Go(func() {
				defer conn.Close()
				if l.keep(conn) {
					defer l.drop(conn)
					serve(conn)
				}
			})
		}
	})
	return nil
}

// Addr is where it listens.
func (l *listener) Addr() string { return l.ln.Addr().String() }

// Port is where it listens on 127.0.0.1.
func (l *listener) Port() int { return l.ln.Addr().(*net.TCPAddr).Port }

// keep notes a connection that Close shall close too; false when it is closed already.
func (l *listener) keep(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.conns[conn] = true
	}
	return !l.closed
}

func (l *listener) drop(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, conn)
}

// Close ends it, connections and all.
func (l *listener) Close() {
	l.ln.Close()
	l.mu.Lock()
	l.closed = true
	for conn := range l.conns {
		conn.Close()
	}
	l.mu.Unlock()
	l.group.Wait()
}
