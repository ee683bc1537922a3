package ingest

import (
	"archive/zip"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"mailer/internal/workbook"
)

// Signatures of the files that people take for a list.
const (
	zipMark = "PK\x03\x04"
	oleMark = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
)

const saveAs = `open it in the program that made it and save it as "Excel Workbook (.xlsx)" or "CSV UTF-8"`

// recogniseFormat says what the file is by its content: names lie. JSON is told from CSV later, when the charset is known.
func (s *source) recogniseFormat(override string) (string, error) {
	head := make([]byte, 512)
	n, err := s.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read %s: %w", s.name, err)
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte(zipMark)):
		if given(override) && override != FormatXLSX {
			return "", usageErrorf("%s is an Excel workbook or another archive, not %s", s.name, override)
		}
		return FormatXLSX, s.checkArchive()
	case bytes.HasPrefix(head, []byte(oleMark)):
		return "", s.oldWorkbook()
	case override == FormatXLSX:
		return "", usageErrorf("%s is no .xlsx workbook", s.name)
	case isMarkup(head):
		return "", usageErrorf("%s is a page of HTML or XML, whatever its name says: %s", s.name, saveAs)
	case given(override):
		return override, nil
	}
	return FormatCSV, nil
}

// isArchive reports whether the file is packed with zip, as workbooks are.
func (s *source) isArchive() bool {
	mark := make([]byte, len(zipMark))
	_, err := s.file.ReadAt(mark, 0)
	return err == nil && string(mark) == zipMark
}

// checkArchive tells a workbook from what else is packed with zip.
func (s *source) checkArchive() error {
	z, err := zip.NewReader(s.file, s.size)
	if err != nil {
		return usageErrorf("%s is a broken .xlsx workbook (%v): was it copied or downloaded whole?", s.name, err)
	}
	for _, f := range z.File {
		switch name := workbook.PartName(f.Name); {
		case name == "[content_types].xml":
			return nil
		case name == "xl/workbook.bin":
			return usageErrorf("%s is a binary workbook (.xlsb): %s", s.name, saveAs)
		case name == "content.xml", strings.HasPrefix(name, "index/") && strings.HasSuffix(name, ".iwa"):
			return usageErrorf("%s is a LibreOffice or Numbers document: %s", s.name, saveAs)
		}
	}
	return usageErrorf("%s is an archive, not a list: unpack it first", s.name)
}

// oldWorkbook tells the two files that begin with the mark of OLE apart. The name of the stream that holds an encrypted
// workbook stands in the file in UTF-16.
func (s *source) oldWorkbook() error {
	var name []byte
	for _, c := range "EncryptedPackage" {
		name = append(name, byte(c), 0)
	}
	r := bufio.NewReaderSize(io.NewSectionReader(s.file, 0, s.size), 1<<16)
	for {
		piece, err := r.Peek(1 << 16)
		if bytes.Contains(piece, name) {
			return usageErrorf("%s is encrypted: open it with its password, take the password off and save it as .xlsx or CSV", s.name)
		}
		if err != nil {
			return usageErrorf("%s is an old Excel workbook (.xls): %s", s.name, saveAs)
		}
		r.Discard(len(piece) - len(name))
	}
}

// isMarkup recognises the HTML and XML that web applications serve as ".xls".
func isMarkup(head []byte) bool {
	text := strings.ToLower(string(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n")))
	for _, start := range []string{"<!doctype", "<html", "<?xml", "<table", "<meta", "<head"} {
		if strings.HasPrefix(text, start) {
			return true
		}
	}
	return false
}

// beginsObject reports whether the text begins as JSON objects do, alone or in an array.
func (s *source) beginsObject() bool {
	text := s.start()
	if len(text) < 2 {
		return false
	}
	rest := bytes.TrimLeft(text[1:], jsonSpace)
	switch {
	case len(rest) == 0:
		return false
	case text[0] == '{':
		return rest[0] == '"' || rest[0] == '}'
	case text[0] == '[':
		return rest[0] == '{' || rest[0] == ']'
	}
	return false
}

// jsonSpace is what may stand between the parts of JSON (RFC 8259 section 2).
const jsonSpace = " \t\r\n"

// start is the beginning of the text, without white space before it. A fault of reading shows up again when its rows are read.
func (s *source) start() []byte {
	r, err := s.reader()
	if err != nil {
		return nil
	}
	head := make([]byte, 512)
	n, _ := io.ReadFull(r, head)
	return bytes.TrimLeft(head[:n], jsonSpace)
}
