package mailtest

import (
	"net"
	"sync"
	"testing"

	"github.com/emersion/go-milter"
)

// NewMilter starts a filter for Postfix or Sendmail that puts change over every body, and returns its address for smtpd_milters.
// It ends with the test.
func NewMilter(t testing.TB, change func(body []byte) []byte) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &milter.Server{Actions: milter.OptChangeBody | milter.OptAddHeader, NewMilter: func() milter.Milter { return &filter{change: change} }}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(ln) })
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return "inet:" + ln.Addr().String()
}

// filter is one session of a milter.
type filter struct {
	milter.NoOpMilter
	change func([]byte) []byte
	body   []byte
}

func (f *filter) BodyChunk(chunk []byte, _ *milter.Modifier) (milter.Response, error) {
	f.body = append(f.body, chunk...)
	return milter.RespContinue, nil
}

func (f *filter) Body(m *milter.Modifier) (milter.Response, error) {
	if err := m.ReplaceBody(f.change(f.body)); err != nil {
		return nil, err
	}
	if err := m.AddHeader("X-Filtered", "yes"); err != nil {
		return nil, err
	}
	return milter.RespAccept, nil
}
