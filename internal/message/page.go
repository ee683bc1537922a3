package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
)

// Page is the HTML part as a browser shows it from a file: with its charset, and with the embedded pictures in it.
func (m Message) Page() string {
	page := m.HTML
	if strings.Contains(page, "cid:") {
		for id, data := range m.embedded() {
			for _, quote := range []string{`"`, `'`} {
				page = strings.ReplaceAll(page, quote+"cid:"+id+quote, quote+data+quote)
			}
		}
	}
	// Browsers look for a charset in the first 1024 bytes; mail programs have it from the header.
	if !strings.Contains(strings.ToLower(page[:min(len(page), 1024)]), "charset") {
		page = "<meta charset=\"utf-8\">\n" + page
	}
	return page
}

// embedded reads the pictures back from the message, as data: addresses by content id.
func (m Message) embedded() map[string]string {
	found := map[string]string{}
	raw, err := mail.ReadMessage(bytes.NewReader(m.Raw))
	if err != nil {
		return found
	}
	walkParts(raw.Header.Get("Content-Type"), raw.Body, found)
	return found
}

func walkParts(kind string, body io.Reader, found map[string]string) {
	_, params, err := mime.ParseMediaType(kind)
	if err != nil || params["boundary"] == "" {
		return
	}
	for r := multipart.NewReader(body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err != nil {
			return
		}
		id := strings.Trim(p.Header.Get("Content-Id"), "<>")
		kind := p.Header.Get("Content-Type")
		media, _, _ := mime.ParseMediaType(kind)
		if id == "" {
			walkParts(kind, p, found)
			continue
		}
		if data, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, p)); err == nil {
			found[id] = "data:" + media + ";base64," + base64.StdEncoding.EncodeToString(data)
		}
	}
}
