package bounce

import "testing"

func TestAddressIn(t *testing.T) {
	for value, want := range map[string]string{
		"rfc822; hanako@shop.example":       "hanako@shop.example",
		"rfc822;<hanako@shop.example>":      "hanako@shop.example",
		"rfc822; hanako@shop.example (x@y)": "hanako@shop.example",
		`rfc822; "ha nako"@shop.example`:    "ha nako@shop.example",
		// The whole value is the address: a local part that mixes scripts is not cut to another person's.
		"utf-8; élise@shop.example":      "élise@shop.example",
		`utf-8; \x{E9}lise@shop.example`: "élise@shop.example",
		"utf-8; 花子hanako@店.example":      "花子hanako@店.example",
		"宛先hanako@shop.example":          "hanako@shop.example", // a text without spaces
		"rfc822; nobody":                 "",
	} {
		if got := addressIn(value); got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}
