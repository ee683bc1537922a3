package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	html "html/template"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	text "text/template"

	"mailer/internal/mailtest"

	"github.com/wneessen/go-mail"
)

// The programs that a benchmark holds mailer against, or needs out of its own process. They are this test binary, called by
// another name: see TestMain.
var peers = map[string]func(args []string) error{"bench-go-mail": goMailLoop, "bench-sink": sinkProcess}

// sinkProcess is a sink of its own, so that neither a CPU profile nor a count of CPU seconds has it with the sender, on one
// core: on two its idle threads look for work, and took half as much CPU again. It prints its port; to each line that it reads
// it answers with how many messages it has taken and in how many nanoseconds, and begins to count anew. It ends with its input.
func sinkProcess([]string) error {
	runtime.GOMAXPROCS(1)
	s, err := mailtest.StartSink()
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println(s.Port())
	asked := bufio.NewScanner(os.Stdin)
	for asked.Scan() {
		fmt.Println(s.Taken(), s.Span().Nanoseconds())
		s.Reset()
	}
	return asked.Err()
}

// goMailLoop is what people write with go-mail: ADDRESS CONNECTIONS COUNT LIST TEMPLATES. For each row of the list it renders
// subject, text and page, composes and sends, over so many connections that stay open, and keeps no record of it.
func goMailLoop(args []string) error {
	if len(args) != 5 {
		return errors.New("usage: ADDRESS CONNECTIONS COUNT LIST TEMPLATES")
	}
	connections, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	letter, err := readGoMailLetter(args[4])
	if err != nil {
		return err
	}
	f, err := os.Open(args[3])
	if err != nil {
		return err
	}
	defer f.Close()
	list := csv.NewReader(f)
	names, err := list.Read()
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	rows := make(chan map[string]string, 4*connections)
	var sending sync.WaitGroup
	for range connections {
		sending.Go(func() {
			if err := letter.sendAll(ctx, args[0], rows); err != nil {
				cancel(err)
			}
		})
	}
	for range count {
		row, err := list.Read()
		if err != nil {
			cancel(err)
			break
		}
		fields := make(map[string]string, len(names))
		for i, name := range names {
			fields[name] = row[i]
		}
		select {
		case rows <- fields:
		case <-ctx.Done():
		}
	}
	close(rows)
	sending.Wait()
	return context.Cause(ctx)
}

// goMailLetter is a letter as the standard library's templates.
type goMailLetter struct {
	subject, text *text.Template
	page          *html.Template
}

func readGoMailLetter(dir string) (goMailLetter, error) {
	var l goMailLetter
	var errs [3]error
	l.subject, errs[0] = text.ParseFiles(filepath.Join(dir, "subject"))
	l.text, errs[1] = text.ParseFiles(filepath.Join(dir, "text"))
	l.page, errs[2] = html.ParseFiles(filepath.Join(dir, "html"))
	return l, errors.Join(errs[:]...)
}

// sendAll is one connection. NOOP and RSET are left out, as go-mail is fastest.
func (l goMailLetter) sendAll(ctx context.Context, addr string, rows <-chan map[string]string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	c, err := mail.NewClient(host, mail.WithPort(n), mail.WithTLSPolicy(mail.NoTLS), mail.WithHELO("bench.example.com"), mail.WithoutNoop(), mail.WithoutRset())
	if err != nil {
		return err
	}
	if err := c.DialWithContext(ctx); err != nil {
		return err
	}
	for row := range rows {
		m, err := l.compose(row)
		if err != nil {
			return err
		}
		if err := c.Send(m); err != nil {
			return err
		}
	}
	return c.Close()
}

func (l goMailLetter) compose(row map[string]string) (*mail.Msg, error) {
	var subject, plain, page strings.Builder
	err := errors.Join(l.subject.Execute(&subject, row), l.text.Execute(&plain, row), l.page.Execute(&page, row))
	if err != nil {
		return nil, err
	}
	m := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := errors.Join(m.From("Example News <news@example.com>"), m.To(row["email"])); err != nil {
		return nil, err
	}
	m.Subject(subject.String())
	m.SetDate()
	m.SetMessageID()
	m.SetGenHeader("List-Unsubscribe", "<mailto:stop@example.com>")
	m.SetBulk()
	m.SetBodyString(mail.TypeTextPlain, plain.String())
	m.AddAlternativeString(mail.TypeTextHTML, page.String())
	return m, nil
}
