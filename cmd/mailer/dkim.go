package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"mailer/internal/address"
	"mailer/internal/message"

	"github.com/spf13/cobra"
)

const dkimHelp = `Make the key that signs your mail, and show the DNS record that lets receivers verify it.

Sign with an RSA key: every receiver verifies those. An Ed25519 key may sign beside it, under a selector of its own.`

func newDKIMCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dkim",
		Short: "Make and show DKIM keys",
		Long:  dkimHelp,
	}
	cmd.AddCommand(newDKIMKeygenCmd(a), newDKIMShowCmd(a))
	return cmd
}

type keygenOptions struct {
	domain, selector, out string
	ed25519               bool
	bits                  int
}

func newDKIMKeygenCmd(a *app) *cobra.Command {
	var o keygenOptions
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key, write it to a file that only you can read, and print its DNS record",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return runKeygen(a, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.domain, "domain", "", "domain of your From address (default: the one of sender.from)")
	f.StringVar(&o.selector, "selector", "", "name of the key in DNS (default: s and the month, s202612; e and the month for Ed25519)")
	f.BoolVar(&o.ed25519, "ed25519", false, "make an Ed25519 key, to sign beside RSA")
	f.IntVar(&o.bits, "bits", 2048, "size of an RSA key: 2048, 3072 or 4096")
	f.StringVar(&o.out, "out", "", "file of the private key (default: dkim/SELECTOR.pem in the workspace)")
	return cmd
}

// dnsLabel is a selector's label or a domain's. DKIM selectors may hold underscores in practice, domains may not.
var dnsName = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?)*$`)

func runKeygen(a *app, o keygenOptions) error {
	ws, wsErr := a.workspace()
	if o.selector == "" {
		o.selector = map[bool]string{false: "s", true: "e"}[o.ed25519] + a.now().Format("200601")
	}
	if o.domain == "" && wsErr == nil {
		if from, err := address.Parse(ws.Config.Sender.From); err == nil {
			o.domain = from.Domain()
		}
	}
	if !dnsName.MatchString(o.domain) || !strings.Contains(o.domain, ".") {
		return usage("--domain %q is no domain; name the one of your From address, such as example.com", o.domain)
	}
	if !dnsName.MatchString(o.selector) {
		return usage("--selector %q cannot stand in DNS: letters, digits and hyphens", o.selector)
	}
	if o.bits != 2048 && o.bits != 3072 && o.bits != 4096 {
		return usage("--bits is 2048, 3072 or 4096, not %d", o.bits)
	}
	file, inConfig := o.out, o.out
	if file == "" {
		if wsErr != nil {
			return wsErr
		}
		inConfig = "dkim/" + o.selector + ".pem"
		file = ws.Abs(filepath.FromSlash(inConfig))
	}
	key, err := newKey(o)
	if err != nil {
		return err
	}
	if err := writeKey(file, key); err != nil {
		return err
	}
	if err := showRecord(a, o.domain, o.selector, file, key); err != nil || a.out.JSON {
		return err
	}
	a.out.Printf("\nThen add the key to mailer.yaml and send a test:\n\ndkim:\n  - {domain: %s, selector: %s, key_file: %s}\n", o.domain, o.selector, inConfig)
	return nil
}

func newKey(o keygenOptions) (crypto.Signer, error) {
	if o.ed25519 {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return rsa.GenerateKey(rand.Reader, o.bits)
}

// writeKey never replaces a file: the key in it may be the one that DNS publishes.
func writeKey(file string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usage("%s is there already and is not replaced; choose another --selector", file)
	}
	if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	err = errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	return nil
}

// showRecord prints the TXT record whole, for panels with one field, and cut into its strings, for zone files.
func showRecord(a *app, domain, selector, file string, key crypto.Signer) error {
	record, err := message.DNSRecord(key)
	if err != nil {
		return err
	}
	name, parts := selector+"._domainkey."+domain, message.SplitTXT(record)
	a.out.Printf("Key:    %s (keep it secret, keep a copy)\nName:   %s   (many panels add .%s themselves)\nType:   TXT\nValue:  %s\n\n", file, name, domain, record)
	a.out.Printf("In a zone file, in strings of at most 255 characters:\n\n%s. IN TXT ( \"%s\" )\n", name, strings.Join(parts, "\"\n  \""))
	return a.out.Emit("summary", struct {
		Domain   string   `json:"domain"`
		Selector string   `json:"selector"`
		KeyFile  string   `json:"key_file"`
		Name     string   `json:"name"`
		Record   string   `json:"record"`
		Strings  []string `json:"strings"`
	}{domain, selector, file, name, record, parts})
}

func newDKIMShowCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Print the DNS records of the keys in mailer.yaml",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return runDKIMShow(a) },
	}
}

func runDKIMShow(a *app) error {
	ws, err := a.workspace()
	if err != nil {
		return err
	}
	if len(ws.Config.DKIM) == 0 {
		return usage("mailer.yaml names no DKIM key; mailer dkim keygen makes one")
	}
	for i, k := range ws.Config.DKIM {
		file := ws.Abs(k.KeyFile)
		text, err := os.ReadFile(file)
		if err != nil {
			return usage("read the key of %s: %w", k.Domain, err)
		}
		key, err := message.ParseKey(text)
		if err != nil {
			return usage("%s: %w", file, err)
		}
		if i > 0 {
			a.out.Println()
		}
		if err := showRecord(a, k.Domain, k.Selector, file, key); err != nil {
			return err
		}
	}
	return nil
}
