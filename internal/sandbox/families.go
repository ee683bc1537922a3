package sandbox

import "mailer/internal/bounce"

// What a report of each sort must be read as, and what mailer does with it.

func dead(reason string) Promise {
	return Promise{Kind: bounce.KindBounce, Reason: reason, Hard: true, Action: bounce.ActionFailed, Proof: bounce.WhereReturnPath, Does: Suppresses}
}

func alive(reason string) Promise {
	return Promise{Kind: bounce.KindBounce, Reason: reason, Action: bounce.ActionFailed, Proof: bounce.WhereReturnPath, Does: Keeps}
}

// late is a warning: the message is still on its way.
func late(reason string) Promise {
	return Promise{Kind: bounce.KindBounce, Detail: bounce.DetailDelay, Reason: reason, Action: bounce.ActionDelayed, Proof: bounce.WhereReturnPath, Does: Logs}
}

func letterOf(kind, detail, proof string, does Deed) Promise {
	return Promise{Kind: kind, Detail: detail, Proof: proof, Does: does}
}

var complains = letterOf(bounce.KindComplaint, "", bounce.WhereReturnPath, Suppresses)

func (p Promise) by(proof string) Promise { p.Proof = proof; return p }

// wrong is a mail whose signature does not hold.
func (p Promise) wrong() Promise { p.Proof, p.Forged, p.Does = "", true, Ignores; return p }

// unproven is one without any.
func (p Promise) unproven() Promise { p.Proof, p.Does = "", Asks; return p }

const (
	rcpt = "RCPT TO"
	dot  = "end of DATA"
)

// families are all formats that can be rehearsed. The words in them are those that the servers write.
var families = []format{
	{name: "postfix", title: "Postfix, RFC 3464", cases: []happening{
		{"unknown", "5.1.1", rcpt, "550 5.1.1 <{rcpt}>: Recipient address rejected: User unknown in virtual mailbox table", dead(bounce.UserUnknown), 0},
		{"full", "5.2.2", rcpt, "552 5.2.2 <{rcpt}>: Recipient address rejected: Mailbox over quota", alive(bounce.MailboxFull), 0},
		{"local-full", "5.2.2", "", "maildir delivery failed: error writing message: Disk quota exceeded", alive(bounce.MailboxFull), 0},
		{"suspended", "5.2.1", rcpt, "550 5.2.1 <{rcpt}>: Recipient address rejected: this mailbox has been disabled", alive(bounce.Suspend), 0},
		{"expired", "4.4.1", "", "connect to {mx}[{ip}]:25: Connection timed out", alive(bounce.Expired), 0},
		{"no-domain", "5.4.4", "", "Host or domain name not found. Name service error for name={domain} type=AAAA: Host not found", dead(bounce.HostUnknown), 0},
		{"blocked", "5.7.1", "", "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", alive(bounce.Blocked), 0},
		{"spam", "5.7.1", dot, "550 5.7.1 Message content rejected as spam", alive(bounce.SpamDetected), 0},
		{"policy", "5.7.0", dot, "552 5.7.0 Message rejected by policy: executable attachment", alive(bounce.PolicyViolation), 0},
		{"size", "5.3.4", "", "message size 31457280 exceeds size limit 10485760 of server {mx}[{ip}]", alive(bounce.EmailTooLarge), 0},
		{"relay", "5.7.1", rcpt, "554 5.7.1 <{rcpt}>: Relay access denied", alive(bounce.NoRelaying), 0},
		{"sender", "5.1.8", rcpt, "550 5.1.8 <bounce@example.com>: Sender address rejected: Domain not found", alive(bounce.Rejected), 0},
		{"delayed", "4.4.1", "", "connect to {mx}[{ip}]:25: Connection timed out", late(bounce.Expired), 0},
	}},
	{name: "sendmail", title: "Sendmail, RFC 3464 with a transcript", cases: []happening{
		{"unknown", "5.1.1", "DATA", "550 5.1.1 <{rcpt}>... User unknown", dead(bounce.UserUnknown), 0},
		{"full", "5.2.2", "DATA", "552 5.2.2 <{rcpt}>... Mailbox full", alive(bounce.MailboxFull), 0},
		{"expired", "4.4.7", "", "<{rcpt}>... Deferred: Connection timed out with {mx}.", alive(bounce.Expired), 0},
		{"no-domain", "5.1.2", "", "550 5.1.2 <{rcpt}>... Host unknown (Name server: {domain}.: host not found)", dead(bounce.HostUnknown), 0},
		{"blocked", "5.7.1", "MAIL From:", "550 5.7.1 Access denied: 192.0.2.1 is listed in a DNS block list", alive(bounce.Blocked), 0},
		{"spam", "5.7.1", ".", "554 5.7.1 This message looks like spam", alive(bounce.SpamDetected), 0},
		{"size", "5.2.3", "MAIL From:", "552 5.2.3 Message size exceeds fixed maximum message size (10485760)", alive(bounce.EmailTooLarge), 0},
		{"delayed", "4.4.1", "", "<{rcpt}>... Deferred: Connection refused by {mx}.", late(bounce.NetworkError), 0},
	}},
	{name: "exim", title: "Exim's own text with X-Failed-Recipients", cases: []happening{
		{"unknown", "", rcpt, "550 5.1.1 <{rcpt}>: Recipient address rejected:\nUser unknown in local recipient table", dead(bounce.UserUnknown), 0},
		{"full", "", "", "mailbox is full (MTA-imposed quota exceeded while writing to file /var/mail/{local}):\nretry timeout exceeded", alive(bounce.MailboxFull), 0},
		{"expired", "", "", "retry timeout exceeded", alive(bounce.Expired), 0},
		{"no-domain", "", "", "all relevant MX records point to non-existent hosts", dead(bounce.HostUnknown), 0},
		{"unrouteable", "", "", "Unrouteable address", dead(bounce.HostUnknown), 0},
		{"blocked", "", "initial connection", "554 5.7.1 Your IP 192.0.2.1 is on our block list", alive(bounce.Blocked), 0},
		{"spam", "", "end of data", "550 This message was classified as SPAM and may not be delivered", alive(bounce.SpamDetected), 0},
		{"filtered", "", "end of data", "550 : User unknown", alive(bounce.Filtered), 0},
		{"size", "", "MAIL FROM:<> SIZE=31457280", "552 Message size exceeds maximum permitted", alive(bounce.EmailTooLarge), 0},
		{"relay", "", rcpt, "550 relay not permitted", alive(bounce.NoRelaying), 0},
		{"delayed", "", "", "SMTP error from remote mail server after RCPT TO:<{rcpt}>:\n    451 4.3.0 <{rcpt}>: Temporary lookup failure", late(bounce.NetworkError), 0},
	}},
	{name: "exim-dsn", title: "Exim with RFC 3464", cases: []happening{
		{"unknown", "", rcpt, "550 5.1.1 <{rcpt}> User doesn't exist", dead(bounce.UserUnknown), 0},
		{"full", "", rcpt, "552 5.2.2 <{rcpt}> mailbox is full", alive(bounce.MailboxFull), 0},
		{"expired", "", "", "retry timeout exceeded", alive(bounce.Expired), 0},
		{"blocked", "", rcpt, "550-192.0.2.1 is listed at bl.example.org\n550 Rejected because your host is blacklisted", alive(bounce.Blocked), 0},
	}},
	{name: "qmail", title: "qmail and its kin", cases: []happening{
		{"unknown", "", "RCPT", "550 5.1.1 sorry, no mailbox here by that name (#5.1.1 - chkuser)", dead(bounce.UserUnknown), 0},
		{"local-unknown", "", "", "Sorry, no mailbox here by that name. (#5.1.1)", dead(bounce.UserUnknown), 0},
		{"moved", "", "", "This address no longer accepts mail.", dead(bounce.HasMoved), 0},
		{"full", "", "", "user is over quota (#5.2.2)", alive(bounce.MailboxFull), 0},
		{"expired", "", "", "Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)\nI'm not going to try again; this message has been in the queue too long.", alive(bounce.Expired), 0},
		{"no-domain", "", "", "Sorry, I couldn't find any host named {domain}. (#5.1.2)", dead(bounce.HostUnknown), 0},
		{"blocked", "", "connect", "554 5.7.1 Service unavailable; 192.0.2.1 is blocked by a blacklist", alive(bounce.Blocked), 0},
		{"spam", "", "dot", "550 5.7.1 message looks like spam", alive(bounce.SpamDetected), 0},
		{"sender", "", "MAIL", "553 5.1.8 sorry, your envelope sender domain must exist", alive(bounce.Rejected), 0},
	}},
	{name: "courier", title: "Courier", cases: []happening{
		{"unknown", "5.0.0", rcpt, "550 User unknown", dead(bounce.UserUnknown), 0},
		{"full", "5.0.0", rcpt, "552 Mailbox is full / Blocks limit exceeded / Inode limit exceeded", alive(bounce.MailboxFull), 0},
		{"expired", "4.0.0", "", "Connection timed out", alive(bounce.Expired), 0},
		{"spam", "5.0.0", "DATA", "554 Message refused as spam", alive(bounce.SpamDetected), 0},
		{"delayed", "4.0.0", "", "Connection timed out", late(bounce.Expired), 0},
	}},
	{name: "opensmtpd", title: "OpenSMTPD", cases: []happening{
		{"unknown", "5.0.0", "", "550 5.1.1 <{rcpt}>: Recipient address rejected: User unknown", dead(bounce.UserUnknown), 0},
		{"full", "5.0.0", "", "552 5.2.2 <{rcpt}>: mailbox is full", alive(bounce.MailboxFull), 0},
		{"expired", "4.4.7", "", "Envelope expired", alive(bounce.Expired), 0},
		{"delayed", "4.0.0", "", "Network error on destination MXs", late(bounce.NetworkError), 0},
	}},
	{name: "m365", title: "Microsoft 365", domains: []string{"outlook.com", "hotmail.com", "outlook.jp", "live.jp"}, cases: []happening{
		{"unknown", "5.1.10", "", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient {rcpt} not found by SMTP address lookup", dead(bounce.UserUnknown), 0},
		{"ja", "5.1.10", "", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient {rcpt} not found by SMTP address lookup", dead(bounce.UserUnknown), 0},
		{"full", "5.2.2", "", "554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded; Failed to process message due to a permanent exception", alive(bounce.MailboxFull), 0},
		{"expired", "5.4.300", "", "550 5.4.300 Message expired -> 451 4.4.0 Connection timed out", alive(bounce.Expired), 0},
		{"blocked", "5.7.606", "", "550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal from this list please visit https://sender.office.com/", alive(bounce.Blocked), 0},
		{"access", "5.4.1", "", "550 5.4.1 Recipient address rejected: Access denied. [mx.outlook.com]", alive(bounce.UserUnknown), 0},
		{"rule", "5.7.1", "", "550 5.7.1 TRANSPORT.RULES.RejectMessage; the message was rejected by organization policy", alive(bounce.Rejected), 0},
		{"members-only", "5.7.133", "", "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction check failed because the sender was not authenticated when sending to this group", alive(bounce.Rejected), 0},
		{"size", "5.3.4", "", "550 5.3.4 SMTPSEND.OverAdvertisedSize; message size exceeds fixed maximum size", alive(bounce.EmailTooLarge), 0},
		{"delayed", "4.4.7", "", "", late(bounce.Expired), 0},
	}},
	{name: "exchange", title: "Exchange's text of 2010, in English and Japanese", cases: []happening{
		{"unknown", "", "", "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found", dead(bounce.UserUnknown), 0},
		{"unknown-ja", "", "", "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found", dead(bounce.UserUnknown), 0},
		{"full", "", "", "554 5.2.2 STOREDRV.Deliver; mailbox full", alive(bounce.MailboxFull), 0},
		{"size", "", "", "550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient", alive(bounce.EmailTooLarge), 0},
	}},
	{name: "exchange-old", title: "Exchange 5.5 and 2000", cases: []happening{
		{"unknown", "", "", "The recipient name is not recognized\n\tThe MTS-ID of the original message is: c=jp;a= ;p=Example;l=MX-0001\n    MSEXCH:IMS:Example:SITE:MX 0 (000C05A6) Unknown Recipient", dead(bounce.UserUnknown), 0},
		{"full", "", "", "The message could not be delivered because the recipient's mailbox is full.", alive(bounce.MailboxFull), 0},
	}},
	{name: "gmail", title: "Gmail", domains: []string{"gmail.com"}, cases: []happening{
		{"unknown", "5.1.1", "", "550-5.1.1 The email account that you tried to reach does not exist. Please\n550-5.1.1 try double-checking the recipient's email address for typos.\n550 5.1.1  https://support.google.com/mail/?p=NoSuchUser a1-20si42.1 - gsmtp", dead(bounce.UserUnknown), 0},
		{"unknown-ja", "5.1.1", "", "550 5.1.1 The email account that you tried to reach does not exist. https://support.google.com/mail/?p=NoSuchUser a1-20si42.1 - gsmtp", dead(bounce.UserUnknown), 0},
		{"full", "5.2.2", "", "552-5.2.2 The recipient's inbox is out of storage space. Please direct the\n552 5.2.2 recipient to https://support.google.com/mail/?p=OverQuotaPerm a1-20si42.1 - gsmtp", alive(bounce.MailboxFull), 0},
		{"inactive", "5.2.1", "", "550 5.2.1 The email account that you tried to reach is inactive. https://support.google.com/mail/?p=DisabledUser a1-20si42.1 - gsmtp", alive(bounce.Suspend), 0},
		{"expired", "4.4.1", "", "The recipient server did not accept our requests to connect. [{mx} {ip}: timed out]", alive(bounce.Expired), 0},
		{"no-domain", "5.1.2", "", "DNS Error: 42 DNS type 'mx' lookup of {domain} responded with code NXDOMAIN\nDomain name not found: {domain}", dead(bounce.HostUnknown), 0},
		{"blocked", "5.7.1", "", "550-5.7.1 [192.0.2.1] Our system has detected an unusual rate of\n550-5.7.1 unsolicited mail originating from your IP address.\n550 5.7.1 https://support.google.com/mail/?p=UnsolicitedIPError a1-20si42.1 - gsmtp", alive(bounce.RateLimited), 0},
		{"spam", "5.7.1", "", "550-5.7.1 [192.0.2.1] Our system has detected that this message is\n550-5.7.1 likely unsolicited mail. To reduce the amount of spam sent to Gmail,\n550 5.7.1 this message has been blocked. a1-20si42.1 - gsmtp", alive(bounce.SpamDetected), 0},
		{"auth", "5.7.26", "", "550-5.7.26 This mail has been blocked because the sender is unauthenticated.\n550-5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM.\n550 5.7.26 a1-20si42.1 - gsmtp", alive(bounce.AuthFailure), 0},
		{"delayed", "4.4.1", "", "The recipient server did not accept our requests to connect. [{mx} {ip}: timed out]", late(bounce.Expired), 0},
	}},
	{name: "google-relay", title: "Gmail as a relay, its text of old", cases: []happening{
		{"unknown", "", "", "550 550 5.1.1 <{rcpt}>: Recipient address rejected: User unknown (state 14).", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 552 5.2.2 <{rcpt}>: mailbox is full (state 14).", alive(bounce.MailboxFull), 0},
	}},
	{name: "google-groups", title: "Google Groups", domains: []string{"googlegroups.com"}, cases: []happening{
		{"refused", "", "", "", alive(bounce.Rejected), 0},
	}},
	{name: "yahoo", title: "Yahoo", domains: []string{"yahoo.com", "ymail.com", "aol.com"}, cases: []happening{
		{"unknown", "", "", "554: delivery error: dd This user doesn't have a {domain} account ({rcpt}) [0] - mta1.mail.yahoo.com", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552: 1 Requested mail action aborted, mailbox is over quota", alive(bounce.MailboxFull), 0},
		{"blocked", "", "", "553: 5.7.2 [TSS09] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed.", alive(bounce.Blocked), 0},
		{"policy", "", "", "554: 5.7.9 Message not accepted for policy reasons. See https://senders.yahooinc.com/error-codes", alive(bounce.PolicyViolation), 0},
	}},
	{name: "yahoo-jp", title: "Yahoo! JAPAN", domains: []string{"yahoo.co.jp", "ybb.ne.jp"}, cases: []happening{
		{"unknown", "", "", "554 delivery error: dd This user doesn't have a yahoo.co.jp account ({rcpt}) [-5] - mta7.mail.yahoo.co.jp [RCPT_TO]", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 delivery error: dd Sorry, your message to {rcpt} cannot be delivered. This account is over quota. - mta7.mail.yahoo.co.jp [BODY]", alive(bounce.MailboxFull), 0},
		{"inactive", "", "", "554 delivery error: dd Sorry your message to {rcpt} cannot be delivered. This account has been disabled or discontinued [#102]. - mta7.mail.yahoo.co.jp [RCPT_TO]", alive(bounce.Suspend), 0},
	}},
	{name: "ses", title: "Amazon SES", cases: []happening{
		{"unknown", "5.1.1", "", "550 5.1.1 user unknown", dead(bounce.UserUnknown), 0},
		{"full", "5.2.2", "", "552 5.2.2 mailbox full", alive(bounce.MailboxFull), 0},
		{"expired", "4.4.7", "", "Message expired: unable to deliver in 840 minutes.<421 4.4.0 Unable to lookup DNS for {domain}>", alive(bounce.Expired), 0},
		{"suppressed", "5.1.1", "", "Amazon SES did not send the message to this address because it is on the suppression list for your account. For more information about removing addresses from the suppression list, see the documentation.", alive(bounce.Suppressed), 0},
	}},
	{name: "sns", title: "Amazon SES by SNS, JSON; the return path and the Message-ID that it names are ours", cases: []happening{
		{"unknown", "5.1.1", "", "550 5.1.1 user unknown", dead(bounce.UserUnknown), toFeedback},
		{"full", "5.2.2", "", "552 5.2.2 mailbox full", alive(bounce.MailboxFull), toFeedback},
		{"complaint", "", "", "", complains, toFeedback},
	}},
	{name: "docomo", title: "docomo", domains: []string{"docomo.ne.jp"}, cases: []happening{
		{"unknown", "", "", "550 Unknown user {rcpt}", dead(bounce.UserUnknown), 0},
		{"filtered", "", "", "550 Unknown user {rcpt}", alive(bounce.Filtered), 0},
		{"filtered-dot", "", "", "550 Unknown user {rcpt}", alive(bounce.Filtered), 0},
		{"full", "", "", "552 too much mail data", alive(bounce.MailboxFull), 0},
	}},
	{name: "ezweb", title: "au, EZweb", domains: []string{"ezweb.ne.jp", "au.com"}, cases: []happening{
		{"unknown", "", "", "550 <{rcpt}>: User unknown", dead(bounce.UserUnknown), 0},
		{"filtered", "", "", "Each of the following recipients was rejected by a remote mail server.", alive(bounce.Filtered), 0},
		{"suspended", "", "", "The user(s) account is temporarily limited.", alive(bounce.Suspend), 0},
		{"disabled", "", "", "The user(s) account is disabled.", alive(bounce.Suspend), 0},
		{"full", "", "", "The user(s) account is temporarily over quota.", alive(bounce.MailboxFull), 0},
		{"expired", "", "", "The following recipients did not receive this message:", alive(bounce.Expired), 0},
	}},
	{name: "softbank", title: "SoftBank", domains: []string{"softbank.ne.jp", "i.softbank.jp"}, cases: []happening{
		{"unknown", "", rcpt, "550 5.1.1 Invalid recipient: <{rcpt}>", dead(bounce.UserUnknown), 0},
		{"full", "", rcpt, "552 5.2.2 <{rcpt}>: mailbox full", alive(bounce.MailboxFull), 0},
		{"size", "", dot, "552 5.3.4 Message size exceeds fixed limit", alive(bounce.EmailTooLarge), 0},
	}},
	{name: "kddi", title: "KDDI, au one net", domains: []string{"dion.ne.jp"}, cases: []happening{
		{"full", "", "", "As their mailbox is full.", alive(bounce.MailboxFull), 0},
		{"filtered", "", "", "550 User unknown", alive(bounce.Filtered), 0},
		{"unknown", "", "", "550 <{rcpt}>: User unknown", dead(bounce.UserUnknown), 0},
	}},
	{name: "biglobe", title: "BIGLOBE; the local part is masked", domains: []string{"biglobe.ne.jp"}, cases: []happening{
		{"full", "", "", "The number of messages in recipient's mailbox exceeded the local limit.", alive(bounce.MailboxFull), 0},
		{"unknown", "", "", "User unknown.", dead(bounce.UserUnknown), 0},
	}},
	{name: "ja-isp", title: "Japanese providers' own words, ISO-2022-JP", domains: []string{"nifty.com", "ocn.ne.jp", "so-net.ne.jp"}, cases: []happening{
		{"unknown", "", "", "宛先のメールアドレスは存在しません。", dead(bounce.UserUnknown), 0},
		{"full", "", "", "宛先のメールボックスの容量がいっぱいです。", alive(bounce.MailboxFull), 0},
		{"filtered", "", "", "受信者の設定により受信を拒否されました。", alive(bounce.Filtered), 0},
		{"spam", "", "", "迷惑メールと判定されたため、配信しませんでした。", alive(bounce.SpamDetected), 0},
	}},
	{name: "x1", title: "a gateway that names sender and recipient", cases: []happening{
		{"unknown", "", "", "550 5.1.1 User unknown", dead(bounce.UserUnknown), 0},
		{"full", "", "", "Mailbox full", alive(bounce.MailboxFull), 0},
	}},
	{name: "x2", title: "a gateway that mixes text and message", cases: []happening{
		{"unknown", "", "", "550 Sorry, no user by that name", dead(bounce.UserUnknown), 0},
		{"full", "", "", "Mailbox is full", alive(bounce.MailboxFull), 0},
		{"suspended", "", "", "550 This account has been suspended", alive(bounce.Suspend), 0},
	}},
	{name: "x3", title: "a gateway with SMTP:STEP lines", cases: []happening{
		{"unknown", "", "RCPT", "550 <{rcpt}>: no such user", dead(bounce.UserUnknown), 0},
		{"full", "", "RCPT", "552 <{rcpt}>: mailbox is full", alive(bounce.MailboxFull), 0},
		{"expired", "", "CONNECT", "connection timed out", alive(bounce.Expired), 0},
		{"policy", "", "DATA", "554 Message refused for policy reasons", alive(bounce.PolicyViolation), 0},
	}},
	{name: "x4", title: "a relative of qmail that is sorry", cases: []happening{
		{"unknown", "", "", "Sorry, no mailbox here by that name. vpopmail (#5.1.1)", dead(bounce.UserUnknown), 0},
		{"full", "", "", "mailbox is full: user over quota (#5.2.2)", alive(bounce.MailboxFull), 0},
	}},
	{name: "x5", title: "a gateway whose report is not called one", cases: []happening{
		{"unknown", "5.1.1", "", "550 5.1.1 <{rcpt}>: Recipient address rejected: User unknown", dead(bounce.UserUnknown), 0},
		{"full", "5.2.2", "", "552 5.2.2 <{rcpt}>: user is over quota", alive(bounce.MailboxFull), 0},
	}},
	{name: "x6", title: "a gateway that had trouble", cases: []happening{
		{"unknown", "", "RCPT TO", "550 5.1.1 User unknown", dead(bounce.UserUnknown), 0},
		{"full", "", "RCPT TO", "552 5.2.2 mailbox full", alive(bounce.MailboxFull), 0},
	}},
	{name: "domino", title: "Domino, Notes", cases: []happening{
		{"unknown", "5.1.1", "", "User {local} ({rcpt}) not listed in Domino Directory", dead(bounce.UserUnknown), 0},
		{"full", "5.2.2", "", "Recipient's mail database is over quota: mailbox full", alive(bounce.MailboxFull), 0},
	}},
	{name: "groupwise", title: "GroupWise", cases: []happening{
		{"unknown", "", "", "User {local} ({rcpt}) not found", dead(bounce.UserUnknown), 0},
		{"full", "", "", "The mailbox is full, the user's disk quota is exceeded", alive(bounce.MailboxFull), 0},
	}},
	{name: "mailmarshal", title: "MailMarshal", cases: []happening{
		{"unknown", "", "", "550 5.1.1 <{rcpt}>: user unknown", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 5.2.2 mailbox full", alive(bounce.MailboxFull), 0},
		{"policy", "", "", "554 5.7.1 the content of the message is not permitted by policy", alive(bounce.PolicyViolation), 0},
	}},
	{name: "interscan", title: "InterScan Messaging Security Suite", cases: []happening{
		{"unknown", "", "", "550 5.1.1 unknown user", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 5.2.2 mailbox full", alive(bounce.MailboxFull), 0},
		{"spam", "", "", "554 5.7.1 message refused as spam", alive(bounce.SpamDetected), 0},
	}},
	{name: "barracuda", title: "Barracuda", cases: []happening{
		{"spam", "5.7.1", "", "550 5.7.1 Message content rejected, UBE, id=01234-05-6", alive(bounce.SpamDetected), 0},
	}},
	{name: "ironport", title: "IronPort, Cisco", cases: []happening{
		{"unknown", "5.1.0", "", "550 5.1.1 <{rcpt}>: unknown address", dead(bounce.UserUnknown), 0},
		{"full", "5.2.2", "", "552 5.2.2 mailbox full", alive(bounce.MailboxFull), 0},
		{"blocked", "5.7.1", "", "554 5.7.1 your access to this mail system has been rejected due to the sending MTA's poor reputation", alive(bounce.BadReputation), 0},
	}},
	{name: "mimecast", title: "Mimecast", cases: []happening{
		{"unknown", "", "", "550 Invalid Recipient", dead(bounce.UserUnknown), 0},
		{"blocked", "", "", "550 csi.mimecast.org Poor Reputation Sender", alive(bounce.BadReputation), 0},
	}},
	{name: "powermta", title: "PowerMTA", cases: []happening{
		{"unknown", "5.1.1 (bad destination mailbox address)", "", "550 5.1.1 no such user", dead(bounce.UserUnknown), 0},
		{"full", "5.2.2 (mailbox full)", "", "552 5.2.2 mailbox quota exceeded", alive(bounce.MailboxFull), 0},
		{"blocked", "5.7.1 (delivery not authorized)", "", "554 5.7.1 client host blocked, see the block list", alive(bounce.Blocked), 0},
	}},
	{name: "haraka", title: "Haraka", cases: []happening{
		{"unknown", "5.1.1", "", "550 5.1.1 <{rcpt}> no such user", dead(bounce.UserUnknown), 0},
		{"full", "5.2.2", "", "552 5.2.2 mailbox full", alive(bounce.MailboxFull), 0},
	}},
	{name: "messaging-server", title: "Sun and Oracle Messaging Server", cases: []happening{
		{"unknown", "5.1.1", "", "unknown or illegal user", dead(bounce.UserUnknown), 0},
		{"full", "5.2.2", "", "user over quota", alive(bounce.MailboxFull), 0},
	}},
	{name: "communigate", title: "CommuniGate Pro", cases: []happening{
		{"unknown", "5.0.0", "", "account not found", dead(bounce.UserUnknown), 0},
		{"full", "5.2.2", "", "account is full (quota exceeded)", alive(bounce.MailboxFull), 0},
	}},
	{name: "mdaemon", title: "MDaemon", cases: []happening{
		{"unknown", "", "", "550 5.1.1 Recipient unknown <{rcpt}>", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 5.2.2 Mailbox is full <{rcpt}>", alive(bounce.MailboxFull), 0},
	}},
	{name: "imail", title: "IMail", cases: []happening{
		{"unknown", "", "", "Unknown user", dead(bounce.UserUnknown), 0},
		{"full", "", "", "User mailbox exceeds allowed size", alive(bounce.MailboxFull), 0},
	}},
	{name: "james", title: "Apache James", cases: []happening{
		{"unknown", "5.1.1", "", "550 5.1.1 Unknown user: {rcpt}", dead(bounce.UserUnknown), 0},
		{"full", "5.2.2", "", "552 5.2.2 Over quota", alive(bounce.MailboxFull), 0},
	}},
	{name: "zoho", title: "Zoho Mail", cases: []happening{
		{"unknown", "", "", "Invalid Address, ERROR_CODE :550, ERROR_CODE :5.1.1 no such user", dead(bounce.UserUnknown), 0},
		{"full", "", "", "Delivery failed, ERROR_CODE :552, ERROR_CODE :5.2.2 mailbox full", alive(bounce.MailboxFull), 0},
	}},
	{name: "icewarp", title: "IceWarp", cases: []happening{
		{"unknown", "", "", "550 Unknown user", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 Mailbox full", alive(bounce.MailboxFull), 0},
	}},
	{name: "mailenable", title: "MailEnable", cases: []happening{
		{"unknown", "", "", "550 No such user here", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 The mailbox is full", alive(bounce.MailboxFull), 0},
	}},
	{name: "hmailserver", title: "hMailServer; nothing of the message comes back", cases: []happening{
		{"unknown", "", "", "550 Unknown user", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 Mailbox full", alive(bounce.MailboxFull), 0},
	}},
	{name: "smartermail", title: "SmarterMail", cases: []happening{
		{"unknown", "", "", "550 <{rcpt}> No such user here", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 Requested mail action aborted: exceeded storage allocation", alive(bounce.MailboxFull), 0},
	}},
	{name: "m-filter", title: "m-FILTER", cases: []happening{
		{"unknown", "", "RCPT TO", "550 5.1.1 user unknown", dead(bounce.UserUnknown), 0},
		{"full", "", "RCPT TO", "552 5.2.2 mailbox full", alive(bounce.MailboxFull), 0},
	}},
	{name: "mail-ru", title: "Mail.Ru, Russian", domains: []string{"mail.ru"}, cases: []happening{
		{"unknown", "", "", "550 Message was not accepted -- invalid mailbox.  Local mailbox {rcpt} is unavailable: user not found", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 {rcpt}: mailbox is full", alive(bounce.MailboxFull), 0},
	}},
	{name: "gmx", title: "GMX", domains: []string{"gmx.de", "gmx.net"}, cases: []happening{
		{"unknown", "", "", "5.1.1 <{rcpt}>: no such user", dead(bounce.UserUnknown), 0},
		{"full", "", "", "5.2.2 <{rcpt}>: mailbox is full", alive(bounce.MailboxFull), 0},
	}},
	{name: "t-online", title: "T-Online, German", domains: []string{"t-online.de"}, cases: []happening{
		{"unknown", "", "", "550 Unbekannter Empfänger", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 Postfach des Empfängers ist voll", alive(bounce.MailboxFull), 0},
	}},
	{name: "orange", title: "Orange, French", domains: []string{"orange.fr", "wanadoo.fr"}, cases: []happening{
		{"unknown", "", rcpt, "550 5.1.1 Adresse d au moins un destinataire invalide. Adresse inconnue", dead(bounce.UserUnknown), 0},
		{"full", "", rcpt, "552 5.2.2 Boîte du destinataire pleine. Quota dépassé", alive(bounce.MailboxFull), 0},
	}},
	{name: "netease", title: "NetEase 163, Chinese", domains: []string{"163.com", "126.com"}, cases: []happening{
		{"unknown", "", "", "550 用户不存在", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 收件人邮箱已满", alive(bounce.MailboxFull), 0},
	}},
	{name: "naver", title: "Naver, Korean", domains: []string{"naver.com"}, cases: []happening{
		{"unknown", "", "", "550 존재하지 않는 사용자입니다.", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 5.2.2 mailbox full (수신자의 메일함 용량 초과)", alive(bounce.MailboxFull), 0},
	}},
	{name: "icloud", title: "iCloud", domains: []string{"icloud.com", "me.com"}, cases: []happening{
		{"full", "", rcpt, "552 5.2.2 <{rcpt}>: user is over quota", alive(bounce.MailboxFull), 0},
		{"policy", "", dot, "554 5.7.1 [CS01] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137", alive(bounce.PolicyViolation), 0},
	}},
	{name: "vtext", title: "Verizon's gateway to SMS", domains: []string{"vtext.com"}, cases: []happening{
		{"unknown", "", "", "550 - Requested action not taken: no such user here", dead(bounce.UserUnknown), 0},
	}},
	{name: "iis", title: "Windows SMTP service", cases: []happening{
		{"unknown", "5.1.1", "", "", dead(bounce.UserUnknown), 0},
		{"expired", "4.4.7", "", "", alive(bounce.Expired), 0},
		{"delayed", "4.4.7", "", "", late(bounce.Expired), 0},
	}},
	{name: "amavis", title: "amavis", cases: []happening{
		{"virus", "5.7.0", "", "554 5.7.0 Reject, id=01234-05 - VIRUS: Eicar-Test-Signature", alive(bounce.VirusDetected), 0},
		{"policy", "5.7.0", "", "554 5.7.0 Reject, id=01234-05 - BANNED: application/x-dosexec,.exe", alive(bounce.PolicyViolation), 0},
	}},
	{name: "dragonfly", title: "DragonFly Mail Agent", cases: []happening{
		{"unknown", "", "RCPT TO", "550 5.1.1 no such mailbox", dead(bounce.UserUnknown), 0},
		{"full", "", "RCPT TO", "552 5.2.2 mailbox full", alive(bounce.MailboxFull), 0},
		{"spam", "", "final DATA", "554 5.7.1 this looks like spam", alive(bounce.SpamDetected), 0},
	}},
	{name: "kerio", title: "Kerio", cases: []happening{
		{"unknown", "", "", "550 5.1.1 User unknown", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 5.2.2 Mailbox quota exceeded", alive(bounce.MailboxFull), 0},
	}},
	{name: "surgemail", title: "SurgeMail", cases: []happening{
		{"unknown", "", "", "the account does not exist.", dead(bounce.UserUnknown), 0},
		{"full", "", "", "the mailbox is full.", alive(bounce.MailboxFull), 0},
	}},
	{name: "mmdf", title: "MMDF", cases: []happening{
		{"unknown", "", "", "unknown user", dead(bounce.UserUnknown), 0},
	}},
	{name: "smail", title: "Smail", cases: []happening{
		{"unknown", "", "", "unknown user", dead(bounce.UserUnknown), 0},
	}},
	{name: "xmail", title: "XMail", cases: []happening{
		{"unknown", "", "", "550 No such user here", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 Mailbox full", alive(bounce.MailboxFull), 0},
	}},
	{name: "postoffice", title: "Post.Office", cases: []happening{
		{"unknown", "", "", "The user(s) account is not known at this site: unknown user", dead(bounce.UserUnknown), 0},
		{"full", "", "", "The user(s) account is temporarily over quota.", alive(bounce.MailboxFull), 0},
	}},
	{name: "proofpoint", title: "Proofpoint", cases: []happening{
		{"unknown", "", "", "550 5.1.1 <{rcpt}>: Recipient address rejected: User unknown", dead(bounce.UserUnknown), 0},
		{"full", "", "", "552 5.2.2 <{rcpt}>: mailbox is full", alive(bounce.MailboxFull), 0},
	}},

	{name: "complaint", title: "complaints", cases: []happening{
		{"arf", "", "", "", complains, toFeedback},
		{"yahoo", "", "", "", complains, toFeedback},
		{"hotmail", "", "", "", complains, toFeedback},
		{"aol", "", "", "", complains, toFeedback},
		{"spamcop", "", "", "", complains, toFeedback},
		{"apple", "", "", "", letterOf(bounce.KindUnsubscribe, "", bounce.WhereUnsubscribe, Suppresses), toUnsubscribe},
		{"not-spam", "", "", "", letterOf(bounce.KindOther, "", bounce.WhereReturnPath, Logs), toFeedback},
		{"forged", "", "", "", complains.wrong(), 0},
	}},
	{name: "away", title: "answers of machines", cases: []happening{
		{"plain", "", "", "", letterOf(bounce.KindAutoreply, bounce.DetailVacation, bounce.WhereReturnPath, Logs), 0},
		{"outlook", "", "", "", letterOf(bounce.KindAutoreply, bounce.DetailVacation, bounce.WhereReturnPath, Logs), 0},
		{"ja", "", "", "", letterOf(bounce.KindAutoreply, bounce.DetailVacation, bounce.WhereReturnPath, Logs), 0},
		{"left", "", "", "", letterOf(bounce.KindAutoreply, bounce.DetailVacation, bounce.WhereReturnPath, Logs), 0},
		{"ticket", "", "", "", letterOf(bounce.KindAutoreply, bounce.DetailAnswer, bounce.WhereMessageID, Logs), toAuthor},
		{"challenge", "", "", "", letterOf(bounce.KindAutoreply, bounce.DetailChallenge, bounce.WhereMessageID, Logs), toAuthor},
	}},
	{name: "receipt", title: "read receipts", cases: []happening{
		{"read", "", "", "", letterOf(bounce.KindAutoreply, bounce.DetailReceipt, bounce.WhereReturnPath, Logs), toAuthor},
		{"ja", "", "", "", letterOf(bounce.KindAutoreply, bounce.DetailReceipt, bounce.WhereReturnPath, Logs), toAuthor},
		{"deleted", "", "", "", letterOf(bounce.KindAutoreply, bounce.DetailReceipt, bounce.WhereReturnPath, Logs), toAuthor},
	}},
	{name: "arrived", title: "reports that all went well", cases: []happening{
		{"delivered", "2.0.0", "", "delivery via local: delivered to mailbox", letterOf(bounce.KindDelivered, "", bounce.WhereReturnPath, Logs), 0},
		{"relayed", "2.0.0", "", "relayed to a server that tells no more", letterOf(bounce.KindDelivered, "", bounce.WhereReturnPath, Logs), 0},
		{"expanded", "2.0.0", "", "expanded to the members of a list", letterOf(bounce.KindDelivered, "", bounce.WhereReturnPath, Logs), 0},
	}},
	{name: "leave", title: "mails to the unsubscribe address", cases: []happening{
		{"signed", "", "", "", letterOf(bounce.KindUnsubscribe, "", bounce.WhereUnsubscribe, Suppresses), toUnsubscribe},
		{"forged", "", "", "", letterOf(bounce.KindUnsubscribe, "", "", Logs).wrong(), toUnsubscribe},
	}},
	{name: "remove", title: "people who ask to be taken off", cases: []happening{
		{"en", "", "", "", letterOf(bounce.KindOther, bounce.DetailRemoval, bounce.WhereMessageID, Asks), toAuthor},
		{"ja", "", "", "", letterOf(bounce.KindOther, bounce.DetailRemoval, bounce.WhereMessageID, Asks), toAuthor},
		{"mobile", "", "", "", letterOf(bounce.KindOther, bounce.DetailRemoval, "", Asks), toAuthor},
	}},
	{name: "ordinary", title: "ordinary mail", cases: []happening{
		{"en", "", "", "", letterOf(bounce.KindOther, "", bounce.WhereMessageID, Logs), toAuthor},
		{"ja", "", "", "", letterOf(bounce.KindOther, "", bounce.WhereMessageID, Logs), toAuthor},
		{"postmaster", "", "", "", letterOf(bounce.KindOther, "", bounce.WhereReturnPath, Logs), 0},
		{"quarantine", "", "", "", letterOf(bounce.KindOther, "", bounce.WhereReturnPath, Logs), 0},
		{"dmarc", "", "", "", letterOf(bounce.KindOther, "", bounce.WhereReturnPath, Logs), 0},
		{"held", "", "", "", letterOf(bounce.KindOther, "", bounce.WhereReturnPath, Logs), 0},
	}},
	{name: "odd", title: "reports that are not as they should be", cases: []happening{
		{"anonymous", "5.1.1", "", "550 5.1.1 User unknown", dead(bounce.UserUnknown).unproven(), toLostPath},
		{"message-id", "5.1.1", "", "550 5.1.1 User unknown", dead(bounce.UserUnknown).by(bounce.WhereMessageID), toLostPath},
		{"envid", "5.1.1", "", "550 5.1.1 User unknown", dead(bounce.UserUnknown).by(bounce.WhereEnvelopeID), toLostPath},
		{"forged", "5.1.1", "", "550 5.1.1 User unknown", dead(bounce.UserUnknown).wrong(), 0},
		{"twice", "5.1.1", "", "550 5.1.1 User unknown", twice(dead(bounce.UserUnknown)), 0},
		{"forwarded", "5.1.1", "", "550 5.1.1 User unknown", elsewhere(dead(bounce.UserUnknown)), 0},
		{"no-end", "5.1.1", "", "550 5.1.1 User unknown", dead(bounce.UserUnknown), 0},
		{"nul", "5.1.1", "", "550 5.1.1 User unknown", dead(bounce.UserUnknown), 0},
		{"cr", "5.1.1", "", "550 5.1.1 User unknown", dead(bounce.UserUnknown), 0},
		{"html", "", "", "550 5.1.1 User unknown", dead(bounce.UserUnknown), 0},
		{"wrapped", "5.1.1", "", "550 5.1.1 User unknown", dead(bounce.UserUnknown), 0},
		{"contradicts", "5.1.1", "", "550 5.1.1 The mailbox is full", alive(bounce.MailboxFull), 0},
	}},
}

func twice(p Promise) Promise     { p.Copies = 2; return p }
func elsewhere(p Promise) Promise { p.Other = true; return p }

// remarks say what is the matter where the name does not.
var remarks = map[string]string{
	"odd-anonymous":   "the relay writes its own return path, and nothing of ours comes back",
	"odd-message-id":  "the relay writes its own return path; our Message-ID comes back",
	"odd-envid":       "the relay writes its own return path; our ENVID comes back",
	"odd-forged":      "the signature is altered by one character, everywhere",
	"odd-twice":       "the same report by two ways",
	"odd-forwarded":   "the mailbox is forwarded, and the address behind it is dead",
	"odd-no-end":      "the closing boundary is lost",
	"odd-nul":         "NUL bytes within the text",
	"odd-cr":          "lines end in CR alone",
	"odd-html":        "HTML only",
	"odd-wrapped":     "a gateway's report about a report",
	"odd-contradicts": "the code says unknown, the text says full",
	"complaint-apple": "the button of Apple Mail, which writes to the unsubscribe address",
}
