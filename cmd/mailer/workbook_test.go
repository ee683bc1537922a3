package main

import (
	"encoding/csv"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/xuri/excelize/v2"
)

// workbookOf is the script command `workbook FILE SHEET=CSV...`: an Excel workbook with a sheet from each CSV file. A cell
// that is a number becomes one; "=date N" is day N in the format of Japanese eras, "=NAME(...)" a formula.
func workbookOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: workbook FILE SHEET=CSV...")
	}
	f := excelize.NewFile()
	defer f.Close()
	code := `[$-411]ggge"年"m"月"d"日"`
	era, err := f.NewStyle(&excelize.Style{CustomNumFmt: &code})
	ts.Check(err)
	for i, arg := range args[1:] {
		sheet, file, _ := strings.Cut(arg, "=")
		if i == 0 {
			ts.Check(f.SetSheetName("Sheet1", sheet))
		} else {
			_, err := f.NewSheet(sheet)
			ts.Check(err)
		}
		r := csv.NewReader(strings.NewReader(ts.ReadFile(file)))
		r.FieldsPerRecord = -1
		rows, err := r.ReadAll()
		ts.Check(err)
		for y, row := range rows {
			for x, cell := range row {
				name, err := excelize.CoordinatesToCellName(x+1, y+1)
				ts.Check(err)
				day, isDay := strings.CutPrefix(cell, "=date ")
				number, notNumber := strconv.ParseFloat(strings.TrimPrefix(day, "="), 64)
				switch {
				case isDay:
					ts.Check(f.SetCellFloat(sheet, name, number, -1, 64))
					ts.Check(f.SetCellStyle(sheet, name, name, era))
				case strings.HasPrefix(cell, "="):
					ts.Check(f.SetCellFormula(sheet, name, cell[1:]))
				case notNumber == nil && (cell[0] != '0' || len(cell) == 1):
					ts.Check(f.SetCellFloat(sheet, name, number, -1, 64))
				case cell != "":
					ts.Check(f.SetCellStr(sheet, name, cell))
				}
			}
		}
	}
	ts.Check(f.SaveAs(ts.MkAbs(args[0])))
}
