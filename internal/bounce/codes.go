package bounce

import "strings"

// findEnhanced returns the enhanced status code (RFC 3463) that says most in a text: the first that is neither x.0.0 nor
// "queue time expired", which only repeats that somebody gave up; else the first of all. IP addresses and version
// numbers are no codes.
func findEnhanced(text string) string {
	first := ""
	for i := 0; i < len(text); i++ {
		code := enhancedAt(text, i)
		if code == "" {
			continue
		}
		if !vague(code) {
			return code
		}
		if first == "" {
			first = code
		}
		i += len(code) - 1
	}
	return first
}

// enhancedAt returns the code that starts at text[i], if one does.
func enhancedAt(text string, i int) string {
	if i >= len(text) || !isClass(text[i]) || i+5 > len(text) || text[i+1] != '.' {
		return ""
	}
	if i > 0 && (isAlnum(text[i-1]) || text[i-1] == '.' || text[i-1] == '-' && i > 1 && !isDigit(text[i-2])) {
		return ""
	}
	if text[i+2] < '0' || text[i+2] > '7' || text[i+3] != '.' {
		return ""
	}
	end := i + 4
	for end < len(text) && isDigit(text[end]) && end < i+7 {
		end++
	}
	if end == i+4 || end < len(text) && isAlnum(text[end]) {
		return ""
	}
	if end+1 < len(text) && text[end] == '.' && isDigit(text[end+1]) {
		return ""
	}
	return text[i:end]
}

// vague reports whether a code leaves the reason open.
func vague(code string) bool {
	return code == "" || strings.HasSuffix(code, ".0.0") || code == "4.4.7" || code == "5.4.7"
}

// findReply returns the first basic reply code (RFC 5321 section 4.2) of a refusal in a text, "" when there is none.
func findReply(text string) string {
	for i := 0; i+3 <= len(text); i++ {
		if replyAt(text, i) {
			return text[i : i+3]
		}
	}
	return ""
}

func replyAt(text string, i int) bool {
	c := text[i]
	if c != '4' && c != '5' || !isDigit(text[i+1]) || !isDigit(text[i+2]) {
		return false
	}
	// The second digit is 0 to 5 (RFC 5321 section 4.2.1); 571 and its like are in use all the same.
	if text[i+1] > '5' && text[i+1] != '7' {
		return false
	}
	if i > 0 && (isAlnum(text[i-1]) || strings.IndexByte(".-/=@_+%[", text[i-1]) >= 0) {
		return false
	}
	if i+3 == len(text) {
		return true
	}
	switch next := text[i+3]; {
	case next == '-':
		return i+4 == len(text) || !isDigit(text[i+4]) || enhancedAt(text, i+4) != ""
	case next == '.':
		return i+4 == len(text) || text[i+4] == ' '
	case next == ' ':
		return !followedByUnit(text[i+4:])
	default:
		return strings.IndexByte("\n\t:;,'\")>#", next) >= 0
	}
}

// followedByUnit tells "552 Mailbox full" from "in 480 minutes".
func followedByUnit(rest string) bool {
	for _, unit := range [...]string{"min", "hour", "sec", "day", "times", "byte", "kb", "mb", "message", "attempt"} {
		if len(rest) >= len(unit) && strings.EqualFold(rest[:len(unit)], unit) {
			return !strings.HasPrefix(strings.ToLower(rest), "message ") || unit != "message"
		}
	}
	return false
}

func isClass(c byte) bool { return c == '2' || c == '4' || c == '5' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlnum(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
