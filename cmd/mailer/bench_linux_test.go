package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailer/internal/mailtest"

	"golang.org/x/text/encoding/japanese"
)

// The benchmarks of this file time whole processes, as a user waits for them, beside a peer in the same run: on a machine that
// others use too, the ratios are what can be believed.

// benchRows is the size of the large list; MAILER_BENCH_ROWS makes it smaller for a quick look.
func benchRows(b *testing.B) int {
	b.Helper()
	text := os.Getenv("MAILER_BENCH_ROWS")
	if text == "" {
		return 1_000_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 {
		b.Fatalf("MAILER_BENCH_ROWS=%s: a number from 1000 on", text)
	}
	return n
}

// process is what a command took.
type process struct {
	wall time.Duration
	cpu  time.Duration
	peak float64 // MB
}

// timed runs a command to its end.
func timed(b *testing.B, dir, name string, args ...string) process {
	b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	return timedCmd(b, cmd)
}

func timedCmd(b *testing.B, cmd *exec.Cmd) process {
	b.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out.String())
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return process{time.Since(began), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), float64(usage.Maxrss) / 1024}
}

// benchList writes a list of n rows and eight columns, its addresses in order or in none.
func benchList(b *testing.B, path string, n int, cp932, shuffled bool) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var enc io.Writer = f
	if cp932 {
		enc = japanese.ShiftJIS.NewEncoder().Writer(f)
	}
	w := bufio.NewWriterSize(enc, 1<<20)
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	fmt.Fprintf(w, "email,姓,名,都道府県,郵便番号,登録日,購入回数,会社名\r\n")
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if shuffled {
		r.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	for _, i := range order {
		fmt.Fprintf(w, "user%07d@%s,%s,%s,%s,%07d,20%02d-%02d-%02d,%d,株式会社サンプル%d\r\n", i,
			[]string{"example.jp", "example.com", "mail.example.org", "docomo.ne.jp", "example.net"}[i%5],
			pick("佐藤", "鈴木", "高橋", "田中", "伊藤"), pick("太郎", "花子", "一郎", "美咲", "健"), pick("東京都", "大阪府", "北海道", "神奈川県", "福岡県"),
			r.IntN(10_000_000), 10+r.IntN(16), 1+r.IntN(12), 1+r.IntN(28), r.IntN(200), i%1000)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil { // the first reader must not pay for it
		b.Fatal(err)
	}
}

func benchWorkspace(b *testing.B, yaml string) string {
	b.Helper()
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mailer.yaml"), []byte(yaml), 0o600); err != nil {
		b.Fatal(err)
	}
	return dir
}

const benchSender = "sender: {from: News <news@example.com>, organization: Example, postal_address: Tokyo, unsubscribe_mailto: stop@example.com}\n"

// BenchmarkImport imports a list into an empty store and then once more, beside `sqlite3 .import` of the same rows in UTF-8 into a
// table with a unique index on the address. Besides the large list one of a tenth and one of a hundredth tell how cost and memory grow.
func BenchmarkImport(b *testing.B) {
	sqlite3, err := exec.LookPath("sqlite3")
	if err != nil {
		b.Skip("sqlite3 is not here: apt-get install sqlite3")
	}
	bin, rows := binary(b), benchRows(b)
	for _, c := range []struct {
		name            string
		cp932, shuffled bool
	}{{"utf-8", false, false}, {"cp932", true, false}, {"utf-8-shuffled", false, true}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			list, plain := filepath.Join(dir, "list.csv"), filepath.Join(dir, "list.csv")
			benchList(b, list, rows, c.cp932, c.shuffled)
			if c.cp932 {
				plain = filepath.Join(dir, "plain.csv")
				benchList(b, plain, rows, false, c.shuffled)
			}
			small, tiny := filepath.Join(dir, "small.csv"), filepath.Join(dir, "tiny.csv")
			benchList(b, small, rows/10, c.cp932, c.shuffled)
			benchList(b, tiny, rows/100, c.cp932, c.shuffled)
			var peer, first, again, tenth, hundredth process
			for b.Loop() {
				peer = timed(b, dir, sqlite3, filepath.Join(b.TempDir(), "peer.db"),
					"CREATE TABLE t (a TEXT, b TEXT, c TEXT, d TEXT, e TEXT, f TEXT, g TEXT, h TEXT); CREATE UNIQUE INDEX u ON t (a);", ".mode csv", ".import --skip 1 "+plain+" t")
				ws := benchWorkspace(b, benchSender)
				first = timed(b, ws, bin, "import", list)
				again = timed(b, ws, bin, "import", list)
				tenth = timed(b, benchWorkspace(b, benchSender), bin, "import", small)
				hundredth = timed(b, benchWorkspace(b, benchSender), bin, "import", tiny)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(first.wall.Seconds()*1e6/float64(rows), "µs/row")
			b.ReportMetric(first.wall.Seconds()/peer.wall.Seconds(), "x-sqlite3")
			b.ReportMetric(first.cpu.Seconds()/peer.cpu.Seconds(), "x-sqlite3-cpu")
			b.ReportMetric(again.wall.Seconds()/first.wall.Seconds(), "x-again")
			b.ReportMetric(first.wall.Seconds()/tenth.wall.Seconds()/10, "x-row-of-tenth")
			b.ReportMetric(first.wall.Seconds()/hundredth.wall.Seconds()/100, "x-row-of-hundredth")
			b.ReportMetric(first.peak, "MB")
			b.ReportMetric(first.peak/tenth.peak, "x-MB-of-tenth")
		})
	}
}

// BenchmarkSendBesideImport is the rate of a running send while the large list is imported, as a share of its rate alone, and how
// long `campaigns pause` takes in the middle of both, until the send has ended.
func BenchmarkSendBesideImport(b *testing.B) {
	bin, rows := binary(b), benchRows(b)
	sink := mailtest.NewSink(b)
	ws := benchWorkspace(b, fmt.Sprintf(benchSender+"relays: {main: {host: 127.0.0.1, port: %d, tls: none, connections: 10}}\n", sink.Port()))
	if err := os.MkdirAll(filepath.Join(ws, "campaigns"), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(ws, "campaigns", "news.md"), []byte("---\nsubject: News for {{.姓}}\n---\nHello {{.姓}}.\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	audience, list := filepath.Join(dir, "audience.csv"), filepath.Join(dir, "list.csv")
	benchList(b, audience, min(rows, 400_000), false, false)
	benchList(b, list, rows, false, true)
	timed(b, ws, bin, "import", audience, "--list", "readers")
	for b.Loop() {
		send := exec.Command(bin, "send", "news", "--list", "readers", "--yes")
		send.Dir = ws
		var out bytes.Buffer
		send.Stdout, send.Stderr = &out, &out
		if err := send.Start(); err != nil {
			b.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { send.Wait(); close(ended) }()
		rate := func(of time.Duration) float64 {
			before, began := sink.Taken(), time.Now()
			select {
			case <-ended:
				b.Fatalf("the send ended too early\n%s", out.String())
			case <-time.After(of):
			}
			return float64(sink.Taken()-before) / time.Since(began).Seconds()
		}
		for sink.Taken() == 0 {
			rate(100 * time.Millisecond)
		}
		var alone, beside float64
		const rounds, window = 3, 4 * time.Second
		for range rounds {
			alone += rate(window)
			imp := exec.Command(bin, "import", list)
			imp.Dir = ws
			if err := imp.Start(); err != nil {
				b.Fatal(err)
			}
			rate(time.Second) // the file is checked first
			beside += rate(window)
			imp.Process.Signal(os.Interrupt)
			if imp.Wait() == nil {
				b.Fatal("the import ended before it was measured")
			}
		}
		imp := exec.Command(bin, "import", list)
		imp.Dir = ws
		if err := imp.Start(); err != nil {
			b.Fatal(err)
		}
		rate(2 * time.Second)
		began := time.Now()
		timed(b, ws, bin, "campaigns", "pause", "news")
		<-ended
		pause := time.Since(began)
		imp.Process.Signal(os.Interrupt)
		imp.Wait()
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(alone/rounds, "msg/s-alone")
		b.ReportMetric(beside/alone, "x-beside")
		b.ReportMetric(pause.Seconds(), "s-pause")
	}
}

// BenchmarkSegmentsCount counts three conditions over the large list, beside SQL by hand on the same file in the sqlite3 shell.
func BenchmarkSegmentsCount(b *testing.B) {
	sqlite3, err := exec.LookPath("sqlite3")
	if err != nil {
		b.Skip("sqlite3 is not here: apt-get install sqlite3")
	}
	bin, rows := binary(b), benchRows(b)
	ws := benchWorkspace(b, benchSender)
	list := filepath.Join(b.TempDir(), "list.csv")
	benchList(b, list, rows, false, false)
	timed(b, ws, bin, "import", list)
	for _, c := range []struct{ name, where, sql string }{
		{"fields", `都道府県 == "東京都" and 購入回数 >= 100 and 登録日 >= "2020-01-01"`,
			"json_extract(fields, '$.f3') = '東京都' AND json_extract(fields, '$.f6') >= 100 AND json_extract(fields, '$.f5') >= '2020-01-01'"},
		{"any", `会社名 contains "777" or 郵便番号 startsWith "100" or domain == "docomo.ne.jp"`,
			"instr(json_extract(fields, '$.f7'), '777') OR json_extract(fields, '$.f4') LIKE '100%' OR key LIKE '%@docomo.ne.jp'"},
	} {
		b.Run(c.name, func(b *testing.B) {
			var ours, theirs time.Duration
			for b.Loop() {
				ours += timed(b, ws, bin, "segments", "count", "--where", c.where).wall
				theirs += timed(b, ws, sqlite3, "mailer.db", "SELECT count(*) FROM contacts WHERE "+c.sql).wall
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(ours.Seconds()/theirs.Seconds(), "x-sqlite3")
			b.ReportMetric(ours.Seconds()/float64(b.N), "s")
		})
	}
}
