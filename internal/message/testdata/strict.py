"""Reads letters as JSON and says, a line each, what another implementation finds wrong with them.

    strict.py mime   Python's email package, strict: every defect is an error, and what it decodes is what was meant
    strict.py dkim   dkimpy: every signature holds, and no longer when a line is added
"""
import base64, email, email.errors, email.policy, json, sys

given = json.load(sys.stdin)
complaints = []


def same(letter, what, got, want):
    if got != want:
        complaints.append(f"{letter['name']}: {what}: {got!r}, want {want!r}")


def content(part):
    return part.get_payload(decode=True).decode(part.get_content_charset())


def mime(letter, raw):
    smtp = email.policy.SMTPUTF8 if letter["utf8"] else email.policy.SMTP
    if not letter["utf8"]:
        raw.partition(b"\r\n\r\n")[0].decode("ascii")
    # The parser of bytes knows no UTF-8 in headers (RFC 6532).
    message = email.message_from_string(raw.decode(), policy=smtp + email.policy.strict)
    same(letter, "line ends", raw.count(b"\n"), raw.count(b"\r\n"))
    for part in message.walk():
        same(letter, "defects of a part", list(part.defects), [])
        for name in set(part.keys()):
            same(letter, "number of " + name, len(part.get_all(name)), 2 if name == "DKIM-Signature" else 1)
            defects = [d for d in part[name].defects if not (letter["utf8"] and isinstance(d, email.errors.NonASCIILocalPartDefect))]
            same(letter, "defects of " + name, defects, [])
    same(letter, "subject", message["Subject"], letter["subject"])
    to = message["To"].addresses
    same(letter, "recipients", len(to), 1)
    same(letter, "recipient's name", to[0].display_name, letter["to_name"])
    local, _, domain = letter["to"].rpartition("@")
    same(letter, "recipient", (to[0].username, to[0].domain), (local, domain))
    same(letter, "sender's name", message["From"].addresses[0].display_name, letter["from_name"])
    texts = [p for p in message.walk() if not p.is_multipart() and not p.get_filename()]
    same(letter, "text", content(texts[0]), letter["text"])
    if letter["html"]:
        same(letter, "html", content(texts[1]), letter["html"])
    files = [p for p in message.walk() if p.get_filename()]
    same(letter, "files", [p.get_filename() for p in files], [f["name"] for f in letter["files"]])
    for part, f in zip(files, letter["files"]):
        same(letter, f["name"], part.get_payload(decode=True), base64.b64decode(f["body"]))


def dns(name, timeout=5):
    return given["records"].get(name.decode().rstrip("."), "").encode()


def signatures(letter, raw):
    import dkim

    def verify(raw):
        signed, holds = dkim.DKIM(raw), []
        for i in range(sum(name.lower() == b"dkim-signature" for name, _ in signed.headers)):
            try:
                holds.append(signed.verify(i, dnsfunc=dns))
            except dkim.ValidationError as e:
                holds.append(str(e))
        return holds

    same(letter, "signatures", verify(raw), [True, True])
    if True in verify(raw + b"and one more line\r\n") or True in verify(b"Subject: another\r\n" + raw):
        complaints.append(letter["name"] + ": a signature holds over what was added")


for letter in given["letters"]:
    try:
        (mime if sys.argv[1] == "mime" else signatures)(letter, base64.b64decode(letter["raw"]))
    except Exception as e:
        complaints.append(f"{letter['name']}: {type(e).__name__}: {e}")
for complaint in complaints:
    print(complaint)
