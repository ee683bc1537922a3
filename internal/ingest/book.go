package ingest

import (
	"archive/zip"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"mailer/internal/spelling"
)

// Bounds of a workbook. A sheet of 1,048,576 rows and 50 columns unpacks to about two gigabytes, a twentieth of that packed.
const (
	maxPart      = 8 << 30 // of a sheet or the table of texts, unpacked
	maxSmallPart = 64 << 20
	maxRatio     = 250 // unpacked to packed, beyond freePart
	freePart     = 64 << 20
	maxMerges    = 100_000
)

// book is an Excel workbook (.xlsx, ECMA-376), of which one sheet is read.
type book struct {
	name    string
	alive   func(ctx context.Context, row int64) error
	parts   map[string]*zip.File // by partName
	texts   sharedTexts
	formats []*numFormat // by style; nil: General
	epoch   bool         // days count from 1904
	sheets  []sheet
	sheet   *sheet
	also    []string // other sheets that hold rows
	shape   sheetShape
}

// sheet is one sheet of a workbook.
type sheet struct {
	name   string
	part   string
	hidden bool
}

// sheetShape is what must be known of a sheet before its rows are read.
type sheetShape struct {
	rows       int64 // that hold something
	width      int   // columns up to the last one that holds something
	hidden     int   // rows with something in them
	hiddenCols bool
	merges     []merge // that go over several rows, by their first
}

// merge is a range of merged cells. Its first cell holds the value.
type merge struct{ top, bottom, column int }

// partName is the name of a part for comparison: names differ in case only by mistake (ECMA-376 part 2, section 6.2.2.3),
// and some programs write backslashes.
func partName(name string) string {
	return strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(name, `\`, "/"), "/"))
}

// openBook reads all of a workbook but the rows, and chooses its sheet.
func openBook(ctx context.Context, s *source, want string) (b *book, err error) {
	z, err := zip.NewReader(s.file, s.size)
	if err != nil {
		return nil, usageErrorf("%s is a broken workbook: %v", s.name, err)
	}
	b = &book{name: s.name, alive: s.alive, parts: map[string]*zip.File{}, texts: sharedTexts{dir: s.dir}}
	for _, f := range z.File {
		if b.parts[partName(f.Name)] == nil {
			b.parts[partName(f.Name)] = f
		}
	}
	if err = b.open(ctx, want); err == nil {
		s.hints, s.count = newHints(b.shape.width), b.shape.rows
		return b, nil
	}
	b.close()
	var wrong *UsageError
	if errors.As(err, &wrong) || ctx.Err() != nil {
		return nil, err
	}
	return nil, usageErrorf("%s cannot be read as a workbook: %v", s.name, err)
}

func (b *book) close() { b.texts.close() }

func (b *book) open(ctx context.Context, want string) error {
	main, err := b.mainPart()
	if err != nil {
		return err
	}
	related, err := b.relations(main)
	if err != nil {
		return err
	}
	if err := b.readWorkbook(main, related); err != nil {
		return err
	}
	for _, r := range related {
		switch r.kind() {
		case "styles":
			err = b.readStyles(r.Target)
		case "sharedStrings":
			err = b.readTexts(ctx, r.Target)
		}
		if err != nil {
			return err
		}
	}
	if err := b.choose(ctx, want); err != nil {
		return err
	}
	b.shape, err = b.survey(ctx, *b.sheet)
	return err
}

// relation is one entry of a .rels part.
type relation struct {
	ID     string `xml:"Id,attr"`
	Type   string `xml:"Type,attr"`
	Target string `xml:"Target,attr"`
}

// kind is the last word of the type: strict and transitional workbooks differ in what stands before it.
func (r relation) kind() string { return path.Base(r.Type) }

func (b *book) mainPart() (string, error) {
	related, err := b.relations("")
	if err != nil {
		return "", err
	}
	for _, r := range related {
		if r.kind() == "officeDocument" {
			return r.Target, nil
		}
	}
	return "", errors.New("it names no workbook within")
}

// relations are the parts that a part refers to, their targets as names within the archive.
func (b *book) relations(of string) ([]relation, error) {
	dir, base := path.Split(of)
	var rels struct {
		Relationship []relation
	}
	if err := b.decode(dir+"_rels/"+base+".rels", &rels); err != nil {
		return nil, err
	}
	for i, r := range rels.Relationship {
		if rels.Relationship[i].Target = partName(r.Target); !strings.HasPrefix(r.Target, "/") {
			rels.Relationship[i].Target = partName(path.Join(dir, r.Target))
		}
	}
	return rels.Relationship, nil
}

// decode reads a small part.
func (b *book) decode(name string, v any) error {
	r, err := b.part(name, maxSmallPart)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := xml.NewDecoder(r).Decode(v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// part opens a part of the archive, bounded.
func (b *book) part(name string, limit int64) (io.ReadCloser, error) {
	f := b.parts[partName(name)]
	if f == nil {
		return nil, fmt.Errorf("its part %s is missing", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &bounded{ReadCloser: r, name: name, limit: limit, packed: int64(f.CompressedSize64)}, nil
}

// bounded ends a part that unpacks to more than any workbook needs: a zip bomb.
type bounded struct {
	io.ReadCloser
	name          string
	limit, packed int64
	done          int64
}

func (r *bounded) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if r.done += int64(n); r.done > r.limit || r.done > freePart && r.done > maxRatio*r.packed {
		return n, usageErrorf("%s unpacks to more than a workbook can need (%d MB out of %d kB): it is refused. If the list is real, save it as CSV",
			r.name, r.done>>20, r.packed>>10)
	}
	return n, err
}

// stream opens a large part as XML.
func (b *book) stream(name string) (*markup, io.Closer, error) {
	r, err := b.part(name, maxPart)
	if err != nil {
		return nil, nil, err
	}
	return newMarkup(transform.NewReader(r, unicode.BOMOverride(unicode.UTF8.NewDecoder()))), r, nil
}

func (b *book) readWorkbook(main string, related []relation) error {
	var w struct {
		Properties struct {
			Date1904 string `xml:"date1904,attr"`
		} `xml:"workbookPr"`
		Sheets []struct {
			Name  string     `xml:"name,attr"`
			State string     `xml:"state,attr"`
			Attrs []xml.Attr `xml:",any,attr"`
		} `xml:"sheets>sheet"`
	}
	if err := b.decode(main, &w); err != nil {
		return err
	}
	b.epoch = w.Properties.Date1904 == "1" || w.Properties.Date1904 == "true"
	for _, s := range w.Sheets {
		for _, a := range s.Attrs {
			i := slices.IndexFunc(related, func(r relation) bool { return r.ID == a.Value && a.Name.Local == "id" && r.kind() == "worksheet" })
			if i >= 0 {
				b.sheets = append(b.sheets, sheet{s.Name, related[i].Target, s.State != "" && s.State != "visible"})
			}
		}
	}
	if len(b.sheets) == 0 {
		return errors.New("it has no sheet of cells")
	}
	return nil
}

func (b *book) readStyles(name string) error {
	var w struct {
		Formats []struct {
			ID   int    `xml:"numFmtId,attr"`
			Code string `xml:"formatCode,attr"`
		} `xml:"numFmts>numFmt"`
		Cells []struct {
			Format int `xml:"numFmtId,attr"`
		} `xml:"cellXfs>xf"`
	}
	if err := b.decode(name, &w); err != nil {
		return err
	}
	codes, compiled := map[int]string{}, map[string]*numFormat{"": nil, "General": nil, "@": nil}
	for id, code := range builtinFormats {
		codes[id] = code
	}
	for _, f := range w.Formats {
		codes[f.ID] = f.Code
	}
	for _, xf := range w.Cells {
		code := codes[xf.Format]
		if _, known := compiled[code]; !known {
			compiled[code] = parseFormat(code)
		}
		b.formats = append(b.formats, compiled[code])
	}
	return nil
}

func (b *book) readTexts(ctx context.Context, name string) error {
	x, c, err := b.stream(name)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := b.texts.read(x, func(n int64) error { return b.alive(ctx, n) }); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// choose takes the sheet that --sheet names, else the first visible one that has rows.
func (b *book) choose(ctx context.Context, want string) error {
	if given(want) {
		return b.chooseNamed(want)
	}
	for i := range b.sheets {
		s := &b.sheets[i]
		if s.hidden {
			continue
		}
		has, err := b.hasRows(ctx, *s)
		if err != nil {
			return err
		}
		switch {
		case has && b.sheet == nil:
			b.sheet = s
		case has:
			b.also = append(b.also, s.name)
		}
	}
	if b.sheet == nil {
		return usageErrorf("%s has no visible sheet with anything in it; its sheets are %s", b.name, b.sheetNames())
	}
	return nil
}

func (b *book) chooseNamed(want string) error {
	var names []string
	for i, s := range b.sheets {
		if s.name == want {
			b.sheet = &b.sheets[i]
			return nil
		}
		names = append(names, s.name)
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(want, "#")); err == nil && 0 < n && n <= len(b.sheets) {
		b.sheet = &b.sheets[n-1]
		return nil
	}
	for i, s := range b.sheets {
		if strings.EqualFold(s.name, want) {
			b.sheet = &b.sheets[i]
			return nil
		}
	}
	near := ""
	if n := spelling.Nearest(want, names); n != "" {
		near = fmt.Sprintf(" (did you mean %q?)", n)
	}
	return usageErrorf("%s has no sheet %q%s; its sheets are %s", b.name, want, near, b.sheetNames())
}

func (b *book) sheetNames() string {
	var names []string
	for i, s := range b.sheets {
		name := fmt.Sprintf("%d %q", i+1, s.name)
		if s.hidden {
			name += " (hidden)"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// notes says what a person should know of the sheet.
func (b *book) notes() []string {
	var notes []string
	if len(b.also) > 0 {
		var quoted []string
		for _, name := range b.also {
			quoted = append(quoted, strconv.Quote(name))
		}
		notes = append(notes, fmt.Sprintf("sheet %q is imported; there is something in %s too (--sheet NAME)", b.sheet.name, strings.Join(quoted, ", ")))
	}
	if n := b.shape.hidden; n > 0 {
		notes = append(notes, fmt.Sprintf("%d of its rows are hidden (filtered) in Excel and imported like the others", n))
	}
	if b.shape.hiddenCols {
		notes = append(notes, "some of its columns are hidden in Excel and imported like the others")
	}
	if n := len(b.shape.merges); n > 0 {
		notes = append(notes, fmt.Sprintf("%d merged cells go over several rows: each of these rows gets the value", n))
	}
	return notes
}
