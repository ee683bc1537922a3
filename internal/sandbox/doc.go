// Package sandbox is a mail world to rehearse in: an SMTP server that takes every recipient, an IMAP account into which
// bounces, complaints, automatic replies and unsubscribe mails come, and a web page of the mail that was caught. All of it
// runs in one process, on loopback only, and nothing ever leaves the machine.
//
// What comes back is written in the formats of servers and providers: the table of families.go says what each of them tells and
// how it must be read, formats/ holds how it looks. A new format is a file and an entry; the tests then send, read and act on it.
//
// How a recipient behaves (its Personality) is drawn from the seed, the scenario and the address alone, or named by the
// address itself: unknown.taro@example.jp is always unknown. What follows a message is in the mailbox before the message's
// own reply is written, so that a rehearsal needs no waiting: what was sent has bounced.
package sandbox
