package sandbox_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"mailer/internal/sandbox"
)

// BenchmarkTake measures how many messages of 14 KB the sandbox takes, from four connections with pipelined transactions.
func BenchmarkTake(b *testing.B) {
	s, err := sandbox.Start(context.Background(), sandbox.Options{Scenario: "perfect"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	body := letter + strings.Repeat("This line of a newsletter is about as long as lines of newsletters are wont to be.\r\n", 165)
	b.SetBytes(int64(len(body)))
	b.ResetTimer()
	const workers = 4
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			c, err := net.Dial("tcp", s.SMTPAddr())
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			skip := func(lines int) {
				for range lines {
					if _, err := r.ReadString('\n'); err != nil {
						b.Error(err)
						return
					}
				}
			}
			skip(1)
			fmt.Fprintf(c, "HELO me\r\n")
			skip(1)
			for i := w; i < b.N; i += workers {
				fmt.Fprintf(c, "MAIL FROM:<%s>\r\nRCPT TO:<u%d@example.jp>\r\nDATA\r\n", sender, i)
				skip(3)
				fmt.Fprintf(c, "%s.\r\n", body)
				skip(1)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	if n := len(s.Messages()); n != b.N {
		b.Errorf("%d messages, want %d", n, b.N)
	}
}
