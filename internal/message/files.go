package message

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"mailer/internal/campaign"
)

// personal is an attachment of each recipient's own: attach: invoices/{{.number}}.pdf
type personal struct {
	*compiled
	template string
	folder   string // what the path has to begin with
}

// compilePaths parses the path templates. A path has to begin with a folder that the author named: a contact's value, which
// may come from a form on the web, can then choose among its files and reaches no others (mailer.yaml, keys).
func (d *document) compilePaths() error {
	for i, p := range d.variant.AttachPaths {
		s := d.front("attach", p)
		c, err := d.single(fmt.Sprintf("attach.%d", i), s)
		if err != nil {
			return err
		}
		folder, at := "", 0
		for _, a := range append(actions(p), action{off: len(p)}) {
			if folder == "" || folder == "./" {
				folder = p[at:a.off]
			}
			at = a.off + len(a.text)
		}
		folder = folder[:strings.LastIndexByte(folder, '/')+1]
		if folder == "" || folder == "./" || folder[0] == '/' || !fs.ValidPath(strings.TrimSuffix(folder, "/")) {
			return d.errorAt("attach", fmt.Sprintf("attach %s: the path does not begin with a folder of the workspace; write folder/%s", p, strings.TrimLeft(p, "/")))
		}
		d.personal = append(d.personal, personal{c, p, folder})
	}
	return nil
}

// files gives recipients their own files, encoded, and remembers some: many may have the same.
type files struct {
	fs    fs.FS
	mu    sync.Mutex
	known map[string]*part
	size  int
}

// maxKnown bounds what is remembered.
const maxKnown = 64 << 20

// SetFiles says where attachments of a recipient's own are read from: the workspace. It is called before Render.
func (t *Template) SetFiles(f fs.FS) { t.files.fs = f }

// ownFiles are the parts of the paths, in their order.
func (d *document) ownFiles(f *files, paths []string) (parts []*part, err error) {
	size := d.attachmentSize()
	for i, p := range paths {
		if p == "" {
			continue
		}
		part, err := f.part(d.personal[i], p)
		if err != nil {
			return nil, d.attachError(d.personal[i], p, err)
		}
		if size += len(part.encoded) / 4 * 3; size > campaign.MaxFiles {
			return nil, d.attachError(d.personal[i], p, errTooLarge)
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// checkFiles says whether ownFiles would find them, and reads none.
func (d *document) checkFiles(f *files, paths []string) error {
	size := int64(d.attachmentSize())
	for i, p := range paths {
		if p == "" {
			continue
		}
		info, err := f.stat(d.personal[i], p)
		if err == nil {
			if size += info.Size(); size > campaign.MaxFiles {
				err = errTooLarge
			}
		}
		if err != nil {
			return d.attachError(d.personal[i], p, err)
		}
	}
	return nil
}

var (
	errTooLarge   = fmt.Errorf("the files of the message have more than %d MB", campaign.MaxFiles>>20)
	errOutside    = errors.New("the contact's values lead out of the folder")
	errNotRegular = errors.New("it is no file")
)

func (f *files) stat(p personal, name string) (fs.FileInfo, error) {
	if !strings.HasPrefix(name, p.folder) || !fs.ValidPath(name) || strings.Contains(name, `\`) {
		return nil, errOutside
	}
	if f.fs == nil {
		return nil, fs.ErrNotExist
	}
	info, err := fs.Stat(f.fs, name)
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	return info, err
}

func (f *files) part(p personal, name string) (*part, error) {
	f.mu.Lock()
	known := f.known[name]
	f.mu.Unlock()
	if known != nil {
		return known, nil
	}
	info, err := f.stat(p, name)
	if err != nil {
		return nil, err
	}
	if info.Size() > campaign.MaxFiles {
		return nil, errTooLarge
	}
	content, err := fs.ReadFile(f.fs, name)
	if err != nil {
		return nil, err
	}
	made := filePart(path.Base(name), content, "")
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.size += len(made.encoded); f.known == nil || f.size > maxKnown {
		f.known, f.size = map[string]*part{}, len(made.encoded)
	}
	f.known[name] = made
	return made, nil
}

// attachError has the same words for every contact it concerns, so that a check tells it once.
func (d *document) attachError(p personal, name string, err error) error {
	why := err
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = errors.New("there is no such file for the contact")
	case !slices.Contains([]error{errTooLarge, errOutside, errNotRegular}, err):
		why = errors.New("the contact's file cannot be read")
	}
	return &RenderError{File: d.variant.Path, Line: max(1, d.variant.Lines["attach"]), Err: fmt.Errorf("attach %s: %w", name, err),
		msg: fmt.Sprintf("attach %s: %v", p.template, why), attachment: true}
}
