package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/config"
	"mailer/internal/store"
)

// fine is a workspace with which nothing is wrong.
func fine() WorkspaceFacts {
	now := time.Date(2026, 11, 26, 15, 30, 0, 0, time.UTC)
	return WorkspaceFacts{
		Dir: "/home/me/news",
		Files: []File{{Path: "/home/me/news", Holds: "the workspace", Mode: fs.ModeDir | 0o755, Folder: true}, {Path: "/home/me/news/mailer.db", Holds: "the database", Mode: 0o600},
			{Path: "/home/me/news/dkim/s1.pem", Holds: "a private key", Mode: 0o600}},
		Secrets: []Secret{{Key: "relays.main", From: "password_env MAILER_RELAY_PASSWORD"}},
		Now:     now, LastEvent: now.Add(-time.Hour), Timezone: "Asia/Tokyo", Clocks: []Clock{{Who: "smtp.example.com", Ahead: 2 * time.Second}},
		Free: 10e9, FreeKnown: true,
		Database: store.Checked{Holdings: store.Holdings{Schema: 5, Contacts: 100}, Bytes: 1e9, WAL: 1e6},
		Backup:   now.Add(-20 * time.Hour), BackupFile: "/mnt/backup/mailer-2026-11-25T1930.db",
		Jobs:    jobsIn("crontab", []byte("* * * * * mailer -C /home/me/news run >/dev/null\n"), false, "/home/me"),
		Planned: []Planned{{"letter", now.Add(time.Hour)}},
	}
}

func crontab(f *WorkspaceFacts, text string) {
	f.Jobs = jobsIn("crontab", []byte(text), false, "/home/me")
}

// Each thing that is wrong gives one finding, and nothing else is said.
func TestWorkspace(t *testing.T) {
	const dir = "/home/me/news"
	damaged := fmt.Errorf("check the database: %w", store.ErrDamaged)
	for name, tt := range map[string]struct {
		spoil func(f *WorkspaceFacts)
		check string
		level Level
		own   bool
		found string // part of what is found, or of what to do
	}{
		"fine":                {func(f *WorkspaceFacts) {}, "", Pass, false, ""},
		"database open":       {func(f *WorkspaceFacts) { f.Files[1].Mode = 0o644 }, "files", Warn, false, "chmod 600 /home/me/news/mailer.db"},
		"key of a group":      {func(f *WorkspaceFacts) { f.Files[2].Mode = 0o640 }, "files", Warn, false, "holds a private key"},
		"key gone":            {func(f *WorkspaceFacts) { f.Files[2].Err = fs.ErrNotExist }, "files", Fail, true, "cannot be read"},
		"folder of everybody": {func(f *WorkspaceFacts) { f.Files[0].Mode = fs.ModeDir | 0o777 }, "files", Warn, false, "chmod o-w"},
		"sticky folder":       {func(f *WorkspaceFacts) { f.Files[0].Mode = fs.ModeDir | fs.ModeSticky | 0o777 }, "", Pass, false, ""},
		"password in file":    {func(f *WorkspaceFacts) { f.Secrets[0].Plain = true }, "secrets", Warn, false, "password_file"},
		"variable unset":      {func(f *WorkspaceFacts) { f.Secrets[0].Err = errors.New("the environment has no X") }, "secrets", Fail, true, "the environment has no X"},
		"clock behind":        {func(f *WorkspaceFacts) { f.LastEvent = f.Now.Add(3 * time.Hour) }, "clock", Fail, true, "3 hours later"},
		"clock a bit behind":  {func(f *WorkspaceFacts) { f.LastEvent = f.Now.Add(time.Minute) }, "", Pass, false, ""},
		"ahead of the relay":  {func(f *WorkspaceFacts) { f.Clocks[0].Ahead = 10 * time.Minute }, "clock", Fail, true, "10 minutes ahead of that of smtp.example.com"},
		"behind the relay":    {func(f *WorkspaceFacts) { f.Clocks[0].Ahead = -50 * time.Hour }, "clock", Fail, true, "2 days behind that of"},
		"no such zone":        {func(f *WorkspaceFacts) { f.Timezone = "Asia/Nowhere" }, "clock", Fail, true, "Asia/Nowhere"},
		"disk full":           {func(f *WorkspaceFacts) { f.Free = 1e6 }, "disk", Fail, true, "1 MB are free"},
		"disk nearly full":    {func(f *WorkspaceFacts) { f.Free = 19e8 }, "disk", Warn, false, "2001 MB would do"},
		"disk not known":      {func(f *WorkspaceFacts) { f.FreeKnown = false }, "disk", Unknown, false, "could not be found out"},
		"database damaged": {func(f *WorkspaceFacts) {
			f.Database.Problems = []store.Problem{{Check: "pages", Level: store.ProblemError, Found: "the file is damaged", Do: "restore"}}
		}, "database", Fail, true, "damaged"},
		"database half sent": {func(f *WorkspaceFacts) {
			f.Database.Problems = []store.Problem{{Check: "unfinished", Level: store.ProblemWarning, Found: "ended", Do: "go on"}}
		}, "database", Warn, false, "Go on"},
		"database unreadable": {func(f *WorkspaceFacts) { f.DatabaseErr = damaged }, "database", Fail, true, "mailer restore"},
		"database locked":     {func(f *WorkspaceFacts) { f.DatabaseErr = store.ErrLocked }, "database", Unknown, false, "mailer db check"},
		"database gone":       {func(f *WorkspaceFacts) { f.DatabaseErr = fs.ErrNotExist }, "database", Warn, false, "mailer restore FILE"},
		"never backed up":     {func(f *WorkspaceFacts) { f.Backup, f.BackupFile = time.Time{}, "" }, "backup", Warn, false, "mailer -C /home/me/news backup --keep"},
		"nothing to lose":     {func(f *WorkspaceFacts) { f.Backup, f.BackupFile, f.Database.Contacts = time.Time{}, "", 0 }, "", Pass, false, ""},
		"old backup":          {func(f *WorkspaceFacts) { f.Backup = f.Now.AddDate(0, 0, -9) }, "backup", Warn, false, "9 days old"},
		"backup moved":        {func(f *WorkspaceFacts) { f.BackupGone = true }, "backup", Info, false, "not where it was written"},
		"backup beside":       {func(f *WorkspaceFacts) { f.BackupFile = dir + "/kept/mailer.db" }, "backup", Info, false, "another disk"},
		"backup in one alike": {func(f *WorkspaceFacts) { f.BackupFile = dir + "-backup/mailer.db" }, "", Pass, false, ""},
		"crontab unreadable":  {func(f *WorkspaceFacts) { f.Unread = []string{"/etc/cron.d/x"} }, "cron", Unknown, false, "/etc/cron.d/x"},
		"two runs": {func(f *WorkspaceFacts) {
			crontab(f, "MAILER_DIR="+dir+"\n* * * * * mailer run\n*/5 * * * * mailer run\n")
		}, "cron", Info, false, "in 2 places"},
		"run of another": {func(f *WorkspaceFacts) {
			crontab(f, "* * * * * mailer -C "+dir+" run\n* * * * * mailer -C /other run\n")
		}, "", Pass, false, ""},
		"the same campaign": {func(f *WorkspaceFacts) {
			crontab(f, "MAILER_DIR="+dir+"\n* * * * * mailer run\n0 9 * * * mailer send letter --yes\n30 9 * * * mailer send --yes campaigns/letter.md\n")
		}, "cron", Info, false, "Campaign letter is sent by 2 lines"},
		"send beside run": {func(f *WorkspaceFacts) {
			crontab(f, "MAILER_DIR="+dir+"\n* * * * * mailer run\n0 9 * * * mailer send letter --yes\n")
		}, "", Pass, false, ""},
		"send without yes": {func(f *WorkspaceFacts) {
			crontab(f, "MAILER_DIR="+dir+"\n* * * * * mailer run\n0 9 * * * mailer send letter\n")
		}, "cron", Fail, true, "--yes"},
		"run and bounces": {func(f *WorkspaceFacts) {
			crontab(f, "MAILER_DIR="+dir+"\n* * * * * mailer run\n0 * * * * mailer bounces sync\n")
		}, "cron", Info, false, "mailer bounces"},
		"percent": {func(f *WorkspaceFacts) {
			crontab(f, "* * * * * mailer -C "+dir+" run\n0 3 * * * mailer -C "+dir+" backup /b/$(date +%F).db\n")
		}, "cron", Warn, false, `Write it as \%`},
		"percent escaped": {func(f *WorkspaceFacts) {
			crontab(f, "* * * * * mailer -C "+dir+" run\n0 3 * * * mailer -C "+dir+` backup /b/$(date +\%F).db`+"\n")
		}, "", Pass, false, ""},
		"two users": {func(f *WorkspaceFacts) {
			f.Jobs = append(f.Jobs, jobsIn("/etc/cron.d/news", []byte("0 3 * * * root mailer -C "+dir+" backup /b/\n"), true, "/root")...)
		}, "cron", Warn, false, "root, you"},
		"planned and no run":     {func(f *WorkspaceFacts) { f.Jobs = nil }, "planned", Warn, false, "letter at 2026-11-26 16:30"},
		"planned and its time":   {func(f *WorkspaceFacts) { f.Planned[0].At = f.Now.Add(-time.Hour) }, "planned", Fail, true, "Its time has passed"},
		"somebody left, no run":  {func(f *WorkspaceFacts) { f.Jobs, f.Planned, f.Going = nil, nil, []string{"news"} }, "planned", Info, false, "mailer send CAMPAIGN"},
		"somebody left, and run": {func(f *WorkspaceFacts) { f.Planned, f.Going = nil, []string{"news"} }, "", Pass, false, ""},
		"systemd": {func(f *WorkspaceFacts) {
			f.Jobs = jobsOfUnit("mailer-run.service", []byte("[Service]\nEnvironment=MAILER_DIR=%h/news\nExecStart=/usr/local/bin/mailer run --forever\n"), "/home/me")
		}, "", Pass, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" && tt.check == "files" {
				t.Skip("Windows has no modes")
			}
			f := fine()
			tt.spoil(&f)
			worst := Pass
			var wrong []Finding
			for _, p := range Workspace(f) {
				if p.Area != "workspace" || p.Check == "" || p.Found == "" {
					t.Errorf("incomplete: %+v", p)
				}
				if p.Level.Worse(worst) {
					worst = p.Level
				}
				if p.Level != Pass {
					wrong = append(wrong, p)
				}
			}
			if tt.check == "" {
				if len(wrong) > 0 {
					t.Errorf("%+v", wrong)
				}
				return
			}
			if len(wrong) != 1 || wrong[0].Check != tt.check || wrong[0].Level != tt.level || wrong[0].Own != tt.own || !strings.Contains(wrong[0].Found+wrong[0].Do, tt.found) {
				t.Errorf("%+v", wrong)
			}
			for _, p := range wrong {
				if (p.Level == Fail || p.Level == Warn) && (p.Do == "" || p.Why == "" && p.Check != "database" && !strings.Contains(name, "gone")) {
					t.Errorf("it does not say why, or what to do: %+v", p)
				}
			}
		})
	}
}

// The calls of mailer are found in lines as people write them.
func TestJobs(t *testing.T) {
	for line, want := range map[string]string{
		"* * * * * mailer run": " run []",
		"* * * * * /usr/local/bin/mailer -C /home/me/news run >/dev/null":  "/home/me/news run []",
		"@daily mailer --dir=/n backup --keep 14 /b/":                      "/n backup [/b/]",
		"0 9 * * 4 cd /n && mailer send letter --yes >/dev/null 2>&1":      "/n send [letter --yes]",
		"0 9 * * 4 MAILER_DIR=/n /opt/mailer send --rate 5/s letter --yes": "/n send [letter --yes]",
		"0 9 * * 4 mailer -C ~/news send letter --list readers --yes":      "/home/me/news send [letter --yes]",
		`0 9 * * 4 mailer -C "$HOME/news" run`:                             "/home/me/news run []",
		"0 9 * * 4 flock -n /tmp/l mailer run --json | logger":             " run [--json]",
		"# * * * * * mailer run":                                           "",
		"* * * * * mailerx run":                                            "",
		"* * * * * cd /home/mailer && ./go":                                "",
		"* * * * * cd mailer && mailer run":                                "mailer run []",
		"PATH=/usr/bin":                                                    "",
		"* * * *":                                                          "",
		"* * * * * mailer":                                                 "",
		"@reboot   mailer   run   --forever":                               " run [--forever]",
	} {
		got := ""
		for _, j := range jobsIn("crontab", []byte(line), false, "/home/me") {
			got += fmt.Sprintf("%s %s %v", filepath.ToSlash(j.Dir), j.Verb, j.Args)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	system := jobsIn("/etc/crontab", []byte("MAILER_DIR=/n\n\n17 * * * * www  mailer run\n"), true, "/root")
	if len(system) != 1 || system[0].User != "www" || system[0].Dir != "/n" || system[0].Line != 3 || system[0].place() != "/etc/crontab:3" {
		t.Errorf("%+v", system)
	}
}

// A line of a crontab is told without the passwords in it.
func TestJobsAreToldWithoutPasswords(t *testing.T) {
	for line, want := range map[string]string{
		"0 9 * * * MAILER_IMAP_PASSWORD=hunter2 mailer -C /n run":                          "MAILER_IMAP_PASSWORD=(hidden) mailer -C /n run",
		`0 9 * * * RELAY_PASS="hun ter2" X=1 mailer run`:                                   "RELAY_PASS=(hidden) X=1 mailer run",
		"0 9 * * * api_token='hunter2 x'y mailer run --limit=3":                            "api_token=(hidden) mailer run --limit=3",
		"0 9 * * * mailer bounces sync --source imaps://me:hunter2@imap.example.com:993/x": "--source imaps://me:(hidden)@imap.example.com:993/x",
		"0 9 * * * mailer bounces sync --source imaps://me@imap.example.com:993/INBOX":     "imaps://me@imap.example.com:993/INBOX",
	} {
		jobs := jobsIn("crontab", []byte(line), false, "/home/me")
		if len(jobs) != 1 {
			t.Fatalf("%s: %+v", line, jobs)
		}
		if got := jobs[0].line(); !strings.HasSuffix(got, want) || strings.Contains(got, "ter2") {
			t.Errorf("%s is told as %s", line, got)
		}
	}
}

// A crontab can hold anything.
func FuzzJobs(f *testing.F) {
	for _, seed := range []string{"* * * * * mailer -C /n run", "@daily x mailer -C", "A=$A\n* * * * * root cd && mailer send --list", "=", "* * * * * mailer '"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, text string, system bool) {
		for _, j := range append(jobsIn("crontab", []byte(text), system, "/home/me"), jobsOfUnit("unit", []byte(text), "/home/me")...) {
			if j.Verb == "" || j.Line < 1 || !strings.Contains(j.Text, "mailer") && !strings.Contains(text, "$") {
				t.Errorf("%q: %+v", text, j)
			}
		}
	})
}

// The facts are found out on a workspace that is there.
func TestLookAtWorkspace(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode fs.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("mailer.yaml", "relays:\n  main: {host: smtp.example.com, username: me, password: secret}\n  other: {host: smtp.example.net, username: me, password_env: MAILER_TEST_NOT_SET}\ndkim:\n  - {domain: example.com, selector: s1, key_file: s1.pem}\n", 0o644)
	write("s1.pem", "a key", 0o640)
	ws, err := config.Load(dir, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	st, err := store.Open(t.Context(), ws.Database(), store.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := st.Schedule(t.Context(), store.Schedule{Name: "letter", Class: "marketing", Content: "{}", Options: "{}", Request: "{}", At: now.Add(time.Hour)}, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "b.db")
	if _, err := st.Backup(t.Context(), file, store.BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	f := LookAtWorkspace(t.Context(), ws, st, nil, now, nil)
	if f.DatabaseErr != nil || f.Database.Schema == 0 || f.Backup.IsZero() || f.BackupFile != file || f.BackupGone || len(f.Planned) != 1 || f.LastEvent.IsZero() {
		t.Errorf("%+v", f)
	}
	if len(f.Secrets) != 2 || !f.Secrets[0].Plain || f.Secrets[1].Err == nil {
		t.Errorf("secrets: %+v", f.Secrets)
	}
	if runtime.GOOS == "linux" && (!f.FreeKnown || f.Free == 0) {
		t.Errorf("room: %d %v", f.Free, f.FreeKnown)
	}
	var files []string
	for _, one := range f.Files {
		files = append(files, filepath.Base(one.Path))
	}
	if !slices.Equal(files[1:], []string{"mailer.yaml", "mailer.db", "s1.pem"}) {
		t.Errorf("files: %v", files)
	}
	for _, p := range Workspace(f) {
		if strings.Contains(p.Found+p.Do+strings.Join(p.Detail, ""), "secret") {
			t.Errorf("a password is told: %+v", p)
		}
	}
	os.Remove(file)
	if f = LookAtWorkspace(t.Context(), ws, nil, nil, now, nil); f.BackupFile != "" || f.Database.Schema == 0 {
		t.Errorf("without a store: %+v", f)
	}
}
