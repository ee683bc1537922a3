package bounce

import (
	"bytes"
	"encoding/base64"
	"mime/quotedprintable"
	"regexp"
	"strings"
	"testing"
)

// fieldLine is a line that begins a header field.
var fieldLine = regexp.MustCompile(`(?m)^([A-Za-z][A-Za-z-]*):[ \t]?(.*)$`)

// inHeaders applies a change to the header of a mail and to those of its parts, with the fields of a report.
func inHeaders(raw []byte, change func(string) string) []byte {
	var out []string
	header := true
	for i, line := range strings.Split(string(raw), "\n") {
		delimiter := strings.HasPrefix(line, "--") && len(line) > 3 && !strings.HasPrefix(line, "-----") || strings.HasPrefix(line, "------------=_")
		switch {
		case delimiter:
			header = true
		case line == "" && i > 0:
			header = false
		case header:
			line = change(line)
		}
		out = append(out, line)
	}
	return []byte(strings.Join(out, "\n"))
}

// encodeTexts puts the text of a mail, or of the text parts of a multipart, into a transfer encoding.
func encodeTexts(raw []byte, name string, encode func(string) string) []byte {
	s := string(raw)
	part := func(p string) string {
		head, body, ok := strings.Cut(p, "\n\n")
		low := strings.ToLower(head)
		if !ok || !strings.Contains(low, "content-type: text/plain") && !strings.Contains(low, "content-type: text/html") || strings.Contains(low, "content-transfer-encoding") {
			return p
		}
		return head + "\nContent-Transfer-Encoding: " + name + "\n\n" + encode(body)
	}
	head, body, _ := strings.Cut(s, "\n\n")
	_, params := mediaType(parseEntity(head + "\n\n").header.get("content-type"))
	boundary := params["boundary"]
	if boundary == "" {
		return []byte(part(s))
	}
	parts := strings.Split(body, "--"+boundary+"\n")
	for i := 1; i < len(parts); i++ {
		end := ""
		if before, after, ok := strings.Cut(parts[i], "--"+boundary+"--"); ok {
			parts[i], end = before, "--"+boundary+"--"+after
		}
		if p := part(parts[i]); p != parts[i] {
			parts[i] = strings.TrimRight(p, "\n") + "\n\n"
		}
		parts[i] += end
	}
	return []byte(head + "\n\n" + strings.Join(parts, "--"+boundary+"\n"))
}

func quoted(s string) string {
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}

func inBase64(s string) string {
	enc := base64.StdEncoding.EncodeToString([]byte(s))
	var b strings.Builder
	for ; len(enc) > 76; enc = enc[76:] {
		b.WriteString(enc[:76] + "\n")
	}
	return b.String() + enc + "\n"
}

// fold breaks a field wherever RFC 5322 allows it.
func fold(line string) string {
	if !fieldLine.MatchString(line) || strings.Contains(line, `"`) {
		return line
	}
	name, value, _ := strings.Cut(line, ": ")
	return name + ": " + strings.Join(strings.Fields(value), "\n\t ")
}

var variations = map[string]func([]byte) []byte{
	"folded":           func(b []byte) []byte { return inHeaders(b, fold) },
	"names lower-case": func(b []byte) []byte { return renamed(b, strings.ToLower) },
	"names upper-case": func(b []byte) []byte { return renamed(b, strings.ToUpper) },
	"no space after the colon": func(b []byte) []byte {
		return inHeaders(b, func(l string) string { return fieldLine.ReplaceAllString(l, "$1:$2") })
	},
	"types upper-case": func(b []byte) []byte {
		return regexp.MustCompile(`(?i)(message/[a-z-]+|multipart/[a-z]+|text/[a-z]+|delivery-status;|report-type|boundary=|charset=)`).ReplaceAllFunc(b, bytes.ToUpper)
	},
	"quoted-printable":    func(b []byte) []byte { return encodeTexts(b, "quoted-printable", quoted) },
	"base64":              func(b []byte) []byte { return encodeTexts(b, "BASE64", inBase64) },
	"unknown charset":     func(b []byte) []byte { return charset(b, "x-no-such-charset") },
	"misspelt charset":    func(b []byte) []byte { return charset(b, "UFT-8") },
	"no closing boundary": func(b []byte) []byte { return regexp.MustCompile(`(?m)^--\S+--$\n?`).ReplaceAll(b, nil) },
	"boundary not named":  func(b []byte) []byte { return regexp.MustCompile(`;?\s*boundary="?[^"\n]*"?`).ReplaceAll(b, nil) },
	"boundary not quoted": func(b []byte) []byte {
		return regexp.MustCompile(`boundary="([^"]*)"`).ReplaceAll(b, []byte("boundary=$1"))
	},
	"blanks at line ends":  func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("  \n")) },
	"byte order mark":      func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) },
	"more fields in front": func(b []byte) []byte { return append([]byte(manyFields), b...) },
	"CRLF and CR mixed":    func(b []byte) []byte { return mixedEnds(b) },
}

const manyFields = "Received: from mx.example (mx.example [192.0.2.99])\n\tby mail.news.example with ESMTP id 5.1.1; Mon, 2 Nov 2026 10:00:00 +0900\nX-Spam-Status: No, score=5.1\n\ttests=UNKNOWN_USER\nX-Virus-Scanned: by a scanner\n"

func renamed(b []byte, change func(string) string) []byte {
	return inHeaders(b, func(l string) string {
		if name, value, ok := strings.Cut(l, ":"); ok && fieldLine.MatchString(l) {
			return change(name) + ":" + value
		}
		return l
	})
}

func charset(b []byte, label string) []byte {
	if regexp.MustCompile(`gb18030|gb2312|koi8-r`).Match(b) {
		return b // without its label that one cannot be read
	}
	return regexp.MustCompile(`(?i)charset="?[\w-]+"?`).ReplaceAll(b, []byte("charset="+label))
}

func mixedEnds(b []byte) []byte {
	var out []byte
	for i, line := range bytes.Split(b, []byte("\n")) {
		out = append(out, line...)
		out = append(out, []string{"\r\n", "\n", "\r\n"}[i%3]...)
	}
	return out
}

// TestVariationsOfAMailDoNotMatter: the forms in which gateways pass on one and the same mail.
func TestVariationsOfAMailDoNotMatter(t *testing.T) {
	for name, want := range fixtures {
		raw := fixture(t, name)
		for variation, change := range variations {
			if got := brief(Parse(change(raw))); got != want {
				t.Errorf("%s, %s:\n got %s\nwant %s", name, variation, got, want)
			}
		}
	}
}
