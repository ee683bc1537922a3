package bounce

// textRule says that any of the phrases means the reason. Phrases are matched against matchable text: lower case, single
// spaces, addresses as <@>; "*" stands for anything between, "~" for a few words.
type textRule struct {
	reason  string
	phrases []string
}

// doubts are words that do not belong to a dead address.
var doubts = []string{
	"full", "quota", "space", "storage", "exceed", "temporar", "defer", "try again", "try later", "retry", "block", "spam", "virus", "policy", "reputation", "limit", "inactive", "disabled", "suspend", "locked", "expired", "sender", "greylist", "graylist", "throttl", "busy", "overload", "timeout", "timed out", "connection", "relay", "authenti", "容量", "一杯", "送信者",
}

// passing are words of what will be over. Beside words of a dead address they make it a soft one.
var passing = []string{
	"temporar", "at this time", "at the moment", "maintenance", "ldap", ", retry", "retry later", "try later", "try again later", "try again in", "not right now", "is being", "directory unavailable", "directory is unavailable", "一時的",
}

// cautions tell that a short reply with words of a dead address is about something else: the sender, the message, a fault.
var cautions = []string{
	"sender mailbox", "mail from user", "invalid mail from", "reverse path", "authentication", "password", "ptr ", "client host", "unknown host name", "your dns", "check your", "whitelist", "white list", "allow list", "allowlist", "allowed sender",
	"attachment", "in header", "to header", "from header", "in the header", "invalid header", "command unknown", "recipient option", "url ", "link to", "message-id", "database", "backend", "server failure", "servfail", "timeout", "timed out", "connection refused", "connection reset", "connection failed", "server not reachable", "unreachable",
	"attack", "harvest", "can post", "subscribe", " sender", "(sender", "sending host", "sending server", "unknown host for", "check failed", "return address", " bcc ", " until ", "recipient policy", "server unavailable", "or over", "or does not want", "or inactive", "or disabled", "or blocked", "or suspended", "or full", "from unknown user", "from an unknown", "bulk sender", "permitted to", "prohibition", "allow you", "allows you", "reply-to", "list of people", "list of senders", " loop", " hops", "this relay", "relay:", "access denied by", "syntax", "smtputf8", "too long", "expired",
}

// texts are asked in order; the first that matches decides. What is about us or the message stands before what is about the
// address: "user unknown" within a text that speaks of a block must never kill an address.
var texts = []textRule{
	// First the few phrases whose words would be taken for something else below.
	{Blocked, []string{
		"[tss09]", "[tss11]", "permanently deferred", "[bl2",
	}},
	{RateLimited, []string{
		"[tss0", "[ts0", "vs98-ip", "vs99-ip",
	}},
	{SystemFull, []string{
		"insufficient system storage",
	}},
	{ContentError, []string{
		"non-western", "character set",
	}},
	{Filtered, []string{
		"user does not accept", "user doesn't accept", "recipient does not accept", "recipient doesn't accept", "mailbox does not accept", "mailbox doesn't accept", "account does not accept", "address does not accept", "address doesn't accept",
		"does not accept mail from", "doesn't accept mail from", "does not accept email from", "does not accept e-mail from",
	}},
	{NetworkError, []string{
		"deferred: connection refused", // Sendmail's word for a port that nobody listens on; no server has spoken
	}},
	{SystemError, []string{
		"greylist", "graylist", "grey list", "gray list",
	}},
	{SpamDetected, []string{
		"迷惑メール", "スパム", "垃圾邮件", "垃圾郵件", "스팸",
	}},
	{Filtered, []string{
		"受信者の設定", "受信設定", "指定受信", "受信を拒否", "受信拒否",
	}},
	{Rejected, []string{
		"sendernotauthenticated", "resolver.rst.restricted", "resolver.rst.notauthorized", "transport.rules.rejectmessage",
	}},
	{PolicyViolation, []string{
		"blocked because its content", "blocked because of its content", "blocked because it contains", "policy restriction", "- banned:", "banned contents", "banned name", "banned file",
	}},
	{Rejected, []string{
		"verification failed for <@>", "sender verify failed",
	}},
	{SpamDetected, []string{
		"likely unsolicited", "message filtered*troubleshoot",
	}},
	{Suspend, []string{
		"non-payment", "nonpayment", "unpaid", "account is blocked", "account has been blocked", "account blocked", "mailbox is blocked", "mailbox has been blocked", "user is blocked", "account*is locked",
	}},
	{Filtered, []string{
		"recipient has blocked", "has blocked your", "blocked by recipient", "blocked by the recipient", "user has blocked", "has blocked mail", "has blocked you", "blocked your address",
	}},
	{MailboxFull, []string{
		"error writing message: file too large", "mailbox size limit", "mailbox size exceeded", "exceeds the mailbox size", "mailbox*storage limit",
	}},
	{AuthFailure, []string{
		"dmarc", "spf check", "spf record", "spf fail", "spf validation", "fails to pass spf", "failed spf", "spf: fail", "sender policy framework",
		"dkim check", "dkim fail", "dkim sig", "dkim verif", "authentication checks fail", "unauthenticated email", "unauthenticated e-mail",
		"required authentication level", "sender authentication", "is not allowed to send mail from", "is not allowed to send from",
		"not authorized to send from", "not permitted to send", "sender not authenticated", "does not designate", "authentication results are all fail",
		"must pass spf", "pass either spf", "failing authentication", "isn't aligned", "is not aligned", "sender is unauthenticated", "mail is unauthenticated", "message is unauthenticated", "email is unauthenticated", "arc fail", "spf violation", "spf policy", "spf error", "spf rejected", "failed dmarc",
	}},
	{RequirePTR, []string{
		"ptr record", "ptr resource record", "no ptr", "reverse dns", "rdns", "reverse lookup", "ip name lookup failed", "cannot find your hostname",
		"cannot find your reverse hostname", "client host rejected: cannot find", "hostname lookup failed", "no reverse", "fcrdns",
		"helo*does not resolve", "unresolvable relay host", "must have a valid ptr", "ip address does not resolve", "domain name*required in ehlo",
		"all mail servers must have", "requires that all mail servers", "does not have a valid hostname", "dynamic ip", "dynamic/residential",
		"dynamic pool", "generic ptr", "server access*forbidden by invalid record", "service permits*unverifyable sending ips", "unverifyable sending ip",
		"connections not accepted from servers without", "access*forbidden*dns record", "forward-confirmed",
	}},
	{BadReputation, []string{
		"low reputation", "poor reputation", "bad reputation", "reputation of the sending", "senderscore", "sender score", "reputation too low",
		"domain reputation", "has a poor", "ip reputation",
	}},
	{RateLimited, []string{
		"too many recipients", "too many connections", "too many concurrent", "too many sessions", "too many messages", "too many emails", "too many mails",
		"too much mail from", "connection frequency", "frequency limit", "rate limit", "rate that prevents", "ratelimit", "exceeded*per hour", "throttl",
		"unusual rate", "receiving mail too quickly", "receiving mail at a rate", "unexpected volume", "excessive volume", "message rate",
		"sending limit", "sending rate", "maximum number of messages", "max message per connection", "connection limit", "concurrency limit",
		"exceeded the maximum number of", "slow down", "too fast", "quota exceeded for sender", "daily message quota", "daily user sending",
		"sender rejected*spectrum", "try again later*rate", "too many invalid", "too many unknown", "server busy",
		"max messages per connection", "messages per connection", "too many errors", "too many failures", "too many bad commands", "recipients per", "frequency limited",
		"sending quota", "message quota", "sending too",
	}},
	{Blocked, []string{
		"spamhaus", "spamcop", "barracudacentral", "sorbs", "dnsbl", "surbl", "uribl", "dnswl", "blacklist", "black list", "blocklist", "block list", "block-list",
		"blacklisted", "denylist", "deny list", "blocked using", "blocked by", "is blocked", "was blocked", "are blocked", "been blocked", "ip blocked",
		"blocked -", "blocked ip", "banned sending ip", "banned", "your ip", "sending ip", "client ip", "source ip", "your network", "ip address*rejected",
		"ip address*denied", "ip address*blocked", "ip address*listed", " rbl", "rbl ", "rbl.", "/rbl", "is listed in", "is listed by", "is listed on", "is listed at", "bulk mailer", "open relay", "open proxy",
		"client host rejected", "client host blocked", "host rejected", "access denied*banned", "access denied...", "connection refused by", "connection rejected", "connections from",
		"not accepting connections from", "refused to talk to me: 5", "no access from mail server", "sender rejected*error", "sender ip", "mail server*blocked",
		"spam source", "spam incident", "incident de spam", "spamming", "network is temporarily blocked", "abuse from your", "not accept*from this host",
		"please use the smtp server", "use*your isp", "use*smtp relay", "bloquee", "bloqué", "host network not allowed", "not allowed to connect",
		"service refuse", "service unavailable; client", "suspicious client", "unsolicited*ip", "poor sender", "you are not allowed to send mail to",
		"helo command rejected", "helo:", "helo name", "helo argument", "helo host", "helo string", "helo is", "helo was", "helo domain", "invalid helo", "bad helo",
		"your helo", "ehlo name", "ehlo argument", "ehlo host", "invalid ehlo", "bad ehlo", "your ehlo", "550 helo", "550 ehlo", "helo/ehlo", "ehlo/helo",
		"not accepting connections", "connections will not be accepted", "your host", "your server", "your mail server", "your system is", "blocked:", "blocked;", "blocked,",
		"weren't sent. please contact", "unfortunately, messages from", "part of their network", "unfortunately messages from", "access from ip", "ip is denied",
		"your domain is", "your domain has", "traffic not accepted from", "outbound sender", "(rly:", "ip-lookup", "iplookup", "ipcheck", "ip address has been",
	}},
	{SpamDetected, []string{
		"spam", " ube", "unsolicited", "junk mail", "bulk mail", "likely suspicious", "message looks like", "considered unsolicited", "message content rejected",
		"content filter", "content denied", "identified as junk", "mail appears to be", "phishing",
		"probability of spam",
	}},
	{VirusDetected, []string{
		"virus", "malware", "infected", "trojan", "worm detected",
	}},
	{Suppressed, []string{
		"suppression list", "address is suppressed", "bounced address", "unsubscribed address", "spam reporting address",
		"has suppressed", "suppressed sending", "suppressed recipient", "on the suppression", "in suppression list",
	}},
	{NoRelaying, []string{
		"relay access denied", "relaying denied", "unable to relay", "relay not permitted", "relaying not", "not permitted to relay", "relay denied", "mail relay",
		"relaying to", "relay operation rejected", "no relaying", "not a relay", "is not in my rcpthosts", "isn't in my list of allowed", "rcpthosts", "cannot relay",
		"we do not relay", "non-accepted domain", "email address is not verified", "not verified. the following identities", "relay rejected",
		"domain isn't in my", "domain is not hosted", "not configured to relay", "authentication required to relay", "must be authenticated to relay", "insecure mail relay",
		"authentication required for relay", "relaying prohibited", "relay prohibited", "relay is prohibited", "not a local domain", "no relay", "not allowed to relay",
		"relaying disallowed", "do not relay", "relay not allowed", "relay forbidden",
	}},
	{Rejected, []string{
		"sender address rejected", "sender rejected", "sender denied", "sender verify failed", "sender verification", "sender address", "sender domain", "from address",
		"domain of sender", "envelope sender", "but sender was rejected", "invalid sender", "bad sender", "unknown sender", "sender unknown", "sender not",
		"from: domain is invalid", "from domain", "mail from domain", "mailfrom domain", "reverse-path", "return path", "null sender", "empty envelope sender", "backscatter",
		"different address or alias", "send mail as", "rule imposed mailbox access", "only accepts mail from", "not accept mail from", "restricted*senders",
		"sender is not allowed", "you don't have permission to", "not authorized to send to", "may not have permission to post", "badmailfrom",
		"restricted to", "posting to this group", "not allowed to post",
		"sender's domain", "sender's address", "sender's mail", "verification failed for", "your address", "your sender", "your from", "unverified sender", "sender~does not exist", "sender~not exist", "sender~not found", "sender~unknown", "sender~invalid", "your domain", "your mail domain", "your envelope", "your hostname", "your host name", "originating domain", "return-path domain", "envelope from", "envelope-from", "送信元", "送信者", "差出人", "发件人", "expéditeur", "absender", "remitente", "mittente", "отправител", "rejected*sender",
		"sending domain",
	}},
	{NotCompliantRFC, []string{
		"rfc 5322", "rfc5322", "rfc 2822", "rfc2822", "rfc 822 ", "not rfc", "multiple addresses in from", "missing from", "missing*header", "invalid header",
		"duplicate header", "bare lf", "bare newline", "messages missing", "not compliant", "malformed", "header*malformed", "headers too large", "line too long", "lines too long",
		"message-id header", "message-id~invalid", "message-id~not exist", "missing message-id", "no message-id", "invalid date",
	}},
	{EmailTooLarge, []string{
		"message too big", "message too large", "message size", "mail size", "size limit", "too large", "too big", "message length exceed", "max message size", "maximum message size",
		"message is larger", "fixed maximum", "exceeds the maximum size", "exceeded max", "exceeds limit", "exceeds size", "message exceeds", "recipsizelimit", "size exceed",
		"line limit exceeded",
	}},
	{MailboxFull, []string{
		"mailbox full", "mailbox is full", "mailbox*is full", "mail box full", "mailbox size limit", "mailbox limit", "mailbox quota", "over quota", "overquota", "quota exceed",
		"exceeded*quota", "exceeds*quota", "exceeds allowed size", "exceeded*storage", "storage quota", "out of storage", "exceeded allocation", "insufficient*storage space",
		"not enough disk space", "not enough storage", "no disk space", "insufficient disk", "disk full", "disk quota", "user is over",
		"over the maximum", "over the allowed quota", "full mailbox", "inbox is full", "inbox full", "too much mail data", "mailbox has exceeded", "account is over",
		"maildir delivery failed", "delivery would exceed", "account is full", "temporarily over quota", "mailbox is currently full", "folder is full", "disk space limit", "quota full", "quota violation",
		"out of quota", "over disk", "message would exceed", "has exceeded", "postfach*voll", "boîte*pleine", "buzón*lleno", "mailbox for user is full", "sorry, user's mailbox",
		"メールボックス*いっぱい", "容量*超え", "容量オーバー", "容量超過",
		"out of space", "storage exceeded", "mailbox temporarily full", "temporarily full", "容量が一杯", "容量がいっぱい", "容量*一杯", "容量*いっぱい", "満杯", "容量制限", "insufficient space",
		"casella*piena", "boite*pleine", "dépassé*quota", "quota*dépassé", "quota*überschritten", "cuota*excedid", "邮箱已满", "已满", "空间不足", "почтовый ящик*переполнен",
		"переполнен",
		"exceeded the local limit", "exceeded*mailbox limit", "number of messages*exceed",
	}},
	{Suspend, []string{
		"account is disabled", "account has been disabled", "account disabled", "mailbox disabled", "mailbox is disabled", "account is inactive", "mailbox is inactive", "user is inactive",
		"account*is inactive", "you tried to reach is disabled", "you tried to reach is inactive", "recipient is disabled", "disabled recipient", "account is locked", "account locked",
		"account is suspended", "account suspended", "account has been suspended", "user suspended", "user is suspended", "mailbox suspended", "account temporarily suspended", "user temporarily suspended", "recipient suspended", "has been suspended",
		"account*deactivated", "mailbox*deactivated", "account expired", "account is not active", "mailbox is not active", "user is not active", "inactive user", "inactive account", "inactive mailbox", "temporarily disabled", "user disabled",
		"mailbox temporarily disabled", "account is temporarily limited", "temporarily limited", "is frozen", "currently suspended", "not active anymore", "domain is suspended", "has been disabled",
		"recipient address disabled", "user account disabled", "account is*closed for", "account is on hold", "unpaid", "bad destination mailbox address: suspended",
		"account is expired", "account has expired", "account inactive", "user inactive", "account*has been disabled", "mailbox locked", "mailbox is locked",
		"address is disabled", "user is disabled", "mailbox*has been disabled", "user is locked", "休止中", "停止され",
	}},
	{Filtered, []string{
		"refused due to recipient preferences", "recipient preferences", "message filtered", "filtered by the recipient", "rejected by recipient", "blocked by the recipient", "blocked by recipient",
		"rejected by a remote mail server", "rejected by user", "refused by the recipient", "recipient does not accept", "user refuses to receive", "user does not wish",
		"is in my badrcptto", "badrcptto", "not accepting mail from you", "because the recipient is not accepting", "recipient has refused", "does not accept mail from you", "受信拒否",
		"recipient refuses", "refused by user", "refused mail from you", "does not want to receive", "受信を拒否",
	}},
	{HasMoved, []string{
		"recipient no longer", "no longer on server", "no longer on this server", "destination mailbox has moved", "has moved", "mailbox has been moved", "user has moved", "moved to another",
		"not our user", "not our customer", "user not local", "is not local; please", "has left the company", "no longer with", "no longer employed", "no longer works", "no longer at", "has changed address", "new address is",
		"mailbox is no longer", "email address has changed", "address no longer",
	}},
	{NetworkError, []string{
		"not found, try again", "host name lookup failure", "temporary lookup failure", "name resolution*temporar", "temporary failure in name resolution",
	}},
	{HostUnknown, []string{
		"host unknown", "unknown host", "host not found", "host or domain name not found", "domain not found", "domain name not found", "couldn't find any host", "no mail hosts for domain", "unknown domain", "domain does not exist", "domain doesn't exist", "no such domain", "no such host", "nxdomain", "invalid domain",
		"bad destination system", "unrouteable address", "unrouteable mail domain", "unroutable address", "unroutable domain", "unrouteable domain", "domain must exist", "dns lookup failure: host", "domain unknown", "illegal host", "all relevant mx records point to non-existent",
		"domain is not reachable", "recipient's domain name", "host/domain", "domain couldn't be found", "no such name", "illegal domain", "name or service not known", "null host", "domain isn't valid",
		"domain name does not exist", "dns domain*does not exist", "550 domain*does not exist", "domain could not be found", "infodomainnonexistent",
		"recipient domain*not found", "domain*nonexistent", "domain*non-existent", "ドメインが存在しません", "ドメインは存在しません", "ドメインが見つかりません", "domaine inconnu", "domäne*nicht gefunden",
		"dominio*no existe",
		"domain~does not exist", "domain~not found", "host~not found", "lookup~nxdomain", "domain~could not be found", "domain~couldn't be found",
	}},
	{UserUnknown, []string{
		"user unknown", "unknown user", "user is unknown", "recipient is unknown", "address is unknown", "address couldn't be found", "address could not be found", "user could not be found", "user couldn't be found", "recipient could not be found", "recipient name is not recognized", "unable to find user", "unable to find recipient", "not listed in*directory", "not listed in*address book", "user not registered", "address is not registered", "user is not registered", "recipient is not registered", "アドレスが見つかりません", "アドレスは存在しません", "ユーザーは存在しません", "ユーザは存在しません", "宛先は存在しません", "user <@> unknown", "unknown recipient", "recipient unknown", "unknown local", "unknown local-part", "unknown address", "unknown mailbox",
		"unknown or illegal alias", "unknown account", "unknown email", "unknown destination address",
		"no such user", "no such recipient", "no such mailbox", "no such account", "no such address", "no such person", "no such email", "no such local user", "no mailbox here", "no mailbox by that name",
		"no mailbox found", "no account by that name", "no valid recipient", "no user by", "not a valid recipient", "not a valid mailbox", "not a valid user", "not a known user", "is not a known",
		"user not found", "recipient not found", "recipnotfound", "recipientnotfound", "mailbox not found", "account not found", "address not found", "addressee unknown", "alias not found", "user does not exist", "user doesn't exist", "user not exist", "user*does not exist", "recipient does not exist",
		"recipient address does not exist", "recipient doesn't exist", "mailbox does not exist", "mailbox doesn't exist", "account does not exist", "account that you tried to reach does not exist",
		"address does not exist", "address doesn't exist", "tried to reach does not exist", "does not exist here", "does not exist on this server", "does not exist in",
		"doesn't have a*account", "does not have a*account", "doesn't have an account", "has no mailbox", "have a mailbox here",
		"invalid recipient", "recipient invalid", "invalid mailbox", "invalid user", "invalid address", "invalid local", "bad recipient", "bad destination mailbox address", "bad destination email", "illegal alias", "illegal user",
		"mailbox unavailable", "mailbox is unavailable", "mailbox not available", "mailbox name not allowed", "not in directory", "not present in directory", "is not a registered",
		"wasn't found at", "was not found at", "isn't a valid", "not our account", "user has no", "delivery to*unknown", "mail address not exist", "adresse destinataire invalide", "destinataire inconnu", "utilisateur inconnu", "usuario desconocido", "empfänger unbekannt", "existiert nicht",
		"unroutable user", "there is no user", "there is no one", "no one here", "this address no longer accepts mail", "address unknown", "addressee not found", "宛先不明", "ユーザが不明", "account is no longer",
		"5.1.0 address rejected", "validrcptto", "user not known", "user is not known", "not known here", "recipient not known", "account not available", "non-existent user",
		"nonexistent user", "non-existent mailbox", "nonexistent mailbox", "non-existent recipient", "nonexistent recipient", "non-existent address", "nonexistent address",
		"account is unknown", "mailbox*does not exist", "non è valido", "indirizzo non valido", "mailbox is unknown", "mailbox unknown", "mailbox not exist", "email not found", "no such alias", "no such id",
		"no such name here", "no mailbox for", "no user with", "not a user here", "is not a user", "account doesn't exist", "account not exist", "account unknown",
		"marked as invalid", "adresse inconnue", "adresse inexistante", "destinatario desconocido", "destinatario inexistente", "usuario inexistente", "usuario no existe",
		"no existe el usuario", "no existe", "utente sconosciuto", "utente inesistente", "casella inesistente", "destinatario sconosciuto", "unbekannter empfänger",
		"unbekannter benutzer", "empfänger*nicht gefunden", "benutzer unbekannt", "nicht gefunden werden", "onbekende gebruiker", "okänd", "usuário desconhecido",
		"usuário inexistente", "não existe", "nie istnieje", "нет такого пользователя", "пользователь не найден", "не существует", "存在しません", "存在しない", "見つかりませんでした", "見つかりません",
		"用户不存在", "收件人不存在", "不存在", "查无此人", "존재하지",
		"user~not found", "mailbox~not found", "recipient~not found", "account~not found", "account~does not exist", "recipient~does not exist", "address~does not exist", "alias~does not exist", "username~does not exist", "user~not known", "mailbox~no longer exist", "user~no longer exist", "account~no longer exist", "address~no longer exist", "recipient~no longer exist",
	}},
	{NotAccept, []string{
		"does not accept mail", "doesn't accept mail", "not accept email", "doesn't receive email", "does not receive email", "does not receive mail", "null mx", "nullmx", "no mx found for domain", "no mx record found", "couldn't find a mail exchanger",
		"host does not accept", "not accepting network messages", "mail receiving disabled", "no mail exchanger", "indicated no smtp service",
	}},
	{FailedSTARTTLS, []string{
		"starttls", "tls required", "tls is required", "ssl error", "tls handshake", "tls negotiation", "certificate verif",
	}},
	{SystemFull, []string{
		"mail system full", "system storage full", "no space left", "server full",
	}},
	{MailerError, []string{
		"x-unix", "pipe to", "pipe command", "command died", "command failed", "command output", "child crashed", "exited with", "procmail", "local mailer", "mailer error", "error writing message", "user defined alias",
		"child process of", "address_pipe", "pipe delivery", "execution failed", "program failed", "filter failed",
	}},
	{Expired, []string{
		"queue too long", "retry timeout exceeded", "message expired", "envelope expired", "delivery time expired", "maximum retries", "timed out", "timeout", "time out", "timed-out", "failed*attempts", "retry time not reached",
		"undeliverable after", "could not be delivered for", "unable to deliver this message after", "unable to connect", "did not accept our requests to connect", "host not reachable", "not reachable", "unable to contact", "was undeliverable within", "has been in the queue", "delivery expired", "gave up", "giving up",
		"being unable to connect",
	}},
	{NetworkError, []string{
		"lost connection", "connection lost", "connection dropped", "connection reset", "connection refused", "could not connect", "couldn't connect", "cannot connect", "no route to host", "network is unreachable", "network error", "host is unreachable", "host is down", "name service error",
		"name server", "dns failure", "dns error", "dns query", "too many hops", "hop count", "mail loop", "routing loop", "loops back", "loop detected", "mail forwarding loop", "conversation with", "connection broken", "too many received", "malformed name server", "communicating with",
	}},
	{SystemError, []string{
		"system error", "system config", "internal error", "internal server error", "server error", "internal software", "local configuration", "configuration error", "local error in processing", "temporary failure", "temporarily unavailable", "service currently unavailable", "service unavailable", "service not available",
		"transaction failed", "ldap", "insufficient system resources", "resources temporarily", "could not load", "upstream error", "processing error", "cannot send e-mail to yourself", "duplicated message-id", "insufficient permission", "proxy", "timeout waiting", "lmtp", "temporary problem", "temporary error", "unexpected error", "storage", "try again later",
		"please try later",
	}},
	{SyntaxError, []string{
		"improper sequence", "bad sequence", "syntax error", "need rcpt", "need mail", "command not recognized", "unrecognized command", "command unrecognized", "unexpected*command", "nested mail command", "unknown command",
	}},
	{PolicyViolation, []string{
		"recipient address rejected: access denied",
		"policy reasons", "by policy", "local policy", "policy violation", "policy", "not allowed by", "prohibited", "illegal attachment", "blocked because its content", "attachment", "security policies", "forbidden", "not permitted", "message rejected", "message refused",
		"message was rejected", "mail rejected", "email rejected", "mail refused", "rejected by system", "rejected by the", "administrative prohibition", "administrative restriction",
	}},
	{SecurityError, []string{
		"authentication", "unauthenticated", "not authorized", "unauthorized", "access denied", "permission denied", "security", "smtp auth", "insecure", "verification failure", "not authenticated",
	}},
}
