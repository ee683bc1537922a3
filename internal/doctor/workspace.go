package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mailer/internal/config"
	"mailer/internal/store"
)

// WorkspaceFacts is what the checks of a workspace need to know. What is empty is not checked.
type WorkspaceFacts struct {
	Dir     string
	Files   []File
	Secrets []Secret

	Now       time.Time
	LastEvent time.Time // the newest thing that the database has noted
	Timezone  string
	Clocks    []Clock // what others say of the time

	Free      int64 // bytes
	FreeKnown bool

	Database    store.Checked
	DatabaseErr error

	Backup     time.Time // the newest that the database knows of; zero: none
	BackupFile string
	BackupGone bool // the file is not where it was written to

	Jobs   []Job
	Unread []string // crontabs and the like that could not be read

	Planned []Planned
	Going   []string // campaigns with somebody left to send to
}

// File is a file whose mode matters.
type File struct {
	Path   string
	Holds  string // "the database", "a private key"
	Mode   fs.FileMode
	Folder bool
	Err    error
}

// Secret is a password of mailer.yaml.
type Secret struct {
	Key   string // relays.main
	Plain bool   // it stands in the file
	From  string // where it comes from, for people
	Err   error  // why it cannot be had
}

// Clock is what somebody else says of the time, such as the relay in a Received line.
type Clock struct {
	Who   string
	Ahead time.Duration // how much our clock is ahead of theirs
}

// Planned is a campaign that is to begin at a time.
type Planned struct {
	Name string
	At   time.Time
}

// Workspace says what is wrong with a workspace, from what is known of it.
func Workspace(f WorkspaceFacts) []Finding {
	var all []Finding
	for _, check := range []func(WorkspaceFacts) []Finding{checkFiles, checkSecrets, checkClock, checkDisk, checkDatabase, checkBackups, checkJobs, checkPlanned} {
		all = append(all, check(f)...)
	}
	for i := range all {
		f := &all[i]
		f.Area, f.Found, f.Why, f.Do = "workspace", sentenceOf(f.Found), sentenceOf(f.Why), capital(f.Do)
	}
	return all
}

// sentenceOf begins a text with a capital letter and ends it with a full stop.
func sentenceOf(text string) string {
	if text == "" || strings.HasSuffix(text, ".") {
		return capital(text)
	}
	return capital(text) + "."
}

// capital begins a text with a capital letter, unless it begins with a command, which is copied.
func capital(text string) string {
	r, n := utf8.DecodeRuneInString(text)
	if n == 0 || strings.HasPrefix(text, "mailer ") || strings.HasPrefix(text, "chmod ") {
		return text
	}
	return string(unicode.ToUpper(r)) + text[n:]
}

// LookAtWorkspace finds the facts out. st may be nil: then what only the database knows is left out. clocks is what was heard of the
// time elsewhere.
func LookAtWorkspace(ctx context.Context, ws *config.Workspace, st *store.Store, gone func(holder string) bool, now time.Time, clocks []Clock) WorkspaceFacts {
	f := WorkspaceFacts{Dir: ws.Dir, Now: now, Timezone: ws.Config.Timezone, Clocks: clocks}
	f.lookAtSecrets(ctx, ws)
	f.lookAtFiles(ws)
	f.Free, f.FreeKnown = freeBytes(ws.Dir)
	f.Database, f.DatabaseErr = store.Check(ctx, ws.Database(), store.CheckOptions{Quick: true, Now: func() time.Time { return now }, Gone: gone})
	f.LastEvent = f.Database.LastChange
	if f.Database.LastSent.After(f.LastEvent) {
		f.LastEvent = f.Database.LastSent
	}
	f.Jobs, f.Unread = readJobs(ctx)
	if st != nil && f.DatabaseErr == nil {
		f.DatabaseErr = f.ask(ctx, st)
	}
	if f.BackupFile != "" {
		_, err := os.Stat(f.BackupFile)
		f.BackupGone = errors.Is(err, fs.ErrNotExist)
	}
	return f
}

// ask reads what the database knows of backups and plans.
func (f *WorkspaceFacts) ask(ctx context.Context, st *store.Store) error {
	var err error
	if f.Backup, f.BackupFile, err = st.LastBackup(ctx); err != nil {
		return err
	}
	planned, err := st.Schedules(ctx)
	if err != nil {
		return err
	}
	for _, c := range planned {
		if c.State != store.ScheduleMissed {
			f.Planned = append(f.Planned, Planned{c.Name, c.At})
		}
	}
	going, err := st.Going(ctx)
	for _, g := range going {
		if g.Open && g.Holder == "" {
			f.Going = append(f.Going, g.Name)
		}
	}
	return err
}

func (f *WorkspaceFacts) lookAtSecrets(ctx context.Context, ws *config.Workspace) {
	add := func(key string, s config.Secret) {
		if s.IsZero() {
			return
		}
		_, err := s.Resolve(ctx, ws.Dir)
		f.Secrets = append(f.Secrets, Secret{Key: key, Plain: s.Plain != "", From: s.String(), Err: err})
	}
	for _, r := range ws.Config.Relays {
		add("relays."+r.Name, r.Secret)
	}
	add("bounces.mailbox", ws.Config.Bounces.Mailbox.Secret)
}

func (f *WorkspaceFacts) lookAtFiles(ws *config.Workspace) {
	add := func(path, holds string) {
		st, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) && holds == "the database" {
			return
		}
		file := File{Path: path, Holds: holds, Err: err}
		if err == nil {
			file.Mode, file.Folder = st.Mode(), st.IsDir()
		}
		f.Files = append(f.Files, file)
	}
	add(ws.Dir, "the workspace")
	if slices.ContainsFunc(f.Secrets, func(s Secret) bool { return s.Plain }) {
		add(ws.Path, "a password")
	}
	add(ws.Database(), "the database")
	for _, k := range ws.Config.DKIM {
		add(ws.Abs(k.KeyFile), "a private key")
	}
}

func checkFiles(f WorkspaceFacts) []Finding {
	var all []Finding
	for _, file := range f.Files {
		p := Finding{Check: "files", Subject: file.Path, Own: true}
		switch open := file.Mode.Perm() & 0o077; {
		case file.Err != nil:
			p.Level, p.Found, p.Do = Fail, fmt.Sprintf("the file that should hold %s cannot be read: %v", file.Holds, file.Err), "put it there, or name another one in mailer.yaml"
		case runtime.GOOS == "windows": // Go makes modes up there
			continue
		case file.Folder && file.Mode.Perm()&0o002 != 0 && file.Mode&fs.ModeSticky == 0:
			p.Level, p.Found = Warn, fmt.Sprintf("everybody on this machine may write to the folder (mode %04o)", file.Mode.Perm())
			p.Why, p.Do = "whoever can replace mailer.yaml has its passwords sent to a relay of their own", "chmod o-w "+file.Path
		case !file.Folder && open != 0:
			p.Level, p.Found = Warn, fmt.Sprintf("others on this machine can read it (mode %04o), and it holds %s", file.Mode.Perm(), file.Holds)
			p.Why, p.Do = whyPrivate[file.Holds], "chmod 600 "+file.Path
		default:
			p.Level, p.Found = Pass, fmt.Sprintf("only you can read it (mode %04o)", file.Mode.Perm())
			if file.Folder {
				p.Found = fmt.Sprintf("others cannot write to it (mode %04o)", file.Mode.Perm())
			}
		}
		p.Own = p.Level == Fail
		all = append(all, p)
	}
	return all
}

var whyPrivate = map[string]string{
	"the database":  "it holds everybody's address, and the keys that sign the tokens of your messages",
	"a private key": "whoever has it can sign mail as your domain",
	"a password":    "whoever has it can send through your relay",
}

func checkSecrets(f WorkspaceFacts) []Finding {
	var all []Finding
	for _, s := range f.Secrets {
		p := Finding{Check: "secrets", Subject: s.Key}
		switch {
		case s.Err != nil:
			p.Level, p.Own = Fail, true
			p.Found, p.Why = fmt.Sprintf("the password cannot be had (%s): %v", s.From, s.Err), "without it the server refuses the login, and nothing is sent or read"
			p.Do = "mend what the message names; cron has not the environment of your shell: set the variable in the crontab, or take password_file"
		case s.Plain:
			p.Level, p.Found = Warn, "the password stands in mailer.yaml"
			p.Why, p.Do = "it goes wherever the file goes: into git, into copies", "use password_file (mode 0600), password_env or password_command"
		default:
			p.Level, p.Found = Pass, "the password is there: "+s.From
		}
		all = append(all, p)
	}
	return all
}

// skew is how far clocks may be apart: mail takes minutes, and clocks that are kept by NTP differ by milliseconds.
const skew = 5 * time.Minute

func checkClock(f WorkspaceFacts) []Finding {
	const why = "a Date or a DKIM signature from the future counts as spam or is not believed (RFC 6376 section 3.5), and rates, waits and planned times follow this clock"
	const do = "set the clock and keep it by NTP: timedatectl set-ntp true"
	var all []Finding
	if _, err := time.LoadLocation(f.Timezone); err != nil {
		all = append(all, Finding{Check: "clock", Subject: "timezone", Level: Fail, Own: true, Found: fmt.Sprintf("the time zone %q is not known here: %v", f.Timezone, err),
			Why: "hours, planned times and days are told in it", Do: "write timezone: in mailer.yaml as Asia/Tokyo, or UTC"})
	}
	if f.Now.IsZero() {
		return all
	}
	if behind := f.LastEvent.Sub(f.Now); behind > skew {
		all = append(all, Finding{Check: "clock", Level: Fail, Own: true, Why: why, Do: do + "; if the clock was wrong before and is right now, this mends itself",
			Found: fmt.Sprintf("the clock says %s, and the database has notes of %s, %s later", stamp(f.Now), stamp(f.LastEvent), about(behind))})
	}
	for _, c := range f.Clocks {
		if c.Ahead.Abs() <= skew {
			continue
		}
		direction := "ahead of"
		if c.Ahead < 0 {
			direction = "behind"
		}
		all = append(all, Finding{Check: "clock", Subject: c.Who, Level: Fail, Own: true, Why: why, Do: do,
			Found: fmt.Sprintf("this machine's clock is %s %s that of %s", about(c.Ahead.Abs()), direction, c.Who)})
	}
	if len(all) == 0 {
		all = append(all, Finding{Check: "clock", Level: Pass, Found: "it is " + stamp(f.Now) + ", which nothing speaks against"})
	}
	return all
}

// leastFree is room for the log of a send; with less it may end at any moment.
const leastFree = 64 << 20

func checkDisk(f WorkspaceFacts) []Finding {
	if !f.FreeKnown {
		return []Finding{{Check: "disk", Level: Unknown, Found: "how much room is left on the disk could not be found out", Subject: f.Dir}}
	}
	need := 2*f.Database.Bytes + f.Database.WAL
	p := Finding{Check: "disk", Subject: f.Dir, Level: Pass, Found: fmt.Sprintf("%s are free, the database has %s", mega(f.Free), mega(f.Database.Bytes))}
	switch {
	case f.Free < leastFree:
		p.Level, p.Own = Fail, true
		p.Why, p.Do = "a send that finds the disk full ends, and what was on the wire is in doubt", "make room"
	case f.Free < need:
		p.Level = Warn
		p.Why = "a restore, an update of mailer and contacts forget need the database's size and its size again"
		p.Do = fmt.Sprintf("make room: %s would do; old copies (mailer.db.schema*, mailer.db.before-restore-*) may go", mega(need))
	}
	return []Finding{p}
}

func checkDatabase(f WorkspaceFacts) []Finding {
	if errors.Is(f.DatabaseErr, fs.ErrNotExist) {
		return []Finding{{Check: "database", Level: Warn, Found: "there is no database", Why: "without it nobody knows who was mailed and who must not be",
			Do: "if it was there before: mailer restore FILE; else mailer import makes one"}}
	}
	if f.DatabaseErr != nil {
		p := Finding{Check: "database", Level: Unknown, Found: f.DatabaseErr.Error(), Do: "run mailer db check"}
		if errors.Is(f.DatabaseErr, store.ErrDamaged) || errors.Is(f.DatabaseErr, store.ErrForeign) {
			p.Level, p.Own, p.Do = Fail, true, "restore a backup: mailer restore FILE"
		}
		return []Finding{p}
	}
	if f.Database.Schema == 0 && len(f.Database.Problems) == 0 {
		return nil
	}
	var all []Finding
	for _, b := range f.Database.Problems {
		p := Finding{Check: "database", Subject: b.Check, Level: Warn, Found: b.Found, Do: b.Do, Detail: b.Detail}
		if b.Level == store.ProblemError {
			p.Level, p.Own, p.Why = Fail, true, "mail may go to the wrong people, or twice"
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		all = append(all, Finding{Check: "database", Level: Pass, Found: "the database is whole, as far as a quick look tells (mailer db check looks at all)"})
	}
	return all
}

// oldBackup is when a backup is too old.
const oldBackup = 7 * 24 * time.Hour

func checkBackups(f WorkspaceFacts) []Finding {
	const why = "without the database nobody knows who unsubscribed and who was mailed already; neither can be had again"
	const do = "a line for the crontab: 30 3 * * * mailer -C %s backup --keep 14 /another/disk/"
	p := Finding{Check: "backup", Why: why, Do: fmt.Sprintf(do, f.Dir)}
	switch age := f.Now.Sub(f.Backup); {
	case f.DatabaseErr != nil || f.Database.Contacts == 0:
		return nil // nothing to lose yet
	case f.Backup.IsZero():
		p.Level, p.Found = Warn, "no backup of the database is known"
	case age > oldBackup:
		p.Level, p.Found = Warn, fmt.Sprintf("the newest backup is %s old (%s)", about(age), f.BackupFile)
	case f.BackupGone:
		p.Level, p.Found, p.Do = Info, fmt.Sprintf("the newest backup is not where it was written to (%s)", f.BackupFile), "if you have moved it, all is well"
	case inside(f.Dir, f.BackupFile):
		p.Level, p.Found, p.Do = Info, fmt.Sprintf("the newest backup (%s old) lies in the workspace itself: %s", about(age), f.BackupFile), "copy it to another disk: what takes one away takes both"
	default:
		p = Finding{Check: "backup", Level: Pass, Found: fmt.Sprintf("the newest backup is %s old (%s)", about(age), f.BackupFile)}
	}
	return []Finding{p}
}

func inside(dir, file string) bool {
	rel, err := filepath.Rel(dir, file)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// ours are the jobs about this workspace.
func (f WorkspaceFacts) ours(verb string) []Job {
	return slices.DeleteFunc(slices.Clone(f.Jobs), func(j Job) bool { return !j.concerns(f.Dir) || verb != "" && j.Verb != verb })
}

// bare is a percent sign that cron makes a line break of (crontab(5)).
var bare = regexp.MustCompile(`(^|[^\\])%`)

func checkJobs(f WorkspaceFacts) []Finding {
	var all []Finding
	if len(f.Unread) > 0 {
		all = append(all, Finding{Check: "cron", Level: Unknown, Found: "not everything that may start mailer could be read: " + strings.Join(f.Unread, ", ")})
	}
	users := map[string][]string{}
	sends := map[string][]string{}
	for _, j := range f.ours("") {
		who := j.User
		if who == "" {
			who = "you"
		}
		users[who] = append(users[who], j.line())
		if j.Verb == "send" {
			if c := j.campaign(); c != "" {
				sends[c] = append(sends[c], j.line())
			}
			if !slices.ContainsFunc(j.Args, func(arg string) bool {
				return arg == "--yes" || arg == "--dry-run" || arg == "--test" || strings.HasPrefix(arg, "--test=")
			}) {
				all = append(all, Finding{Check: "cron", Subject: j.place(), Level: Fail, Own: true, Found: "it sends without --yes",
					Why: "nobody is there to confirm, so it sends nothing and exits with 2", Do: "add --yes", Detail: []string{j.line()}})
			}
		}
		if j.Cron && bare.MatchString(j.Text) {
			all = append(all, Finding{Check: "cron", Subject: j.place(), Level: Warn, Found: "a % in the command",
				Why: "cron ends the command there and gives it the rest as input (crontab(5))", Do: `write it as \%`, Detail: []string{j.line()}})
		}
	}
	if runs := f.ours("run"); len(runs) > 1 {
		all = append(all, Finding{Check: "cron", Level: Info, Found: fmt.Sprintf("mailer run is started in %d places", len(runs)),
			Why: "that is harmless: a campaign, a plan and the bounce mailbox are each one process's at a time", Do: "one of them is enough", Detail: lines(runs)})
	}
	for _, name := range sorted(sends) {
		if len(sends[name]) > 1 {
			all = append(all, Finding{Check: "cron", Subject: name, Level: Info, Found: fmt.Sprintf("campaign %s is sent by %d lines", name, len(sends[name])),
				Why: "nobody is mailed twice: who has the message is not sent it again, and while one sends the other exits with 6", Do: "leave one of them, unless they are for different hours", Detail: sends[name]})
		}
	}
	if syncs := append(f.ours("bounces"), f.ours("run")...); len(f.ours("bounces")) > 0 && len(f.ours("run")) > 0 {
		all = append(all, Finding{Check: "cron", Level: Info, Found: "mailer run and mailer bounces are both started",
			Why: "that is harmless: run reads the bounce mailbox too, and one process at a time does", Do: "run alone is enough", Detail: lines(syncs)})
	}
	if len(users) > 1 {
		var detail []string
		for _, who := range sorted(users) {
			detail = append(detail, users[who]...)
		}
		all = append(all, Finding{Check: "cron", Level: Warn, Found: "different users work on this workspace: " + strings.Join(sorted(users), ", "),
			Why: "what one makes the other may not write: the database and its log belong to whoever opened it first", Do: "let all run as the owner of the folder", Detail: detail})
	}
	if len(all) == 0 && len(f.ours("")) > 0 {
		all = append(all, Finding{Check: "cron", Level: Pass, Found: "what is started by itself does not get in each other's way", Detail: lines(f.ours(""))})
	}
	return all
}

func (j Job) place() string { return fmt.Sprintf("%s:%d", j.Source, j.Line) }
func (j Job) line() string  { return j.place() + ": " + hide(j.Text) }

// secrets are what a command line may hold that is not for everybody: a variable that is set before a command, and the password of a mailbox.
var secrets = []*regexp.Regexp{
	regexp.MustCompile(`(?i)(\b\w*(?:pass|secret|token|key|auth|credential)\w*=)(?:"[^"]*"|'[^']*'|[^\s"'])+`),
	regexp.MustCompile(`(://[^\s:/@]*:)[^\s/@]+(@)`),
}

// hide takes them out of a line that is told.
func hide(line string) string {
	for _, s := range secrets {
		line = s.ReplaceAllString(line, "${1}(hidden)${2}")
	}
	return line
}

func lines(all []Job) []string {
	var text []string
	for _, j := range all {
		text = append(text, j.line())
	}
	return text
}

func sorted(m map[string][]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// checkPlanned looks whether anything starts what waits.
func checkPlanned(f WorkspaceFacts) []Finding {
	const line = "a line for the crontab: * * * * * mailer -C %s run >/dev/null (or mailer run --forever under systemd)"
	runs := len(f.ours("run")) > 0
	var late, waiting []string
	for _, c := range f.Planned {
		text := fmt.Sprintf("%s at %s", c.Name, stamp(c.At))
		waiting = append(waiting, text)
		if f.Now.Sub(c.At) > skew {
			late = append(late, text)
		}
	}
	switch {
	case len(late) > 0:
		return []Finding{{Check: "planned", Level: Fail, Own: true, Found: "its time has passed, and nothing has begun it: " + strings.Join(late, ", "),
			Why: "mailer run begins what is planned, nothing else does", Do: fmt.Sprintf(line, f.Dir), Detail: waiting}}
	case len(waiting) > 0 && !runs:
		return []Finding{{Check: "planned", Level: Warn, Found: "planned, and nothing that was found here starts mailer run: " + strings.Join(waiting, ", "),
			Why: "mailer run begins what is planned, nothing else does", Do: fmt.Sprintf(line, f.Dir) + "; if something else starts it, all is well", Detail: waiting}}
	case len(f.Going) > 0 && !runs:
		return []Finding{{Check: "planned", Level: Info, Found: "not everybody of these was sent to yet: " + strings.Join(f.Going, ", "),
			Why: "deferred mail is tried again by the next run, and nothing that was found here starts one", Do: "mailer send CAMPAIGN goes on with it; or " + fmt.Sprintf(line, f.Dir)}}
	case len(waiting) > 0:
		return []Finding{{Check: "planned", Level: Pass, Found: "mailer run will begin what is planned", Detail: waiting}}
	}
	return nil
}

func stamp(t time.Time) string { return t.Format("2006-01-02 15:04") }

// about is a duration for people.
func about(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return fmt.Sprintf("%d seconds", int(d.Seconds()))
}

func mega(n int64) string { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }
