package bounce

import "strings"

// maxText bounds what is searched of one refusal; longer ones repeat themselves or carry a licence text.
const maxText = 4096

// matchable prepares a refusal for the search of known texts: lower case, one space between words, the repeated codes of
// a multi-line reply taken out ("550-5.1.1 The account 550-5.1.1 does not exist"), addresses blanked to <@>, so that
// no local part is read as a reason.
func matchable(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	var b strings.Builder
	b.Grow(len(text))
	words := strings.Fields(strings.ToLower(text))
	for i, word := range words {
		if continued(word) || i > 0 && echoed(words, i) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(blankAddress(word))
	}
	return strings.ReplaceAll(b.String(), "’", "'")
}

// continued reports whether a word is the code before a line of a multi-line reply: 550-5.1.1 or 550-
func continued(word string) bool {
	return len(word) >= 4 && word[3] == '-' && isClass(word[0]) && isDigit(word[1]) && isDigit(word[2]) &&
		(len(word) == 4 || enhancedAt(word, 4) == word[4:])
}

// echoed reports whether words[i] is part of a code pair in the middle of the text ("550 5.7.1"), where lines were joined.
func echoed(words []string, i int) bool {
	code := func(k int) bool { return k < len(words) && len(words[k]) == 3 && findReply(words[k]) != "" }
	status := func(k int) bool { return k < len(words) && enhancedAt(words[k], 0) == words[k] }
	return i > 1 && (code(i) && status(i+1) || status(i) && code(i-1))
}

// blankAddress replaces an address within a word by <@>, what stands round it is kept.
func blankAddress(word string) string {
	at := strings.IndexByte(word, '@')
	if at <= 0 {
		return word
	}
	start := strings.LastIndexAny(word[:at], "<>():;,='") + 1
	end := at + 1
	for end < len(word) && (isAlnum(word[end]) || strings.IndexByte(".-_@#", word[end]) >= 0) {
		end++
	}
	trail := word[end:]
	for body := word[start:end]; strings.HasSuffix(body, "."); body = body[:len(body)-1] {
		trail = "." + trail
	}
	head := strings.TrimSuffix(word[:start], "<")
	return head + "<@>" + strings.TrimPrefix(trail, ">")
}

// follows reports whether second follows first within a few words of one clause: in "User: a, reason: unknown error" it
// does not.
func follows(text, first, second string) bool {
	for {
		i := strings.Index(text, first)
		if i < 0 {
			return false
		}
		text = text[i+len(first):]
		if gap := strings.Index(text[:min(len(text), near+len(second))], second); gap >= 0 && !strings.ContainsAny(text[:gap], ":;") {
			return true
		}
	}
}

// textReason returns the reason that the first matching rule gives.
func textReason(text string) string {
	var g grams
	g.add(text)
	for _, rule := range texts {
		for _, phrase := range rule.phrases {
			if g.mayHold(phrase) && holds(text, phrase) {
				return rule.reason
			}
		}
	}
	return ""
}

// grams remembers by hash which four bytes follow each other in a text. Of a thousand phrases all but a few begin with four
// that it does not have, and need no search.
type grams [256]uint64

func gram(s string) uint32 {
	return (uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24) * 2654435761 >> 18
}

func (g *grams) add(text string) {
	for i := 0; i+4 <= len(text); i++ {
		h := gram(text[i:])
		g[h>>6] |= 1 << (h & 63)
	}
}

// mayHold reports false only for a phrase that cannot be in the text.
func (g *grams) mayHold(phrase string) bool {
	if len(phrase) < 4 {
		return true
	}
	for i := range 4 {
		if phrase[i] == '*' || phrase[i] == '~' {
			return true
		}
	}
	h := gram(phrase)
	return g[h>>6]&(1<<(h&63)) != 0
}

// near is how far apart the parts round a "~" may stand.
const near = 48

// holds reports whether a phrase is in the text. Parts parted by "*" must stand in that order, those parted by "~" close
// to each other too.
func holds(text, phrase string) bool {
	if first, second, ok := strings.Cut(phrase, "~"); ok {
		return follows(text, first, second)
	}
	for {
		part, rest, more := strings.Cut(phrase, "*")
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		if !more {
			return true
		}
		text, phrase = text[i+len(part):], rest
	}
}
