package mailtest

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/smtp"
	"strings"
	"testing"
	"time"
)

const letter = "Subject: x\r\n\r\n.dot\r\nhi\r\n"

// dial connects, writes everything at once and returns what the server says until it closes or falls silent after QUIT.
func talk(t *testing.T, srv *SMTPServer, input string) string {
	t.Helper()
	c, err := net.Dial("tcp", srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	banner, _ := r.ReadString('\n')
	io.WriteString(c, input)
	rest, _ := io.ReadAll(r)
	return banner + string(rest)
}

// send sends one message with the standard library's client.
func send(srv *SMTPServer, auth smtp.Auth, to ...string) error {
	return smtp.SendMail(srv.Addr, auth, "b+1@example.com", to, []byte(letter))
}

func TestAcceptsByDefault(t *testing.T) {
	srv := NewSMTP(t, Script{})
	if err := send(srv, nil, "a@example.jp"); err != nil {
		t.Fatal(err)
	}
	got := srv.Accepted()
	if len(got) != 1 || got[0].From != "b+1@example.com" || got[0].Rcpts[0].Address != "a@example.jp" || string(got[0].Data) != letter {
		t.Fatalf("transactions: %+v", got)
	}
	if v := srv.Violations(); len(v) != 0 {
		t.Errorf("violations: %v", v)
	}
	if !strings.Contains(srv.Transcript(), "C1> RCPT TO:<a@example.jp>\nS1< 250 2.1.5 recipient ok") {
		t.Errorf("transcript:\n%s", srv.Transcript())
	}
	if !strings.HasPrefix(string(srv.Input(1)), "EHLO localhost\r\n") {
		t.Errorf("input: %q", srv.Input(1))
	}
}

func TestReplies(t *testing.T) {
	for _, test := range []struct {
		name   string
		script Script
		input  string
		want   string // what the server says after EHLO, the codes and hyphens only
	}{
		{"by address", Script{Replies: map[string]string{"RCPT gone@x.example": "550 5.1.1 no"}}, "MAIL FROM:<>\r\nRCPT TO:<gone@x.example>\r\nDATA\r\nQUIT\r\n", "250 550 554 221"},
		{"several lines", Script{Replies: map[string]string{"MAIL": "451-a\nb\n451 c"}}, "MAIL FROM:<>\r\nQUIT\r\n", "451- 451- 451 221"},
		{"421 closes", Script{Replies: map[string]string{"RCPT": "421 4.3.2 bye"}}, "MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\nQUIT\r\n", "250 421"},
		{"354 without a recipient", Script{Replies: map[string]string{"RCPT": "550 no", "DATA": "354 go"}}, "MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\n.\r\nQUIT\r\n", "250 550 354 554 221"},
		{"dot refused", Script{Replies: map[string]string{". a@x.example": "554 5.7.1 spam"}}, "MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n", "250 250 354 554 221"},
		{"order", Script{}, "RCPT TO:<a@x>\r\nDATA\r\nMAIL FROM:a@b\r\nRSET\r\nXYZ\r\nQUIT\r\n", "503 503 501 250 500 221"},
		{"silent and closed", Script{Reply: func(c Command) *Reply {
			if c.Verb == "." {
				return &Reply{Silent: true, Close: true}
			}
			return nil
		}}, "MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n", "250 250 354"},
		{"cut in the reply", Script{Reply: func(c Command) *Reply {
			if c.Verb == "MAIL" {
				return &Reply{Part: 2, Close: true}
			}
			return nil
		}}, "MAIL FROM:<>\r\n", "25"},
		{"cut after bytes", Script{CutAfter: map[int]int{1: len("EHLO me\r\nMAIL FROM:<>\r\nRC")}}, "MAIL FROM:<>\r\nRCPT TO:<a@x>\r\n", "250"},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := NewSMTP(t, test.script)
			input := "EHLO me\r\n" + test.input
			_, said, _ := strings.Cut(talk(t, srv, input), "250 DSN\r\n")
			var codes []string
			for line := range strings.SplitSeq(strings.TrimRight(said, "\r\n"), "\r\n") {
				code, _, _ := strings.Cut(line, " ")
				if i := strings.IndexByte(code, '-'); i >= 0 {
					code = code[:i+1]
				}
				codes = append(codes, code)
			}
			if got := strings.Join(codes, " "); got != test.want {
				t.Errorf("codes %q, want %q in:\n%s", got, test.want, srv.Transcript())
			}
		})
	}
}

// Wherever the connection is cut, the server has read exactly that much and has taken the message only with its final dot.
func TestCutAtEveryByte(t *testing.T) {
	input := "EHLO me\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n" + letter + ".\r\n"
	dot := len(input)
	input += "QUIT\r\n"
	for n := range len(input) {
		srv := NewSMTP(t, Script{CutAfter: map[int]int{0: n}})
		talk(t, srv, input)
		srv.Close()
		if got := string(srv.Input(1)); got != input[:n] {
			t.Fatalf("cut after %d: read %q", n, got)
		}
		if taken := len(srv.Accepted()) == 1; taken != (n >= dot) {
			t.Errorf("cut after %d: message taken %t", n, taken)
		}
	}
}

func TestOneGroupAMessage(t *testing.T) {
	srv := NewSMTP(t, Script{})
	ask := connect(t, srv)
	ask("", 1)
	ask("EHLO me\r\n", 6)
	ask("MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n", 3)
	ask(letter+".\r\nMAIL FROM:<a@x>\r\nRCPT TO:<\"c..d\"@x> NOTIFY=NEVER\r\nDATA\r\n", 4)
	ask(letter+".\r\nQUIT\r\n", 2)
	got := srv.Accepted()
	if len(got) != 2 || got[1].Rcpts[0] != (Rcpt{`"c..d"@x`, "NOTIFY=NEVER", "250 2.1.5 recipient ok"}) {
		t.Errorf("transactions: %+v", got)
	}
	if v := srv.Violations(); len(v) != 0 {
		t.Errorf("violations: %v", v)
	}
}

// connect returns a function that writes to the server and reads that many lines of its replies.
func connect(t *testing.T, srv *SMTPServer) func(input string, lines int) {
	t.Helper()
	c, err := net.Dial("tcp", srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	r := bufio.NewReader(c)
	return func(input string, lines int) {
		t.Helper()
		io.WriteString(c, input)
		for range lines {
			if _, err := r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestDeafServerAnswersOneOfAGroup(t *testing.T) {
	srv := NewSMTP(t, Script{Deaf: true})
	ask := connect(t, srv)
	ask("", 1)
	ask("EHLO me\r\n", 6)
	ask("MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\n", 1)
	ask("RCPT TO:<a@x>\r\n", 1)
	if tx := srv.Transactions()[0]; len(tx.Rcpts) != 1 || tx.DataReply != "" {
		t.Errorf("it heard %+v", tx)
	}
}

func TestViolations(t *testing.T) {
	for name, input := range map[string]string{
		"after EHLO": "EHLO me\r\nMAIL FROM:<>\r\nQUIT\r\n",
		"bare LF":    "EHLO me\n",
		"after DATA": "MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n",
	} {
		srv := NewSMTP(t, Script{CutAfter: map[int]int{1: len(input)}})
		talk(t, srv, input)
		srv.Close()
		if len(srv.Violations()) == 0 {
			t.Errorf("%s: not noticed", name)
		}
	}
}

func TestLogins(t *testing.T) {
	srv := NewSMTP(t, Script{Users: map[string]string{"news": "secret"}, NeedAuth: true})
	for _, test := range []struct {
		name string
		auth smtp.Auth
		good bool
	}{
		{"plain", smtp.PlainAuth("", "news", "secret", "127.0.0.1"), true},
		{"wrong", smtp.PlainAuth("", "news", "guess", "127.0.0.1"), false},
		{"cram", smtp.CRAMMD5Auth("news", "secret"), true},
		{"cram wrong", smtp.CRAMMD5Auth("nobody", ""), false},
		{"none", nil, false},
	} {
		if err := send(srv, test.auth, "a@x.example"); (err == nil) != test.good {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if user := srv.Accepted()[0].User; user != "news" {
		t.Errorf("user %q", user)
	}
}

func TestTLS(t *testing.T) {
	ca := NewCA(t)
	for _, test := range []struct {
		name   string
		config *tls.Config
		trust  *CA
		want   string
	}{
		{"good", ca.Config(t), ca, ""},
		{"expired", ca.Expired(t), ca, "expired"},
		{"wrong name", ca.WrongName(t), ca, "doesn't contain any IP SANs"},
		{"unknown", ca.Config(t), NewCA(t), "unknown authority"},
	} {
		for _, implicit := range []bool{false, true} {
			srv := NewSMTP(t, Script{TLS: test.config, Implicit: implicit})
			err := greetTLS(srv, &tls.Config{RootCAs: test.trust.Pool, ServerName: "127.0.0.1"}, implicit)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%s, implicit %t: %v, want %q", test.name, implicit, err, test.want)
			}
		}
	}
}

func greetTLS(srv *SMTPServer, config *tls.Config, implicit bool) error {
	if implicit {
		c, err := tls.Dial("tcp", srv.Addr, config)
		if err != nil {
			return err
		}
		return c.Close()
	}
	c, err := smtp.Dial(srv.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StartTLS(config); err != nil {
		return err
	}
	if err := c.Mail("a@x"); err != nil {
		return err
	}
	return c.Quit()
}

func TestWaitAndDelay(t *testing.T) {
	gate := make(chan struct{})
	srv := NewSMTP(t, Script{RTT: time.Millisecond, Reply: func(c Command) *Reply {
		switch c.Verb {
		case "MAIL":
			return &Reply{Wait: gate}
		case "RCPT":
			return &Reply{Delay: time.Millisecond}
		}
		return nil
	}})
	done := make(chan error, 1)
	go func() { done <- send(srv, nil, "a@x.example") }()
	for !strings.Contains(srv.Transcript(), "MAIL") {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-done:
		t.Fatalf("answered before the gate opened: %v", err)
	default:
	}
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestCloseEndsAHangingClient(t *testing.T) {
	srv := NewSMTP(t, Script{Reply: func(c Command) *Reply { return &Reply{Silent: c.Verb == "MAIL"} }})
	done := make(chan error, 1)
	go func() { done <- send(srv, nil, "a@x.example") }()
	for !strings.Contains(srv.Transcript(), "MAIL") {
		time.Sleep(time.Millisecond)
	}
	srv.Close()
	srv.Close()
	if err := <-done; err == nil {
		t.Error("sent to a silent server")
	}
}

// Wherever the replies are cut, the client has heard exactly that much.
func TestRepliesCutAtEveryByte(t *testing.T) {
	input := "EHLO me\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n" + letter + ".\r\nQUIT\r\n"
	whole := talk(t, NewSMTP(t, Script{Keywords: []string{}}), input)
	for n := range len(whole) {
		srv := NewSMTP(t, Script{Keywords: []string{}, CutReplies: map[int]int{1: n}})
		c, err := net.Dial("tcp", srv.Addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, input)
		heard, _ := io.ReadAll(c) // an error too: what was not read when the server closed resets the connection
		c.Close()
		if got := string(heard); len(got) > n || got != whole[:len(got)] {
			t.Errorf("cut after %d: heard %q", n, got)
		}
	}
}

func TestDripAndExtra(t *testing.T) {
	srv := NewSMTP(t, Script{Keywords: []string{}, Reply: func(c Command) *Reply {
		return &Reply{Drip: c.Verb == "MAIL", Extra: map[string]string{"RCPT": "250 and more"}[c.Verb]}
	}})
	got := talk(t, srv, "EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@x>\r\nQUIT\r\n")
	if want := "250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n250 and more\r\n221 2.0.0 bye\r\n"; !strings.HasSuffix(got, want) {
		t.Errorf("heard %q", got)
	}
}
