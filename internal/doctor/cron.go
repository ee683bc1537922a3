package doctor

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Job is one call of mailer that cron or systemd makes.
type Job struct {
	Source string // crontab, /etc/cron.d/news, a unit file
	Line   int
	Text   string // the line as it stands there
	User   string // empty: whoever asks
	Dir    string // the workspace; empty: not said
	Verb   string // run, send, bounces, backup
	Args   []string
	Cron   bool // a line of cron, where % is a line break
}

// jobsIn reads a crontab. Those of the system have a user before the command.
func jobsIn(source string, text []byte, system bool, home string) []Job {
	var all []Job
	env := map[string]string{"HOME": home}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if name, value, ok := strings.Cut(line, "="); ok && !strings.ContainsAny(strings.TrimSpace(name), " \t@*") {
			env[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"'`)
			continue
		}
		fields := 5
		if line[0] == '@' {
			fields = 1 // @daily
		}
		if system {
			fields++
		}
		words := strings.Fields(line)
		if len(words) <= fields {
			continue
		}
		job, ok := parseJob(words[fields:], env)
		if !ok {
			continue
		}
		job.Source, job.Line, job.Text, job.Cron = source, i+1, line, true
		if system {
			job.User = words[fields-1]
		}
		all = append(all, job)
	}
	return all
}

// jobsOfUnit reads a service of systemd.
func jobsOfUnit(source string, text []byte, home string) []Job {
	var all []Job
	env := map[string]string{"HOME": home}
	user := ""
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.ReplaceAll(strings.TrimSpace(line), "%h", home)
		name, value, _ := strings.Cut(line, "=")
		switch name {
		case "Environment":
			for _, one := range strings.Fields(value) {
				if k, v, ok := strings.Cut(strings.Trim(one, `"'`), "="); ok {
					env[k] = v
				}
			}
		case "WorkingDirectory":
			env["PWD"] = value
		case "User":
			user = value
		case "ExecStart":
			if job, ok := parseJob(strings.Fields(value), env); ok {
				job.Source, job.Line, job.Text, job.User = source, i+1, line, user
				all = append(all, job)
			}
		}
	}
	return all
}

// withValue are the flags that take a word of their own, among those that stand before the words that matter here.
var withValue = []string{"-C", "--dir", "--list", "--segment", "--where", "--exclude", "--rate", "--relay", "--limit", "--wait", "--concurrency", "--expect",
	"--at", "--delay", "--canary", "--hold", "--keep", "--source", "--retry", "--resolve-uncertain"}

// parseJob finds the call of mailer in a command of the shell: PROGRAM [-C DIR] VERB ARGS, maybe behind `cd DIR &&`.
func parseJob(words []string, env map[string]string) (Job, bool) {
	expand := func(word string) string {
		word = strings.Trim(word, `"'`)
		if rest, ok := strings.CutPrefix(word, "~/"); ok {
			word = filepath.Join(env["HOME"], rest)
		}
		return os.Expand(word, func(name string) string { return env[name] })
	}
	job := Job{Dir: env["MAILER_DIR"]}
	if job.Dir == "" {
		job.Dir = env["PWD"]
	}
	at := -1
	for i, word := range words {
		if name, value, ok := strings.Cut(word, "="); ok && name == "MAILER_DIR" {
			job.Dir = expand(value)
		}
		if word == "cd" && i+1 < len(words) && env["MAILER_DIR"] == "" {
			job.Dir = expand(strings.TrimRight(words[i+1], ";"))
		}
		if filepath.Base(expand(word)) == "mailer" && (i == 0 || words[i-1] != "cd") {
			at = i
			break
		}
	}
	if at < 0 {
		return job, false
	}
	for i := at + 1; i < len(words); i++ {
		word := words[i]
		if strings.ContainsAny(word, "><|&;") {
			break
		}
		if (word == "-C" || word == "--dir") && i+1 < len(words) {
			job.Dir = expand(words[i+1])
		}
		if value, ok := strings.CutPrefix(word, "--dir="); ok {
			job.Dir = expand(value)
			continue
		}
		switch {
		case slices.Contains(withValue, word):
			i++
		case job.Verb == "" && !strings.HasPrefix(word, "-"):
			job.Verb = word
		default:
			job.Args = append(job.Args, strings.Trim(word, `"'`))
		}
	}
	job.Dir = filepath.FromSlash(expand(job.Dir))
	return job, job.Verb != ""
}

// campaign is the one that a job sends.
func (j Job) campaign() string {
	for _, arg := range j.Args {
		if !strings.HasPrefix(arg, "-") {
			stem, _, _ := strings.Cut(filepath.Base(arg), ".")
			return stem
		}
	}
	return ""
}

// concerns reports whether a job is about a workspace, as far as it says.
func (j Job) concerns(dir string) bool {
	if j.Dir == "" {
		return false
	}
	if filepath.Clean(j.Dir) == filepath.Clean(dir) {
		return true
	}
	a, errA := os.Stat(j.Dir)
	b, errB := os.Stat(dir)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// crontabTime is enough for a program that reads one file.
const crontabTime = 5 * time.Second

// readJobs reads what cron and systemd of this machine call, as far as it may be read. What could not be is named.
func readJobs(ctx context.Context) (all []Job, unread []string) {
	if runtime.GOOS == "windows" {
		return nil, []string{"the task scheduler"}
	}
	home, _ := os.UserHomeDir()
	ctx, stop := context.WithTimeout(ctx, crontabTime)
	defer stop()
	cmd := exec.CommandContext(ctx, "crontab", "-l")
	cmd.WaitDelay = time.Second
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	switch err := cmd.Run(); {
	case err == nil:
		all = append(all, jobsIn("crontab", out.Bytes(), false, home)...)
	case errors.Is(err, exec.ErrNotFound), strings.Contains(complaint.String(), "no crontab for"): // no cron here, or an empty one
	default:
		unread = append(unread, "crontab -l")
	}
	each := func(pattern string, read func(name string, text []byte) []Job) {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				if st, serr := os.Stat(name); serr == nil && st.IsDir() {
					continue
				}
				unread = append(unread, name)
				continue
			}
			all = append(all, read(name, text)...)
		}
	}
	system := func(name string, text []byte) []Job { return jobsIn(name, text, true, home) }
	unit := func(name string, text []byte) []Job { return jobsOfUnit(name, text, home) }
	each("/etc/crontab", system)
	each("/etc/cron.d/*", system)
	each("/etc/systemd/system/*.service", unit)
	if home != "" {
		each(filepath.Join(home, ".config/systemd/user/*.service"), unit)
	}
	return all, unread
}
