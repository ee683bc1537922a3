package campaign

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"mailer/internal/spelling"
	"mailer/templates"
)

// TemplateFile is one side of a layout or a partial.
type TemplateFile struct {
	Kind    string `json:"kind"` // layout or partial
	Name    string `json:"name"`
	File    string `json:"file"` // from the workspace; of mailer's own, where it would lie
	Builtin bool   `json:"builtin"`
}

// TemplateFiles lists what layout: and include can name. A file of the workspace takes the place of mailer's own.
func TemplateFiles(workspace fs.FS) ([]TemplateFile, error) {
	var all []TemplateFile
	for _, from := range []struct {
		fsys    fs.FS
		dir     string
		builtin bool
	}{{workspace, "templates/", false}, {templates.FS, "", true}} {
		for kind, dir := range map[string]string{"layout": "layouts", "partial": "partials"} {
			entries, err := fs.ReadDir(from.fsys, from.dir+dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("list templates: %w", err)
			}
			for _, e := range entries {
				f := TemplateFile{kind, strings.TrimSuffix(e.Name(), path.Ext(e.Name())), path.Join("templates", dir, e.Name()), from.builtin}
				if !e.IsDir() && !slices.ContainsFunc(all, func(o TemplateFile) bool { return o.File == f.File }) {
					all = append(all, f)
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b TemplateFile) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.File, b.File)) })
	return all, nil
}

// BuiltinFiles are the files of one of mailer's own layouts or partials, by their path in a workspace; as is another name
// for the copy, or "".
func BuiltinFiles(name, as string) (map[string][]byte, error) {
	if as == "" {
		as = name
	}
	if !partialName.MatchString(as) {
		return nil, fmt.Errorf("%q cannot be a template's name: letters, digits, _ and -", as)
	}
	files := map[string][]byte{}
	var names []string
	for _, dir := range []string{"layouts", "partials"} {
		entries, _ := fs.ReadDir(templates.FS, dir) // embedded: cannot fail
		for _, e := range entries {
			stem, ext := strings.TrimSuffix(e.Name(), path.Ext(e.Name())), path.Ext(e.Name())
			names = append(names, stem)
			if stem == name {
				files[path.Join("templates", dir, as+ext)], _ = fs.ReadFile(templates.FS, path.Join(dir, e.Name()))
			}
		}
	}
	if len(files) == 0 {
		hint := "mailer templates list shows them"
		if near := spelling.Nearest(name, names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return nil, fmt.Errorf("mailer has no layout and no partial %q; %s", name, hint)
	}
	return files, nil
}
