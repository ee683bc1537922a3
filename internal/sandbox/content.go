package sandbox

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"net/mail"
	"regexp"
	"strings"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/charset"
)

// content is a message taken apart to be looked at.
type content struct {
	Fields      []field
	HTML, Text  string
	Attachments []attachment
	Problem     string // why it could not be read to the end
}

type field struct{ Name, Value string }

type attachment struct {
	Name, Type string
	Size       int64
}

// Limits: whoever sends to the sandbox sends to himself, but a broken message must not take the page down.
const (
	maxParts = 200
	maxShown = 4 << 20 // bytes of one part
)

// open takes a message apart. It shows what it can, also of a broken one.
func open(raw []byte) content {
	var c content
	entity, err := message.Read(bytes.NewReader(raw))
	if entity == nil {
		c.Problem = problem(err)
		return c
	}
	for f := entity.Header.Fields(); f.Next(); {
		c.Fields = append(c.Fields, field{f.Key(), decodeWords(f.Value())})
	}
	images, parts := map[string]string{}, 0
	err = entity.Walk(func(_ []int, part *message.Entity, err error) error {
		if parts++; parts > maxParts {
			return io.ErrShortBuffer
		}
		if err != nil && !message.IsUnknownCharset(err) {
			return err
		}
		return c.add(part, images)
	})
	if err != nil {
		c.Problem = problem(err)
	}
	c.HTML = embedImages(c.HTML, images)
	return c
}

func problem(err error) string {
	if err == nil {
		return "the message is empty"
	}
	return err.Error()
}

// add sorts one part: a body, an image that the HTML shows, an attachment.
func (c *content) add(part *message.Entity, images map[string]string) error {
	kind, params, _ := part.Header.ContentType()
	if strings.HasPrefix(kind, "multipart/") {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(part.Body, maxShown))
	if err != nil && len(body) == 0 {
		return err
	}
	disposition, names, _ := part.Header.ContentDisposition()
	id := strings.Trim(part.Header.Get("Content-Id"), "<> ")
	switch {
	case kind == "text/html" && disposition != "attachment" && c.HTML == "":
		c.HTML = string(body)
	case kind == "text/plain" && disposition != "attachment" && c.Text == "":
		c.Text = string(body)
	default:
		if id != "" && strings.HasPrefix(kind, "image/") {
			images[id] = "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(body)
		}
		name := names["filename"]
		if name == "" {
			name = params["name"]
		}
		c.Attachments = append(c.Attachments, attachment{decodeWords(name), kind, int64(len(body))})
	}
	return nil
}

// embedImages puts the images of the message in the place of their cid: links (RFC 2392): nothing is fetched.
func embedImages(html string, images map[string]string) string {
	if len(images) == 0 {
		return html
	}
	return regexp.MustCompile(`(?i)cid:[^"'\s)>]+`).ReplaceAllStringFunc(html, func(link string) string {
		if data, ok := images[link[len("cid:"):]]; ok {
			return data
		}
		return link
	})
}

// decodeWords decodes the encoded words of a header field; one that cannot be decoded stays as it is.
func decodeWords(s string) string {
	d := mime.WordDecoder{CharsetReader: charset.Reader}
	if text, err := d.DecodeHeader(s); err == nil {
		return text
	}
	return s
}

// headerOf reads the header of a message, as far as it goes.
func headerOf(raw []byte) mail.Header {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	return m.Header
}
