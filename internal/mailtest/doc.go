// Package mailtest holds what tests need of a mail world: an SMTP server that follows a script, an in-memory IMAP
// server, certificates, good and bad, and a private Postfix and Dovecot where the real ones are installed. Only tests
// import it.
//
// Nothing here sleeps to be lucky: a server that must be slow waits for a channel, for the client, or for a delay that
// the script asks for, and every goroutine has ended when the test has.
package mailtest
