// Package workbook reads the rows of one sheet of an Excel workbook (.xlsx), as people see them.
//
// A workbook is a zip archive of XML (ECMA-376, transitional or strict). Open reads what stands beside the rows: the names of
// the sheets, the formats of numbers, the table of texts. It chooses a sheet and goes through it once, since its width and
// its merged cells are known only behind the last row. Rows then gives the rows, as often as it is called. Macros, charts,
// comments, links and colours are not read; of a formula, the result that the workbook keeps is.
//
// What a cell holds is text:
//
//   - a text as it stands, without furigana, and without the apostrophe by which contact.Guard keeps a formula from running
//   - a number with the decimals and the zeros in front that its format shows, without separators, currency and exponent
//   - a date as 2026-01-05 or 2026-01-05 09:30, a time as 09:30, whatever its format shows of it; numfmt.go has the rules
//   - TRUE or FALSE
//   - for a merged range that goes over several rows, its value in each of them
//
// An error (#N/A), a formula without a result, a day that never was or a text that lost characters spoils its row, and the
// row says which cell it was. Damage that leaves doubt about what follows ends the reading: a sheet that breaks off is
// never taken for a short one.
//
// Bounds: the rows and columns of Excel; a sheet or the table of texts of 8 GB unpacked, any other part of 64 MB; beyond
// 64 MB, 250 times what the part is packed (more is a zip bomb); 1 MB of a tag or a text; 100,000 merged ranges that go
// over several rows. Memory is flat: a row at a time, and texts beyond 8 MB lie in a temporary file.
//
// Why not the library that writes our workbooks: the Rows of excelize tell no type of a cell, so that #N/A looks like
// text, take a sheet that breaks off for its end, and are ten times slower.
package workbook

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

// Options of Open.
type Options struct {
	Name    string // of the file, for errors
	Sheet   string // its name, else its number from 1 ("2", "#2"); "": the first visible one that holds something
	TempDir string // where a large table of texts is kept while the Book is open; "": os.TempDir

	// Alive, if not nil, is called by Open for each of the texts and then for each row of the chosen sheet, with its number
	// from 0. It returns ctx.Err(), which ends Open.
	Alive func(ctx context.Context, n int64) error
}

// Error is a fault of the file or of the choice of a sheet, told for the person who named them.
type Error struct{ msg string }

func (e *Error) Error() string { return e.msg }

func errorf(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Book is a workbook of which one sheet is read. It may not be used by several goroutines at once.
type Book struct {
	name    string
	beat    func(ctx context.Context, n int64) error
	parts   map[string]*zip.File // by PartName
	texts   sharedTexts
	formats []*numFormat // by style; nil: General
	epoch   bool         // days count from 1904
	sheets  []Sheet
	sheet   *Sheet
	also    []string // other sheets that hold rows
	shape   sheetShape
}

// Sheet is one sheet of cells.
type Sheet struct {
	Name   string
	Hidden bool
	part   string
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

// PartName is the name of a part of the archive for comparison: names differ in case only by mistake (ECMA-376 part 2,
// section 6.2.2.3), and some programs write backslashes.
func PartName(name string) string {
	return strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(name, `\`, "/"), "/"))
}

// Open reads what a workbook of size bytes keeps beside its rows, and chooses the sheet. r must stay open until Close. The
// error is that of ctx if ctx has ended, else an *Error, also where r or the temporary file fails.
func Open(ctx context.Context, r io.ReaderAt, size int64, o Options) (b *Book, err error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, errorf("%s is a broken workbook: %v", o.Name, err)
	}
	b = &Book{name: o.Name, beat: o.Alive, parts: map[string]*zip.File{}, texts: sharedTexts{dir: o.TempDir}}
	for _, f := range z.File {
		if b.parts[PartName(f.Name)] == nil {
			b.parts[PartName(f.Name)] = f
		}
	}
	if err = b.open(ctx, o.Sheet); err == nil {
		return b, nil
	}
	b.Close()
	if ctx.Err() != nil {
		return nil, err
	}
	if wrong := new(Error); errors.As(err, &wrong) {
		return nil, &Error{err.Error()}
	}
	return nil, errorf("%s cannot be read as a workbook: %v", o.Name, err)
}

// Close removes the temporary file, if there is one.
func (b *Book) Close() { b.texts.close() }

// Sheets are the sheets of cells, in the order of their tabs.
func (b *Book) Sheets() []Sheet { return b.sheets }

// Sheet is the sheet that is read.
func (b *Book) Sheet() Sheet { return *b.sheet }

// Size is how many rows of the sheet hold something, and how many columns there are up to the last one that does.
func (b *Book) Size() (rows int64, columns int) { return b.shape.rows, b.shape.width }

// alive gives a sign of life.
func (b *Book) alive(ctx context.Context, n int64) error {
	if b.beat == nil {
		return ctx.Err()
	}
	return b.beat(ctx, n)
}

func (b *Book) open(ctx context.Context, want string) error {
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

func (b *Book) mainPart() (string, error) {
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
func (b *Book) relations(of string) ([]relation, error) {
	dir, base := path.Split(of)
	var rels struct {
		Relationship []relation
	}
	if err := b.decode(dir+"_rels/"+base+".rels", &rels); err != nil {
		return nil, err
	}
	for i, r := range rels.Relationship {
		if rels.Relationship[i].Target = PartName(r.Target); !strings.HasPrefix(r.Target, "/") {
			rels.Relationship[i].Target = PartName(path.Join(dir, r.Target))
		}
	}
	return rels.Relationship, nil
}

// decode reads a small part.
func (b *Book) decode(name string, v any) error {
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
func (b *Book) part(name string, limit int64) (io.ReadCloser, error) {
	f := b.parts[PartName(name)]
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
		return n, errorf("%s unpacks to more than a workbook can need (%d MB out of %d kB): it is refused. If the list is real, save it as CSV",
			r.name, r.done>>20, r.packed>>10)
	}
	return n, err
}

// stream opens a large part as XML.
func (b *Book) stream(name string) (*markup, io.Closer, error) {
	r, err := b.part(name, maxPart)
	if err != nil {
		return nil, nil, err
	}
	return newMarkup(transform.NewReader(r, unicode.BOMOverride(unicode.UTF8.NewDecoder()))), r, nil
}

func (b *Book) readWorkbook(main string, related []relation) error {
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
				b.sheets = append(b.sheets, Sheet{s.Name, s.State != "" && s.State != "visible", related[i].Target})
			}
		}
	}
	if len(b.sheets) == 0 {
		return errors.New("it has no sheet of cells")
	}
	return nil
}

func (b *Book) readStyles(name string) error {
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

func (b *Book) readTexts(ctx context.Context, name string) error {
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

// choose takes the sheet that is wanted, else the first visible one that has rows.
func (b *Book) choose(ctx context.Context, want string) error {
	if want != "" {
		return b.chooseNamed(want)
	}
	for i := range b.sheets {
		s := &b.sheets[i]
		if s.Hidden {
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
			b.also = append(b.also, s.Name)
		}
	}
	if b.sheet == nil {
		return errorf("%s has no visible sheet with anything in it; its sheets are %s", b.name, b.sheetNames())
	}
	return nil
}

func (b *Book) chooseNamed(want string) error {
	var names []string
	for i, s := range b.sheets {
		if s.Name == want {
			b.sheet = &b.sheets[i]
			return nil
		}
		names = append(names, s.Name)
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(want, "#")); err == nil && 0 < n && n <= len(b.sheets) {
		b.sheet = &b.sheets[n-1]
		return nil
	}
	for i, s := range b.sheets {
		if strings.EqualFold(s.Name, want) {
			b.sheet = &b.sheets[i]
			return nil
		}
	}
	near := ""
	if n := spelling.Nearest(want, names); n != "" {
		near = fmt.Sprintf(" (did you mean %q?)", n)
	}
	return errorf("%s has no sheet %q%s; its sheets are %s", b.name, want, near, b.sheetNames())
}

func (b *Book) sheetNames() string {
	var names []string
	for i, s := range b.sheets {
		name := fmt.Sprintf("%d %q", i+1, s.Name)
		if s.Hidden {
			name += " (hidden)"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// Notes says what a person should know of the sheet before its rows are imported: other sheets that hold something, rows
// and columns that Excel does not show, merged cells.
func (b *Book) Notes() []string {
	var notes []string
	if len(b.also) > 0 {
		var quoted []string
		for _, name := range b.also {
			quoted = append(quoted, strconv.Quote(name))
		}
		notes = append(notes, fmt.Sprintf("sheet %q is imported; there is something in %s too (--sheet NAME)", b.sheet.Name, strings.Join(quoted, ", ")))
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
