// Package internal is the map of the program.
//
// The life of a message, and who does what in it:
//
//	CSV row -> contact -> segment -> audience -> rendered message -> SMTP transaction -> delivery record
//	        -> bounce / complaint / unsubscribe -> suppression -> report
//
// Packages lie in rings. Imports point inwards, and sideways only among the nouns; layers_test.go holds them to it.
//
//	nouns     facts and rules, no input or output
//	  address      what an address is, how it is compared, what carriers allow
//	  contact      fields, their types and roles
//	  segment      who is meant: an expression, explained and compiled to a query
//	  campaign     the file with front matter; what is frozen at the first send
//	  message      template, links, headers, MIME, DKIM: the exact bytes
//	  delivery     states of a recipient, signed tokens, what a reply means for the next state
//	  bounce       what a returned mail says, and about whom
//	  suppression  who must not be mailed, and why
//	  spelling     the word that was probably meant
//	  prefecture   the prefectures and regions of Japan, by all their names
//	  pace         when a message may leave: rates, hours, warm-up, lanes, breakers
//	  provider     which domains are one receiving provider's, and how it takes mail
//	  zone         what an answer of the DNS says: found, nothing there, or nobody knows
//	  spf          may this address send for that domain, and what the record costs
//	  dkim         key records: what verifiers make of them, and what went wrong
//	  dmarc        which policy holds for a domain, and whether two names are aligned
//	  arrival      a mail as it came into a mailbox: its way, what the receiver found, what became of it
//	  statistics   how much a figure is worth that was counted from few messages
//	machines  touch the world, know no campaign
//	  config       mailer.yaml, environment, secrets
//	  relay        SMTP with the user's relay
//	  mailbox      IMAP with the bounce mailbox
//	  store        the database; all SQL is here
//	  sandbox      a mail world to rehearse in
//	  resolver     asks the DNS
//	  workbook     rows of an Excel sheet, as people see them
//	verbs     move data between them, named like the commands
//	  ingest       import
//	  export       contacts export
//	  send         send, relay test, relay bench
//	  collect      bounces sync
//	  schedule     run: what is due and when; it is given what it starts
//	  report       report, why
//	  doctor       doctor: will mail arrive, and if not, why
//	face
//	  ui           tables, progress, JSON lines
//
// cmd/mailer parses flags, calls a verb and prints. mailtest is for tests: scripted servers, certificates.
//
// Why one store and no interfaces over it: a bounce, its delivery and its suppression must commit together, so they
// share a file and a transaction. "5.1.1 at RCPT suppresses the address" is then a rule in suppression, a decision in
// send and a statement in store, and nothing stands between them.
//
// Why at most once: mail that was sent twice cannot be taken back, mail that was not sent can be sent later. A row is
// marked before the last byte of its message leaves. Whoever is found marked after a crash is uncertain: shown, counted
// and left alone until a person or a bounce settles it.
package internal
