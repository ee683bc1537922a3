package ingest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"mailer/internal/config"
	"mailer/internal/spelling"
)

// ProfileDir is the folder of a workspace that holds the profiles.
const ProfileDir = "imports"

// Profile is how lists of one kind are read: the flags of an import under a name, in imports/NAME.yaml. An empty value says
// nothing.
type Profile struct {
	Map           map[string]string `yaml:"map"` // by column
	Fields        []string          `yaml:"fields"`
	Format        string            `yaml:"format"`
	Encoding      string            `yaml:"encoding"`
	Delimiter     string            `yaml:"delimiter"`
	Sheet         string            `yaml:"sheet"`
	Header        string            `yaml:"header"` // auto, none, or a line
	List          string            `yaml:"list"`
	OnDuplicate   string            `yaml:"on_duplicate"`
	Consent       ProfileConsent    `yaml:"consent"`
	UnlistMissing bool              `yaml:"unlist_missing"`
}

// ProfileConsent is the consent that people on such a list gave.
type ProfileConsent struct {
	Source string `yaml:"source"`
	At     string `yaml:"at"`
	Text   string `yaml:"text"`
}

// profilePath is the file of a profile. The name is one word, not a way out of the folder.
func profilePath(dir, name string) (string, error) {
	if name == "" || name[0] == '.' || strings.ContainsAny(name, `/\:`) || filepath.Base(name) != name {
		return "", usageErrorf("%q is no name of a profile: it becomes the file %s/NAME.yaml", name, ProfileDir)
	}
	return filepath.Join(dir, ProfileDir, name+".yaml"), nil
}

// LoadProfile reads a profile of the workspace in dir.
func LoadProfile(dir, name string) (Profile, error) {
	var p Profile
	path, err := profilePath(dir, name)
	if err != nil {
		return p, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, noProfile(dir, name)
	} else if err != nil {
		return p, fmt.Errorf("read profile: %w", err)
	}
	return p, config.Decode(path, text, &p)
}

func noProfile(dir, name string) error {
	have := Profiles(dir)
	if len(have) == 0 {
		return usageErrorf("there is no profile %q: %s has none yet; --save-profile %s makes it from the flags of an import", name, ProfileDir, name)
	}
	near := ""
	if n := spelling.Nearest(name, have); n != "" {
		near = fmt.Sprintf(" (did you mean %q?)", n)
	}
	return usageErrorf("there is no profile %q%s; there are %s", name, near, strings.Join(have, ", "))
}

// Profiles lists the names of a workspace's profiles.
func Profiles(dir string) []string {
	var names []string
	files, _ := filepath.Glob(filepath.Join(dir, ProfileDir, "*.yaml"))
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".yaml"))
	}
	return names
}

// CheckProfile is why a profile cannot be saved: one of that name says something else, and replace is false.
func CheckProfile(dir, name string, p Profile, replace bool) error {
	path, err := profilePath(dir, name)
	if err != nil {
		return err
	}
	text, err := p.yaml()
	if err != nil {
		return fmt.Errorf("save profile: %w", err)
	}
	if old, err := os.ReadFile(path); err == nil && !replace && string(old) != string(text) {
		return usageErrorf("the profile %s exists and says something else: give another name, or --profile %s to go from it", path, name)
	}
	return nil
}

// SaveProfile writes a profile, and gives the path of its file.
func SaveProfile(dir, name string, p Profile, replace bool) (string, error) {
	if err := CheckProfile(dir, name, p, replace); err != nil {
		return "", err
	}
	path, _ := profilePath(dir, name)
	text, err := p.yaml()
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		return "", fmt.Errorf("save profile: %w", err)
	}
	return path, nil
}

// yaml is the profile as a file, without what it does not say.
func (p Profile) yaml() ([]byte, error) {
	var tree yaml.MapSlice
	add := func(to *yaml.MapSlice, key, value string) {
		if value != "" {
			*to = append(*to, yaml.MapItem{Key: key, Value: value})
		}
	}
	var columns yaml.MapSlice
	for _, column := range slices.Sorted(maps.Keys(p.Map)) {
		columns = append(columns, yaml.MapItem{Key: column, Value: p.Map[column]})
	}
	if len(columns) > 0 {
		tree = append(tree, yaml.MapItem{Key: "map", Value: columns})
	}
	if len(p.Fields) > 0 {
		tree = append(tree, yaml.MapItem{Key: "fields", Value: p.Fields})
	}
	add(&tree, "format", p.Format)
	add(&tree, "encoding", p.Encoding)
	add(&tree, "delimiter", p.Delimiter)
	add(&tree, "sheet", p.Sheet)
	add(&tree, "header", p.Header)
	add(&tree, "list", p.List)
	add(&tree, "on_duplicate", p.OnDuplicate)
	var consent yaml.MapSlice
	add(&consent, "source", p.Consent.Source)
	add(&consent, "at", p.Consent.At)
	add(&consent, "text", p.Consent.Text)
	if len(consent) > 0 {
		tree = append(tree, yaml.MapItem{Key: "consent", Value: consent})
	}
	if p.UnlistMissing {
		tree = append(tree, yaml.MapItem{Key: "unlist_missing", Value: true})
	}
	if len(tree) == 0 {
		return []byte("{}\n"), nil
	}
	return yaml.Marshal(tree)
}

// Mappings are the columns that the profile names, in a fixed order.
func (p Profile) Mappings() []Mapping {
	var all []Mapping
	for _, column := range slices.Sorted(maps.Keys(p.Map)) {
		all = append(all, Mapping{column, p.Map[column]})
	}
	return all
}
