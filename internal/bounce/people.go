package bounce

import (
	"slices"
	"strings"
)

// Mails that people and their machines write, told apart by words. None of this changes a contact: a machine's answer is
// logged, and what a person asks for is for a person to decide.

// answerRule tells one kind of automatic answer. Lists that are not empty must each have an entry in the mail.
type answerRule struct {
	detail         string
	from, subject  []string
	subjectStarts  []string // past "Re:" and brackets
	body           []string
	unlessInAnswer bool // not behind "Re:": there the words may be those of our own subject
}

var answers = []answerRule{
	{detail: DetailReceipt, subjectStarts: []string{
		"read:", "not read:", "gelesen:", "ungelesen:", "lu :", "non lu :", "leído:", "letto:", "return receipt", "read receipt", "disposition notification", "開封済み:", "開封済み：", "既読:", "既読：", "開封通知", "開封確認", "未開封",
	}},
	{detail: DetailChallenge, from: []string{"spamarrest.com", "boxbe.com", "@challenge.", "sender-verification@"}},
	{detail: DetailChallenge, body: []string{
		"verify that you are a real", "verify you are a real", "verify that you are human", "prove that you are human", "confirm that you are a real", "confirm that you are human", "because your address was not recognized", "because your address is not recognized",
		"your message is being held", "your message to me is being held", "your email is being held", "waiting for you to confirm", "approve your message", "to release your message", "to have your message delivered", "to deliver your message, click", "complete the verification",
		"just this once, click", "challenge-response", "requires verification of new senders", "requires that you verify", "added to my guest list", "not yet on my approved", "you are not on my approved", "one-time verification", "this is an automated request to confirm", "confirm the delivery of the original message",
		"送信者確認のため", "送信者の確認が必要", "受信を許可するには", "下記のリンクをクリックすると配信され", "本人確認のため",
	}},
	{detail: DetailAnswer, subject: []string{"ticket#", "[ticket", "ticket received", "ticket created", "case created", "お問い合わせを受け付け", "お問い合わせありがとう", "受付完了", "受付のお知らせ"}, body: []string{
		"ticket", "received your", "we have received", "automatic", "automated", "自動", "受け付け", "case number", "お問い合わせ番号", "受付番号",
	}},
	{detail: DetailVacation, subjectStarts: []string{
		"auto:", "auto re:", "auto-re:", "auto response", "auto reply", "auto-reply", "autoreply", "autoresponse", "automatic reply", "automatic response", "automated reply", "automated response", "autosvar", "automatisch", "automatiskt svar", "réponse automatique", "reponse automatique", "respuesta automática", "respuesta automatica", "resposta automática", "risposta automatica",
		"odpowiedź automatyczna", "automatyczna odpowiedź", "автоответ", "автоматический ответ", "out of office", "out of the office", "out-of-office", "message d'absence", "absence du bureau", "abwesenheitsnotiz", "fuera de la oficina", "fuori ufficio", "自動応答", "自動返信", "自動回答", "自動送信", "自動配信", "不在通知", "不在のお知らせ", "不在連絡", "休暇のお知らせ", "自动回复", "自動回覆", "부재중", "자동",
	}},
	{detail: DetailVacation, unlessInAnswer: true, subjectStarts: []string{
		"vacation", "away from", "i am out", "i'm out of", "on vacation", "on leave", "on holiday", "abwesenheit", "abwesend", "absence", "absent", "afwezig", "ausente", "不在", "休暇", "夏季休業", "冬季休業", "年末年始休業", "休業のお知らせ", "退職のお知らせ", "長期休暇",
	}},
}

// opening words are left out before the start of a subject is looked at.
var replyMarks = []string{"re:", "re：", "aw:", "sv:", "fw:", "fwd:", "antw:", "rv:", "tr:", "返信:", "返信：", "回复:", "回复：", "回覆:"}

// startOf returns a subject in lower case past reply marks and brackets, and whether there was a mark.
func startOf(subject string) (start string, answer bool) {
	s := strings.ToLower(subject)
	for {
		s = strings.TrimLeft(s, " \t[【<（(「*")
		mark := slices.IndexFunc(replyMarks, func(m string) bool { return strings.HasPrefix(s, m) })
		if mark < 0 {
			return s, answer
		}
		s, answer = s[len(replyMarks[mark]):], true
	}
}

// answer tells what kind of automatic answer a mail is by its words, "" for none.
func (m *mail) answer() string {
	subject := strings.ToLower(m.subject())
	start, inAnswer := startOf(subject)
	from := strings.ToLower(decodeWords(m.header.get("from")))
	body := strings.Join(strings.Fields(strings.ToLower(m.ownWords())), " ")
	for _, r := range answers {
		begins := slices.ContainsFunc(r.subjectStarts, func(w string) bool { return strings.HasPrefix(start, w) })
		if len(r.subjectStarts) > 0 && (!begins || inAnswer && r.unlessInAnswer) {
			continue
		}
		if anyOf(r.from, from) && anyOf(r.subject, subject) && anyOf(r.body, body) {
			return r.detail
		}
	}
	return ""
}

// removals are the words by which people ask to be taken off a list. They send a mail to a person, so they may be wide.
var removals = []string{
	"unsubscribe", "unsubcribe", "un-subscribe", "remove me", "remove my", "remove us", "remove this email", "remove this address", "be removed", "remove from", "take me off", "take my name off", "take us off", "off your list", "off this list", "off your mailing", "off the mailing",
	"stop sending", "stop emailing", "stop e-mailing", "stop mailing", "stop these", "stop spamming", "stop this", "no more emails", "no more mail", "no more e-mails", "opt out", "opt-out", "optout", "do not send", "don't send", "do not email", "do not e-mail", "don't email", "do not mail", "do not contact", "don't contact",
	"no longer wish", "no longer want", "no longer interested", "not interested", "do not wish to receive", "don't want to receive", "do not want to receive", "don't want these", "don't want any more", "delete my", "delete me", "cancel my subscription", "cancel subscription", "cancel the subscription", "end my subscription", "cease and desist",
	"配信停止", "配信の停止", "配信を停止", "配信を止め", "配信をやめ", "配信を中止", "配信中止", "配信の中止", "配信解除", "配信の解除", "配信を解除", "配信不要", "配信は不要", "配信しないで", "配信を希望しま", "配信を望", "配信拒否", "購読解除", "購読の解除", "購読を解除", "購読停止", "購読の停止", "購読を停止", "購読をやめ", "購読を止め", "購読中止", "講読解除", "講読を",
	"登録解除", "登録の解除", "登録を解除", "登録削除", "登録の削除", "登録を削除", "登録を取り消", "登録を抹消", "登録抹消", "退会", "脱退", "解約", "送らないで", "送ってこないで", "送信しないで", "送付しないで", "送信停止", "送信を停止", "送信の停止", "送信を止め", "送信をやめ", "送付を止め", "送付停止", "停止して", "停止を希望", "停止希望", "停止をお願い", "停止願", "解除して", "解除を希望", "解除希望", "解除をお願い", "解除願",
	"止めてください", "止めて下さい", "やめてください", "やめて下さい", "止めて欲しい", "やめてほしい", "止めてほしい", "削除してください", "削除して下さい", "削除願", "削除をお願い", "外してください", "外して下さい", "リストから外", "リストから削除", "リストから除", "メール不要", "メールは不要", "メルマガ不要", "メルマガは不要", "案内は不要", "案内不要", "今後は不要", "今後不要", "今後のご連絡は", "今後一切", "メールはいりません", "メールはいらない", "メールは要りません", "受け取りたくありません", "受け取りを拒否", "受信したくありません", "受信拒否します", "受信を拒否", "オプトアウト",
}

// removal reports whether a person asks to be taken off the list. A person decides; no word of a mail that carries no
// signature takes anybody off.
func (m *mail) removal() (Verdict, bool) {
	if m.isMachine() {
		return Verdict{}, false
	}
	words := strings.ToLower(strings.ReplaceAll(m.ownWords(), "’", "'"))
	subject, _ := startOf(m.subject())
	english := strings.Join(strings.Fields(words), " ") + " | " + subject
	japanese := strings.Join(strings.Fields(words+subject), "") // lines are broken within words
	for _, phrase := range removals {
		text := english
		if phrase[0] >= 0x80 {
			text = japanese
		}
		if strings.Contains(text, phrase) {
			return Verdict{Kind: KindOther, Detail: DetailRemoval, Family: "person", Sender: addressIn(m.header.get("from"))}, true
		}
	}
	return Verdict{}, false
}

// isMachine tells mail that nobody wrote: newsletters and notices have an "unsubscribe" at their foot.
func (m *mail) isMachine() bool {
	for _, f := range m.header {
		switch f.name {
		case "list-unsubscribe", "list-id", "feedback-id":
			return true
		}
	}
	from := strings.ToLower(m.header.get("from"))
	for _, name := range machines {
		if strings.Contains(from, name) {
			return true
		}
	}
	return false
}

// machines are senders that no person is behind.
var machines = []string{
	"no-reply@", "noreply@", "no_reply@", "donotreply@", "do-not-reply@", "not-reply@", "notification@", "notifications@", "mailer-daemon", "postmaster@", "bounce@", "bounces@", "newsletter@", "mailman@", "listserv@", "majordomo@",
}

// maxWords bounds what is read of a person's mail: who wants to leave says so at once.
const maxWords = 1500

// ownWords is what the sender of a mail wrote in the text, without what is quoted.
func (m *mail) ownWords() string {
	var b strings.Builder
	for _, text := range m.texts {
		for _, line := range strings.Split(text[:min(len(text), 4*maxWords)], "\n") {
			line = strings.TrimSpace(line)
			if quoteBegins(line) {
				return b.String()
			}
			if strings.HasPrefix(line, ">") || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "＞") {
				continue
			}
			b.WriteString(line)
			b.WriteByte('\n')
			if b.Len() > maxWords {
				return b.String()
			}
		}
	}
	return b.String()
}

// quoteBegins tells the line by which mail programs begin the message that is answered.
func quoteBegins(line string) bool {
	low := strings.ToLower(line)
	for _, start := range []string{"-----original message", "----- original message", "-----元のメッセージ", "-----メッセージ", "----- forwarded", "---------- forwarded", "________________________________", "from: ", "差出人:", "差出人：", "送信者:", "von: ", "de : ", "begin forwarded message"} {
		if strings.HasPrefix(low, start) {
			return true
		}
	}
	for _, end := range []string{"wrote:", "schrieb:", "écrit :", "a écrit:", "escribió:", "ha scritto:", "のメール:", "は書きました:", "さんは書きました：", "写道：", "wrote："} {
		if strings.HasSuffix(low, end) {
			return true
		}
	}
	// "2026年11月2日(月) 10:00 Example News <news@news.example>:"
	return strings.HasSuffix(low, ">:") && strings.Contains(low, "@") || strings.HasSuffix(low, ">：") && strings.Contains(low, "@")
}
