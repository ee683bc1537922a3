package main

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailer/internal/config"
	"mailer/internal/mailtest"
	"mailer/internal/send"
	"mailer/internal/store"
)

// The benchmarks of this file hold a whole `mailer send` (read, check, render, intent and outcome on disk) against its peers:
// smtp-source, which renders nothing and records nothing, and a loop over go-mail, which renders the same and records
// nothing. They take turns within one run, and what is reported is the median of the rounds' ratios. x-others is the share
// of the machine that others took meanwhile: where that is not small, believe the ratios of CPU alone.

const benchRounds = 3

// upTo is the size of a benchmark: MAILER_BENCH_ROWS makes it smaller.
func upTo(b *testing.B, rows int) int { return min(rows, benchRows(b)) }

// letterFields are what a letter is filled with, beside the address.
var letterFields = []string{"first_name", "last_name", "city", "points", "id", "code"}

// letters is a workspace with an audience for a newsletter of two parts, six fields and twenty links: 14 KB.
type letters struct {
	b         *testing.B
	bin, dir  string
	list      string // the audience's file
	rows      int
	campaigns int
}

// newLetters imports n contacts. The relay of the workspace is at port.
func newLetters(b *testing.B, n, port int, yaml string) *letters {
	b.Helper()
	l := &letters{b: b, bin: binary(b), rows: n}
	l.dir = benchWorkspace(b, benchSender+fmt.Sprintf("relays: {main: {host: 127.0.0.1, port: %d, tls: none, connections: 10}}\n", port)+
		"bounces: {return_path: \"bounce+{token}@example.com\"}\n"+yaml)
	if err := os.MkdirAll(filepath.Join(l.dir, "campaigns"), 0o700); err != nil {
		b.Fatal(err)
	}
	l.list = filepath.Join(l.dir, "list.csv")
	f, err := os.Create(l.list)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	fmt.Fprintf(w, "email,%s\n", strings.Join(letterFields, ","))
	for i := range n {
		fmt.Fprintf(w, "reader%07d@example.jp,Hanako,Yamada,Yokohama,%d,%07d,XMAS%04d\n", i, i%500, i, i%10_000)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	timed(b, l.dir, l.bin, "import", l.list, "--list", "readers", "--consent-source", "bench")
	return l
}

// campaign writes a new one: an id is sent once.
func (l *letters) campaign() string {
	l.b.Helper()
	l.campaigns++
	id := fmt.Sprintf("news-%d", l.campaigns)
	var body strings.Builder
	body.WriteString("---\nsubject: News for {{.first_name}}\nlayout: newsletter\n---\n# Hello {{.first_name}} {{.last_name}}\n\nYou live in {{.city}} and have {{.points}} points.\n\n")
	for i := range 20 {
		fmt.Fprintf(&body, "## Story %d\n\nWords for the readers of this letter.\n\n[Read more](https://www.example.com/story/%d?c={{.id}})\n\n", i, i)
	}
	body.WriteString("Your code is {{.code}}.\n")
	if err := os.WriteFile(filepath.Join(l.dir, "campaigns", id+".md"), []byte(body.String()), 0o600); err != nil {
		l.b.Fatal(err)
	}
	return id
}

// send sends a new campaign to everybody.
func (l *letters) send(flags ...string) process {
	l.b.Helper()
	return timed(l.b, l.dir, l.bin, append([]string{"send", l.campaign(), "--list", "readers", "--yes"}, flags...)...)
}

// preview prints a part of the letter for the first contact of a workspace.
func (l *letters) preview(part string) []byte {
	l.b.Helper()
	cmd := exec.Command(l.bin, "preview", l.campaign(), "--part", part)
	cmd.Dir = l.dir
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	if err := cmd.Run(); err != nil {
		l.b.Fatalf("preview: %v\n%s", err, told.String())
	}
	return out.Bytes()
}

// templates writes the letter for the loop over go-mail: what mailer rendered, with the fields open again.
func (l *letters) templates() string {
	l.b.Helper()
	var open []string
	row := "reader@example.jp"
	for _, f := range letterFields {
		mark := "X" + strings.ReplaceAll(f, "_", "") + "X"
		open = append(open, mark, "{{."+f+"}}")
		row += "," + mark
	}
	one := &letters{b: l.b, bin: l.bin, dir: benchWorkspace(l.b, benchSender+"relays: {main: {host: 127.0.0.1, tls: none}}\n")}
	if err := os.MkdirAll(filepath.Join(one.dir, "campaigns"), 0o700); err != nil {
		l.b.Fatal(err)
	}
	list := filepath.Join(one.dir, "list.csv")
	if err := os.WriteFile(list, []byte("email,"+strings.Join(letterFields, ",")+"\n"+row+"\n"), 0o600); err != nil {
		l.b.Fatal(err)
	}
	timed(l.b, one.dir, one.bin, "import", list)
	dir := l.b.TempDir()
	for name, content := range map[string]string{"subject": "News for {{.first_name}}", "text": string(one.preview("text")), "html": string(one.preview("html"))} {
		content = strings.NewReplacer(open...).Replace(content)
		if name != "subject" && strings.Count(content, "{{.id}}") != 20 {
			l.b.Fatalf("the %s part has not its twenty links:\n%s", name, content)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			l.b.Fatal(err)
		}
	}
	l.sameSize(dir)
	return dir
}

// sameSize insists that the loop over go-mail sends about as many bytes as mailer does.
func (l *letters) sameSize(templates string) {
	l.b.Helper()
	letter, err := readGoMailLetter(templates)
	if err != nil {
		l.b.Fatal(err)
	}
	m, err := letter.compose(map[string]string{"email": "reader0000000@example.jp", "first_name": "Hanako", "last_name": "Yamada",
		"city": "Yokohama", "points": "0", "id": "0000000", "code": "XMAS0000"})
	if err != nil {
		l.b.Fatal(err)
	}
	theirs, err := m.WriteTo(io.Discard)
	if err != nil {
		l.b.Fatal(err)
	}
	if ours := len(l.preview("raw")); float64(theirs) < 0.9*float64(ours) || float64(theirs) > 1.1*float64(ours) {
		l.b.Fatalf("go-mail sends %d bytes, mailer %d", theirs, ours)
	}
}

// peer runs this test binary as one of the peers.
func peer(b *testing.B, name string, args ...string) *exec.Cmd {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Args[0] = name
	return cmd
}

// smtpSource is Postfix's load generator: it sends the same bytes again and again. Without PIPELINING, as it is.
func smtpSource(b *testing.B, port, connections, n, size int) *exec.Cmd {
	b.Helper()
	path := mailtest.Need(b, "smtp-source", "apt-get install postfix")
	return exec.Command(path, "-s", strconv.Itoa(connections), "-m", strconv.Itoa(n), "-l", strconv.Itoa(size), "-d",
		"-f", "news@example.com", "-t", "reader@example.jp", fmt.Sprintf("127.0.0.1:%d", port))
}

// goMail is the loop over go-mail.
func goMail(b *testing.B, l *letters, port, connections, n int, templates string) *exec.Cmd {
	b.Helper()
	return peer(b, "bench-go-mail", fmt.Sprintf("127.0.0.1:%d", port), strconv.Itoa(connections), strconv.Itoa(n), l.list, templates)
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// metrics gathers what the rounds measured, by unit.
type metrics map[string][]float64

func (m metrics) add(unit string, v float64) { m[unit] = append(m[unit], v) }

func (m metrics) report(b *testing.B) {
	b.ReportMetric(0, "ns/op")
	for unit, all := range m {
		b.ReportMetric(median(all), unit)
	}
}

// BenchmarkRoundTrip is how many messages one connection sends in the time that a byte needs to the relay and back. Start-up is
// left out: what counts is the time from the first message that the sink took to the last one.
func BenchmarkRoundTrip(b *testing.B) {
	for _, roundTrip := range []time.Duration{40 * time.Millisecond, 100 * time.Millisecond} {
		b.Run(roundTrip.String(), func(b *testing.B) {
			const messages, peers = 80, 12 // the peers need four round trips for each, and are as slow with every one
			sink := newSink(b)
			port := mailtest.NewDistance(b, fmt.Sprintf("127.0.0.1:%d", sink.port), roundTrip).Port()
			l := newLetters(b, messages, port, "")
			templates, size := l.templates(), len(l.preview("raw"))
			all := metrics{}
			a := func(n int, unit string) {
				all.add(unit, float64(n-1)*roundTrip.Seconds()/sink.counted(b, n).Seconds())
			}
			for b.Loop() {
				for range benchRounds {
					timedCmd(b, goMail(b, l, port, 1, peers, templates))
					a(peers, "msg/rtt-go-mail")
					l.send("--concurrency", "1")
					a(messages, "msg/rtt")
					timedCmd(b, smtpSource(b, port, 1, peers, size))
					a(peers, "msg/rtt-smtp-source")
				}
			}
			all.report(b)
		})
	}
}

// BenchmarkSendWhole is a campaign from its first command to its summary, over ten connections to a sink that takes
// everything. smtp-source sends as many messages of the same size; the loop over go-mail, which keeps its rate however long it
// runs, a fifth of them.
func BenchmarkSendWhole(b *testing.B) {
	rows := upTo(b, 50_000)
	sink := newSink(b)
	l := newLetters(b, rows, sink.port, "")
	templates, size := l.templates(), len(l.preview("raw"))
	all := metrics{}
	for b.Loop() {
		for range benchRounds {
			others := sink.others(b)
			measure := func(name string, n int, run func() process) (rate, cpu float64) {
				p := run()
				sink.counted(b, n)
				rate, cpu = float64(n)/p.wall.Seconds(), p.cpu.Seconds()*1e6/float64(n)
				all.add("msg/s"+name, rate)
				all.add("cpu-µs/msg"+name, cpu)
				all.add("MB"+name, p.peak)
				return rate, cpu
			}
			source, sourceCPU := measure("-smtp-source", rows, func() process { return timedCmd(b, smtpSource(b, sink.port, 10, rows, size)) })
			loop, loopCPU := measure("-go-mail", rows/5, func() process { return timedCmd(b, goMail(b, l, sink.port, 10, rows/5, templates)) })
			ours, cpu := measure("", rows, func() process { return l.send() })
			all.add("x-smtp-source", ours/source)
			all.add("x-go-mail", ours/loop)
			all.add("x-smtp-source-cpu", cpu/sourceCPU)
			all.add("x-go-mail-cpu", cpu/loopCPU)
			all.add("x-others", others())
		}
	}
	all.add("B/letter", float64(size))
	all.report(b)
}

// BenchmarkSendSigned is the same with RSA-2048, beside bare signatures on all cores: CPU of the whole command a message by
// CPU of a signature, and messages a second by signatures a second.
func BenchmarkSendSigned(b *testing.B) {
	rows := upTo(b, 20_000)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	sink := newSink(b)
	l := newLetters(b, rows, sink.port, "dkim:\n  - {domain: example.com, selector: s2026, key_file: s2026.pem}\n")
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "s2026.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		b.Fatal(err)
	}
	if raw := l.preview("raw"); !strings.Contains(string(raw), "DKIM-Signature:") {
		b.Fatalf("not signed:\n%s", raw)
	}
	all := metrics{}
	for b.Loop() {
		before, beforeCPU := bareSignatures(b, key, 2*time.Second)
		for range benchRounds {
			others := sink.others(b)
			p := l.send()
			sink.counted(b, rows)
			after, afterCPU := bareSignatures(b, key, 2*time.Second)
			rate, cpu := float64(rows)/p.wall.Seconds(), p.cpu.Seconds()/float64(rows)
			all.add("msg/s", rate)
			all.add("bare/s", (before+after)/2)
			all.add("x-bare", rate/((before+after)/2))
			all.add("x-bare-cpu", cpu/((beforeCPU+afterCPU)/2))
			all.add("bare-cpu-µs", afterCPU*1e6)
			all.add("MB", p.peak)
			all.add("x-others", others())
			before, beforeCPU = after, afterCPU
		}
	}
	all.report(b)
}

// bareSignatures makes signatures on all cores for a while: how many a second, and the CPU seconds of one.
func bareSignatures(b *testing.B, key *rsa.PrivateKey, during time.Duration) (rate, cpu float64) {
	b.Helper()
	hash := sha256.Sum256([]byte("a letter"))
	var n atomic.Int64
	var all sync.WaitGroup
	began, used := time.Now(), ownCPU(b)
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for time.Since(began) < during {
				if _, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, hash[:]); err != nil {
					b.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	all.Wait()
	return float64(n.Load()) / time.Since(began).Seconds(), (ownCPU(b) - used).Seconds() / float64(n.Load())
}

// ownCPU is what this process has used so far.
func ownCPU(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSendMillion is what ten times the audience costs: memory, and time and CPU a message. It takes minutes, so it wants to
// be named (BENCH=SendMillion) or made smaller (MAILER_BENCH_ROWS).
func BenchmarkSendMillion(b *testing.B) {
	if named := flag.Lookup("test.bench").Value.String(); !strings.Contains(named, "Million") && os.Getenv("MAILER_BENCH_ROWS") == "" {
		b.Skip("takes minutes: make bench BENCH=SendMillion, or set MAILER_BENCH_ROWS")
	}
	rows := benchRows(b)
	sink := newSink(b)
	small, large := newLetters(b, rows/10, sink.port, ""), newLetters(b, rows, sink.port, "")
	measure := func(l *letters) process {
		p := l.send()
		sink.counted(b, l.rows)
		return p
	}
	for b.Loop() {
		others := sink.others(b)
		before, million, after := measure(small), measure(large), measure(small)
		tenth := process{(before.wall + after.wall) / 2, (before.cpu + after.cpu) / 2, (before.peak + after.peak) / 2}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(rows)/million.wall.Seconds(), "msg/s")
		b.ReportMetric(million.cpu.Seconds()*1e6/float64(rows), "cpu-µs/msg")
		b.ReportMetric(million.wall.Seconds()/tenth.wall.Seconds()/10, "x-msg-of-tenth")
		b.ReportMetric(million.cpu.Seconds()/tenth.cpu.Seconds()/10, "x-cpu-of-tenth")
		b.ReportMetric(million.peak, "MB")
		b.ReportMetric(others(), "x-others")
		b.ReportMetric(million.peak/tenth.peak, "x-MB-of-tenth")
	}
}

// BenchmarkSendInProcess is made for a profile: `make profile`. check is the look at every message before a send, run the send
// itself, both in this process, with the sink in another.
func BenchmarkSendInProcess(b *testing.B) {
	rows := upTo(b, 20_000)
	sink := newSink(b)
	l := newLetters(b, rows, sink.port, "")
	ws, err := config.Load(l.dir, os.LookupEnv)
	if err != nil {
		b.Fatal(err)
	}
	st, err := store.Open(b.Context(), ws.Database(), store.Options{Now: time.Now, Gone: send.Gone})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	s := &send.Sender{Workspace: ws, Store: st, Now: time.Now}
	each := func(b *testing.B, do func(*send.Plan)) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		used, began := ownCPU(b), time.Now()
		n := 0
		for ; b.Loop(); n += rows {
			plan, err := s.Prepare(b.Context(), send.Request{Campaign: l.campaign(), Lists: []string{"readers"}})
			if err != nil {
				b.Fatal(err)
			}
			do(plan)
		}
		took, cpu := time.Since(began), ownCPU(b)-used
		runtime.ReadMemStats(&after)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(n)/took.Seconds(), "msg/s")
		b.ReportMetric(cpu.Seconds()*1e6/float64(n), "cpu-µs/msg")
		b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(n), "allocs/msg")
		b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(n), "B/msg")
	}
	b.Run("check", func(b *testing.B) {
		each(b, func(p *send.Plan) {
			findings, err := s.Check(b.Context(), p, send.Looking{})
			if err != nil {
				b.Fatal(err)
			}
			for _, f := range findings {
				if f.Level == "error" {
					b.Fatal(f)
				}
			}
		})
	})
	b.Run("run", func(b *testing.B) {
		each(b, func(p *send.Plan) {
			var counts send.Counts
			sum, err := s.Run(b.Context(), b.Context(), p, &counts)
			if err != nil || sum.Accepted != int64(rows) {
				b.Fatalf("%+v, %v", sum, err)
			}
			sink.counted(b, rows)
		})
	})
}

// sink is a sink in its own process, which ends with the benchmark.
type sink struct {
	port int
	pid  int
	in   io.Writer
	out  io.Reader
}

func newSink(b *testing.B) *sink {
	b.Helper()
	cmd := peer(b, "bench-sink")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); cmd.Wait() })
	s := &sink{pid: cmd.Process.Pid, in: in, out: out}
	if _, err := fmt.Fscanln(out, &s.port); err != nil {
		b.Fatal(err)
	}
	return s
}

// counted insists that n messages came since it was last asked, and returns the time from the first to the last of them.
func (s *sink) counted(b *testing.B, n int) time.Duration {
	b.Helper()
	var got int
	var span time.Duration
	fmt.Fprintln(s.in, "count")
	if _, err := fmt.Fscanln(s.out, &got, &span); err != nil {
		b.Fatal(err)
	}
	if got != n {
		b.Fatalf("%d of %d messages came", got, n)
	}
	return span
}

// others begins to watch what processes that are not ours take of the machine's cores, and returns what tells the share: a
// ratio that was measured beside a busy neighbour is not to be believed.
func (s *sink) others(b *testing.B) (share func() float64) {
	b.Helper()
	busy, ours, began := s.busy(b)
	return func() float64 {
		b.Helper()
		nowBusy, nowOurs, now := s.busy(b)
		return max(0, (nowBusy-busy)-(nowOurs-ours)) / now.Sub(began).Seconds() / float64(runtime.NumCPU())
	}
}

// busy is the CPU seconds of all processes, and of the benchmark, its children that have ended, and the sink. Where the kernel
// counts what the host took away (stolen), that is a neighbour's too.
func (s *sink) busy(b *testing.B) (all, ours float64, now time.Time) {
	b.Helper()
	const ticks = 100 // a second, on every Linux that Go runs on
	seconds := func(path string, after string, fields ...int) (sum float64) {
		text, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		_, line, _ = strings.Cut(line, after)
		words := strings.Fields(line)
		for _, i := range fields {
			n, err := strconv.ParseFloat(words[i], 64)
			if err != nil {
				b.Fatalf("%s: %v", path, err)
			}
			sum += n / ticks
		}
		return sum
	}
	all = seconds("/proc/stat", "cpu ", 0, 1, 2, 5, 6, 7)             // user, nice, system, irq, softirq, steal
	ours = seconds(fmt.Sprintf("/proc/%d/stat", s.pid), ") ", 11, 12) // utime, stime
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		ours += time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	}
	return all, ours, time.Now()
}

// BenchmarkSustained is an hour's rate kept up through a relay 100 ms away, over ten connections, with every limit on: 40,000, 50,000 and
// 60,000 messages an hour, for MAILER_BENCH_SUSTAINED each (ten minutes say what an hour will bring; half a minute otherwise). It
// tells what share of the limit was used.
func BenchmarkSustained(b *testing.B) {
	span := 30 * time.Second
	if text := os.Getenv("MAILER_BENCH_SUSTAINED"); text != "" {
		var err error
		if span, err = time.ParseDuration(text); err != nil {
			b.Fatal(err)
		}
	}
	for _, hourly := range []int{40_000, 50_000, 60_000} {
		b.Run(fmt.Sprint(hourly), func(b *testing.B) {
			messages := int(float64(hourly) * span.Hours())
			sink := newSink(b)
			port := mailtest.NewDistance(b, fmt.Sprintf("127.0.0.1:%d", sink.port), 100*time.Millisecond).Port()
			l := newLetters(b, messages, port, fmt.Sprintf("rates: [%d/h]\ndomains: {example.jp: {rates: [100/s]}}\n", hourly))
			for b.Loop() {
				p := l.send()
				took := sink.counted(b, messages)
				b.ReportMetric(float64(messages-1)/took.Seconds()*3600, "msg/h")
				b.ReportMetric(float64(messages-1)/took.Seconds()*3600/float64(hourly), "of-limit")
				b.ReportMetric(p.peak, "MB")
				b.ReportMetric(100*p.cpu.Seconds()/p.wall.Seconds(), "cpu-%")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
