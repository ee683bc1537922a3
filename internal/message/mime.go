package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"path"
	"strconv"
	"strings"
)

// The encoder is plain on purpose: it composes each message afresh, from the top, so that anything faster can be compared
// with it byte for byte.

// part is a node of a message's MIME tree (RFC 2045, 2046): a leaf with a body, or a multipart with parts.
type part struct {
	kind    string   // "text/plain; charset=utf-8", "multipart/alternative"
	fields  string   // further header lines of the part, each ended
	pieces  []string // a text leaf: its lines end in \n, and each piece is encoded by itself
	base64  bool     // how
	encoded []byte   // any other leaf: base64, ready
	parts   []*part
}

// nest makes a node of several parts, and no node of a single one.
func nest(subtype string, parts ...*part) *part {
	if len(parts) == 1 {
		return parts[0]
	}
	return &part{kind: "multipart/" + subtype, parts: parts}
}

// append writes the part's header, the empty line and its body. seed makes the boundaries; leaf, when not nil, writes the
// bodies.
func (p *part) append(b []byte, seed string, leaf func(b []byte, p *part) []byte) []byte {
	if p.parts == nil {
		return p.appendLeaf(b, leaf)
	}
	mark := boundary(seed)
	b = append(b, "Content-Type: "+p.kind+";\r\n boundary=\""+mark+"\"\r\n"+p.fields+"\r\n"...)
	for i, sub := range p.parts {
		b = append(b, "--"+mark+"\r\n"...)
		b = sub.append(b, seed+"."+strconv.Itoa(i), leaf)
		b = append(b, "\r\n"...)
	}
	return append(b, "--"+mark+"--\r\n"...)
}

// boundary cannot occur in a body: quoted-printable writes = as =3D and base64 has no _.
func boundary(seed string) string {
	sum := sha256.Sum256([]byte(seed))
	return "=_" + hex.EncodeToString(sum[:14])
}

func (p *part) appendLeaf(b []byte, leaf func(b []byte, p *part) []byte) []byte {
	b = append(b, "Content-Type: "+p.kind+"\r\n"+p.fields...)
	if p.encoded != nil || p.base64 {
		b = append(b, "Content-Transfer-Encoding: base64\r\n\r\n"...)
	} else {
		b = append(b, "Content-Transfer-Encoding: quoted-printable\r\n\r\n"...)
	}
	switch {
	case leaf != nil:
		return leaf(b, p)
	case p.encoded != nil:
		return append(b, p.encoded...)
	case p.base64:
		return appendBase64(b, appendCRLF(nil, []byte(strings.Join(p.pieces, ""))))
	}
	return appendQP(b, p.pieces...)
}

// base64IsSmaller chooses the encoding of a part by what it says to everybody, so that all messages of a campaign have the
// same one.
func base64IsSmaller(constants []string) bool {
	n := 0
	for _, s := range constants {
		n += len(s) + strings.Count(s, "\n")
	}
	return base64Len(n) < len(appendQP(nil, constants...))
}

// Lines of an encoded body have 76 characters at most (RFC 2045 sections 6.7 and 6.8); 57 bytes are 76 in base64.
const (
	maxBodyLine = 76
	base64Chunk = 57
)

func appendBase64(b, data []byte) []byte {
	for len(data) > 0 {
		n := min(base64Chunk, len(data))
		b = base64.StdEncoding.AppendEncode(b, data[:n])
		b = append(b, "\r\n"...)
		data = data[n:]
	}
	return b
}

func base64Len(n int) int {
	return base64.StdEncoding.EncodedLen(n) + 2*((n+base64Chunk-1)/base64Chunk)
}

// appendQP writes text in quoted-printable (RFC 2045 section 6.7), each of its pieces by itself: a line that goes on in the
// next piece is broken softly between the two, so that a piece's bytes are the same whatever stands around it. Beyond
// what the RFC asks, a dot and a "From " that begin a line are escaped, for the hops that would stuff them.
func appendQP(b []byte, pieces ...string) []byte {
	open, white := false, false
	for _, p := range pieces {
		if p != "" {
			b = appendJoint(b, open, white, p[0])
			b, open, white = appendQPPiece(b, []byte(p))
		}
	}
	return b
}

// appendJoint is what stands between two pieces; next begins the second.
func appendJoint(b []byte, open, white bool, next byte) []byte {
	if open && (next != '\n' || white) {
		b = append(b, "=\r\n"...)
	}
	return b
}

// appendQPPiece encodes a piece line by line. open: its last line goes on; white: with white space as its last octet so
// far, which must not come to stand at the end of a line.
func appendQPPiece(b, text []byte) (out []byte, open, white bool) {
	for len(text) > 0 {
		line, rest, ended := bytes.Cut(text, newline)
		b = appendQPLine(b, line, !ended)
		if !ended {
			c := line[len(line)-1]
			return b, true, c == ' ' || c == '\t'
		}
		b = append(b, "\r\n"...)
		text = rest
	}
	return b, false, false
}

var newline = []byte{'\n'}

// appendQPLine encodes a line; open: it goes on behind this, so that nothing of it is its end.
func appendQPLine(b, line []byte, open bool) []byte {
	column := 0
	for i := 0; i < len(line); i++ {
		if n := plainRun(line[i:], maxBodyLine-1-column); column > 0 && n > 0 {
			b = append(b, line[i:i+n]...)
			column += n
			i += n - 1
			continue
		}
		last := !open && i == len(line)-1
		width := 1
		escape := qpEscapes(line[i], last, column == 0, line[i:])
		if escape {
			width = 3
		}
		// The = of a soft break needs a column too, except behind the line's last character.
		if room := maxBodyLine - column; width > room || width == room && !last {
			b = append(b, "=\r\n"...)
			column = 0
			escape = qpEscapes(line[i], last, true, line[i:])
			if width = 1; escape {
				width = 3
			}
		}
		if escape {
			b = append(b, '=', upperHex[line[i]>>4], upperHex[line[i]&15])
		} else {
			b = append(b, line[i])
		}
		column += width
	}
	return b
}

// plainRun is how many octets at the head of rest, but not its last one and at most room, need no thought where they do
// not begin a line.
func plainRun(rest []byte, room int) int {
	n, end := 0, min(room, len(rest)-1)
	for n < end {
		if !plainOctet[rest[n]] {
			break
		}
		n++
	}
	return n
}

var plainOctet = func() (plain [256]bool) {
	for c := range plain {
		plain[c] = c == '\t' || c >= ' ' && c <= '~' && c != '='
	}
	return plain
}()

const upperHex = "0123456789ABCDEF"

// qpEscapes: is the octet at the head of rest written as =XX?
func qpEscapes(c byte, last, atStart bool, rest []byte) bool {
	switch {
	case c == '=' || c > '~' || c < ' ' && c != '\t':
		return true
	case c == ' ' || c == '\t':
		return last // white space at the end of a line is lost on the way
	case atStart && c == '.':
		return true
	}
	return atStart && c == 'F' && bytes.HasPrefix(rest, []byte("From "))
}

// lines is text as it stands in a text part: valid UTF-8, lines ended by \n.
func lines(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// mediaTypes are the files that newsletters bring along; a table of our own, because the system's differs from host to
// host and a message must not.
var mediaTypes = map[string]string{
	".pdf": "application/pdf", ".zip": "application/zip", ".json": "application/json", ".ics": "text/calendar; charset=utf-8",
	".csv": "text/csv", ".txt": "text/plain", ".html": "text/html", ".xml": "application/xml",
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp", ".svg": "image/svg+xml",
	".mp3": "audio/mpeg", ".mp4": "video/mp4", ".epub": "application/epub+zip",
	".doc": "application/msword", ".xls": "application/vnd.ms-excel", ".ppt": "application/vnd.ms-powerpoint",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}

// filePart is an attachment, or with a content id a file shown within the HTML.
func filePart(name string, content []byte, contentID string) *part {
	kind := mediaTypes[strings.ToLower(path.Ext(name))]
	if kind == "" {
		kind = "application/octet-stream"
	}
	// Content-Disposition carries the name; name= of Content-Type is for programs that know neither it nor RFC 2231.
	// A second filename= beside filename*= would do the same and is a defect to strict readers.
	head := appendParameter([]byte(kind), "name", plainName(name))
	disposition, id := "attachment", ""
	if contentID != "" {
		disposition, id = "inline", "Content-ID: <"+contentID+">\r\n"
	}
	fields := appendParameter([]byte("Content-Disposition: "+disposition), "filename", name)
	return &part{kind: string(head), fields: string(fields) + "\r\n" + id, encoded: append([]byte{}, appendBase64(nil, content)...)}
}

// plainName is a file name in ASCII that keeps its ending.
func plainName(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r < 0x7f && (isAlphanumeric(byte(r)) || strings.ContainsRune("._- ", r)) {
			b.WriteRune(r)
		} else if !strings.HasSuffix(b.String(), "_") {
			b.WriteByte('_')
		}
	}
	ext := path.Ext(b.String())
	if stem := strings.Trim(strings.TrimSuffix(b.String(), ext), "_ "); stem == "" {
		return "file" + ext
	}
	s := b.String()
	return s[max(0, len(s)-60):]
}
