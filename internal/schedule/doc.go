// Package schedule does what is due, when somebody looks: mailer run, once a minute.
//
//	At     a time as people write it -> the instant
//	Due    what is planned and what has begun -> what is to be done now, and in which order
//	Once   has it done: campaigns begin or go on side by side, the bounce mailbox is read beside them
//	Every  the same again and again, until it is told to stop
//
// What it starts it is given as functions: sending and reading bounces are verbs of their own.
//
// Why many may run at once: nothing here is decided by a process alone. A planned campaign is claimed in the store before anything of it
// is done, and the claim ends with the freezing of its audience in one transaction; a campaign's lease keeps it to one process; reading
// bounces has a lease, too. A crontab needs no lock around it, and a process that dies leaves what it had to the next.
//
// Why instants: a plan is made in a wall-clock time, and kept as the instant that this is. No change of the clocks then makes it come
// twice or not at all; a time that such a change skips or doubles is refused when the plan is made.
package schedule
