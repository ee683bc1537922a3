package mailtest

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
)

// errCancelled says that the client sent "*" or something that is no base64.
var errCancelled = errors.New("authentication cancelled")

func (p *peer) mechs() []string {
	if p.s.script.Mechs != nil {
		return p.s.script.Mechs
	}
	return []string{"PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"}
}

// auth runs one AUTH exchange (RFC 4954). Its last reply is the one that a script may change.
func (p *peer) auth(c Command, arg string) error {
	mech, initial, _ := strings.Cut(arg, " ")
	mech = strings.ToUpper(mech)
	switch {
	case p.s.script.Users == nil:
		return p.answer(c, true, "502 5.5.1 not offered")
	case !slices.Contains(p.mechs(), mech):
		return p.answer(c, true, "504 5.5.4 mechanism not known")
	case p.user != "":
		return p.answer(c, true, "503 5.5.1 logged in already")
	}
	p.watch("AUTH", true)
	user, good, err := p.login(mech, initial)
	switch {
	case errors.Is(err, errCancelled):
		return p.answer(c, true, "501 5.7.0 cancelled")
	case err != nil:
		return err
	case !good:
		return p.answer(c, true, "535 5.7.8 wrong user or password")
	}
	c.Default = "235 2.7.0 welcome"
	text, err := p.reply(c, true)
	if strings.HasPrefix(text, "2") {
		p.user = user
	}
	return err
}

func (p *peer) login(mech, initial string) (user string, good bool, err error) {
	switch mech {
	case "PLAIN":
		answer, err := p.response(initial, "")
		if parts := strings.Split(answer, "\x00"); len(parts) == 3 {
			return parts[1], p.known(parts[1], parts[2]), err
		}
		return "", false, err
	case "LOGIN":
		if user, err = p.response(initial, "Username:"); err != nil {
			return "", false, err
		}
		password, err := p.response("", "Password:")
		return user, p.known(user, password), err
	case "CRAM-MD5":
		const challenge = "<1.1@mailtest.example>"
		answer, err := p.response("", challenge)
		user, sum, _ := strings.Cut(answer, " ")
		mac := hmac.New(md5.New, []byte(p.s.script.Users[user]))
		mac.Write([]byte(challenge))
		_, exists := p.s.script.Users[user]
		return user, exists && sum == hex.EncodeToString(mac.Sum(nil)), err
	default: // XOAUTH2
		answer, err := p.response(initial, "")
		user, token, _ := strings.Cut(strings.TrimPrefix(answer, "user="), "\x01auth=Bearer ")
		return user, p.known(user, strings.TrimRight(token, "\x01")), err
	}
}

func (p *peer) known(user, password string) bool {
	want, ok := p.s.script.Users[user]
	return ok && want == password
}

// response returns what the client says to a challenge, or the initial response where it gave one.
func (p *peer) response(initial, challenge string) (string, error) {
	if initial == "" {
		p.out.WriteString("334 " + base64.StdEncoding.EncodeToString([]byte(challenge)) + "\r\n")
		p.note("S%d< %s", "334 "+challenge)
		var err error
		if initial, err = p.line(); err != nil {
			return "", err
		}
	}
	if initial == "=" {
		return "", nil
	}
	raw, err := base64.StdEncoding.DecodeString(initial)
	if err != nil {
		return "", errCancelled
	}
	return string(raw), nil
}
