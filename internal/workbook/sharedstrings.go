package workbook

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// A workbook keeps its texts in a table beside the sheets, and cells hold numbers of lines in it. The table of a million
// rows is some hundred megabytes, so beyond spillSize it lies in a file without a name, in blocks; a cell asks for the
// texts nearly in their order.
const (
	spillSize   = 8 << 20
	blockTexts  = 64
	cacheBlocks = 1 << 10
)

// sharedTexts is the table of texts of a workbook.
type sharedTexts struct {
	dir   string
	heap  []byte // what is not in the file yet
	file  *os.File
	temp  string
	size  int64   // of the file
	begin []int64 // of each block
	count int

	cache [cacheBlocks]struct {
		block int // plus 1
		texts []string
	}
}

func (t *sharedTexts) close() {
	if t.file == nil {
		return
	}
	t.file.Close()
	if t.temp != "" {
		os.Remove(t.temp)
	}
}

// nameless makes a file for the process alone. temp is its name where it could not be taken at once: Windows removes no
// open file.
func nameless(dir string) (f *os.File, temp string, err error) {
	if f, err = os.CreateTemp(dir, ".import-*.tmp"); err != nil { // mode 0600
		return nil, "", err
	}
	if err := os.Remove(f.Name()); err != nil {
		temp = f.Name()
	}
	return f, temp, nil
}

func (t *sharedTexts) add(text []byte) error {
	if t.count%blockTexts == 0 {
		if len(t.heap) > spillSize {
			if err := t.spill(); err != nil {
				return err
			}
		}
		t.begin = append(t.begin, t.size+int64(len(t.heap)))
	}
	t.heap = binary.AppendUvarint(t.heap, uint64(len(text)))
	t.heap = append(t.heap, text...)
	t.count++
	return nil
}

func (t *sharedTexts) spill() error {
	if t.file == nil {
		f, temp, err := nameless(t.dir)
		if err != nil {
			return err
		}
		t.file, t.temp = f, temp
	}
	n, err := t.file.WriteAt(t.heap, t.size)
	t.size += int64(n)
	t.heap = t.heap[:0]
	return err
}

// at is the text with a number.
func (t *sharedTexts) at(n int) (string, error) {
	if n < 0 || n >= t.count {
		return "", fmt.Errorf("the workbook has no text number %d: it is damaged", n)
	}
	block := n / blockTexts
	slot := &t.cache[block%cacheBlocks]
	if slot.block != block+1 {
		texts, err := t.load(block, slot.texts[:0])
		if err != nil {
			return "", err
		}
		slot.block, slot.texts = block+1, texts
	}
	return slot.texts[n%blockTexts], nil
}

func (t *sharedTexts) load(block int, into []string) ([]string, error) {
	begin, end := t.begin[block], t.size+int64(len(t.heap))
	if block+1 < len(t.begin) {
		end = t.begin[block+1]
	}
	raw := make([]byte, end-begin)
	if begin >= t.size {
		copy(raw, t.heap[begin-t.size:])
	} else if _, err := t.file.ReadAt(raw, begin); err != nil {
		return nil, fmt.Errorf("read the texts of the workbook: %w", err)
	}
	all := string(raw)
	for at := 0; at < len(raw); {
		size, n := binary.Uvarint(raw[at:])
		at += n
		into = append(into, all[at:at+int(size)])
		at += int(size)
	}
	return into, nil
}

// read fills the table from its part of the workbook.
func (t *sharedTexts) read(x *markup, alive func(n int64) error) error {
	var text []byte
	for {
		tok, err := x.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if tok != startTag || string(x.name) != "si" {
			continue
		}
		if text, err = richText(x, text[:0]); err != nil {
			return err
		}
		if err := alive(int64(t.count)); err != nil {
			return err
		}
		if err := t.add(text); err != nil {
			return err
		}
	}
}

// richText is the text within the element that was just opened: its runs joined, without the furigana of rPh.
func richText(x *markup, dst []byte) ([]byte, error) {
	depth, phonetic, inText := x.depth, 0, false
	for {
		tok, err := x.next()
		if err != nil {
			return dst, err
		}
		switch {
		case tok == endTag && x.depth < depth:
			return unescapeControls(dst), nil
		case tok == endTag && x.depth < phonetic:
			phonetic = 0
		case tok == endTag:
			inText = false
		case tok == startTag && string(x.name) == "rPh" && phonetic == 0:
			phonetic = x.depth
		case tok == startTag:
			inText = string(x.name) == "t" && phonetic == 0
		case inText:
			if dst, err = appendText(dst, x.text, x.literal); err != nil {
				return dst, err
			}
		}
		if len(dst) > maxToken {
			return dst, errXMLSize
		}
	}
}

// unescapeControls resolves _xHHHH_, by which a workbook writes what XML cannot hold (ECMA-376 part 1, ST_Xstring).
func unescapeControls(text []byte) []byte {
	out := text[:0]
	for i := 0; i < len(text); i++ {
		if text[i] != '_' || i+7 > len(text) || text[i+1] != 'x' || text[i+6] != '_' {
			out = append(out, text[i])
			continue
		}
		var n rune
		ok := true
		for _, c := range text[i+2 : i+6] {
			switch {
			case '0' <= c && c <= '9':
				n = n<<4 | rune(c-'0')
			case 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
				n = n<<4 | rune(c|0x20-'a'+10)
			default:
				ok = false
			}
		}
		if !ok || n >= 0x80 { // Excel writes controls and the underscore so
			out = append(out, text[i])
			continue
		}
		out = append(out, byte(n))
		i += 6
	}
	return out
}
