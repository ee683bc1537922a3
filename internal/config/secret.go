package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Secret says where a password comes from; at most one of the four is set. It prints as the place, never as the
// password.
type Secret struct {
	Plain   string `yaml:"password"`
	Env     string `yaml:"password_env"`
	File    string `yaml:"password_file"`
	Command string `yaml:"password_command"`
}

// commandTime is enough for a key store that talks to a network, and too short to wait for a person.
const commandTime = 30 * time.Second

const redacted = "(hidden)"

// IsZero reports that no password is configured.
func (s Secret) IsZero() bool { return s == Secret{} }

// String says where the password comes from.
func (s Secret) String() string {
	switch {
	case s.Plain != "":
		return "password " + redacted
	case s.Env != "":
		return "password_env " + s.Env
	case s.File != "":
		return "password_file " + s.File
	case s.Command != "":
		return "password_command"
	}
	return "no password"
}

// GoString keeps %#v from printing the password.
func (s Secret) GoString() string { return s.String() }

// MarshalText keeps encoders from writing the password.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Resolve fetches the password. A relative file, and the working folder of a command, are the workspace's dir.
func (s Secret) Resolve(ctx context.Context, dir string) (string, error) {
	var text string
	var err error
	switch {
	case s.Plain != "":
		return s.Plain, nil
	case s.Env != "":
		text, err = fromEnv(s.Env)
	case s.File != "":
		text, err = fromFile(s.File, dir)
	case s.Command != "":
		text, err = fromCommand(ctx, s.Command, dir)
	default:
		return "", nil
	}
	if err != nil {
		return "", err
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	if text == "" {
		return "", &Error{Message: fmt.Sprintf("%s gives an empty password", s)}
	}
	return text, nil
}

func fromEnv(name string) (string, error) {
	text, ok := os.LookupEnv(name)
	if !ok {
		return "", &Error{Key: "password_env", Message: fmt.Sprintf("the environment has no %s; export it, or name another variable", name)}
	}
	return text, nil
}

func fromFile(path, dir string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", &Error{Key: "password_file", Message: err.Error()}
	}
	if readableByOthers(info) {
		return "", &Error{Key: "password_file", Message: fmt.Sprintf(
			"%s can be read by others (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", &Error{Key: "password_file", Message: err.Error()}
	}
	return string(text), nil
}

// readableByOthers is never true on Windows, where Go makes the mode up from the read-only bit.
func readableByOthers(info os.FileInfo) bool {
	return runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0
}

// fromCommand runs the command through the shell, as the user wrote it. Its standard input is empty, so that one
// that asks fails at once instead of waiting for nobody.
func fromCommand(ctx context.Context, command, dir string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	shell, flag := "/bin/sh", "-c" // found without a PATH too
	if runtime.GOOS == "windows" {
		shell, flag = "cmd", "/C"
	}
	cmd := exec.CommandContext(ctx, shell, flag, command)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second // a grandchild may hold the pipe open after the shell is gone
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		if cause := ctx.Err(); errors.Is(cause, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s", commandTime)
		} else if cause != nil {
			return "", cause
		}
		first, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n")
		return "", &Error{Key: "password_command", Message: strings.TrimSuffix(fmt.Sprintf("%v: %s", err, first), ": ")}
	}
	return out.String(), nil
}
