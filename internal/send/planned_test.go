package send

import (
	"reflect"
	"testing"
	"time"

	"mailer/internal/pace"
)

// set gives every field of a struct a value that is not its zero.
func set(t *testing.T, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		switch f.Interface().(type) {
		case []pace.Rate:
			f.Set(reflect.ValueOf([]pace.Rate{{N: 100, Per: time.Second}, {N: 5000, Per: time.Hour}}))
			continue
		case time.Time:
			f.Set(reflect.ValueOf(time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)))
			continue
		}
		switch f.Kind() {
		case reflect.String:
			f.SetString(name)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int, reflect.Int64:
			f.SetInt(int64(7 + i))
		case reflect.Float64:
			f.SetFloat(0.5)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{name, "more"}))
		default:
			t.Fatalf("field %s: tell this test how to set a %s", name, f.Type())
		}
	}
}

// Whatever can be asked for is asked for when a planned campaign begins. A new field of Request that does not survive fails here.
func TestRequestIsKeptWhole(t *testing.T) {
	var want Request
	set(t, reflect.ValueOf(&want).Elem())
	text, err := encodeRequest(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRequest(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("kept as %s\ngot  %+v\nwant %+v", text, got, want)
	}
	if text, err = encodeRequest(Request{}); err != nil {
		t.Fatal(err)
	}
	if got, err := decodeRequest(text); err != nil || !reflect.DeepEqual(got, Request{}) {
		t.Errorf("an empty one: %s, %+v, %v", text, got, err)
	}
}

func TestFilled(t *testing.T) {
	var planned Request
	set(t, reflect.ValueOf(&planned).Elem())
	got := filled(Request{Relay: "other", Rates: []pace.Rate{{N: 1, Per: time.Second}}}, planned)
	want := planned
	want.Relay, want.Rates = "other", []pace.Rate{{N: 1, Per: time.Second}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if !reflect.DeepEqual(filled(planned, Request{}), planned) {
		t.Error("what is said was taken away")
	}
}
