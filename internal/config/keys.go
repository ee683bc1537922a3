package config

import (
	"crypto"
	"crypto/x509"
	"os"

	"mailer/internal/message"
)

// SigningKey reads the private key of a DKIM entry.
func (w *Workspace) SigningKey(k DKIM) (crypto.Signer, error) {
	path := w.Abs(k.KeyFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{Key: "key_file", Message: err.Error()}
	}
	key, err := message.ParseKey(text)
	if err != nil {
		return nil, &Error{File: path, Key: "key_file", Message: err.Error()}
	}
	return key, nil
}

// RootCAs is the system's certificates and those in the PEM file. No file: nil, which means the system's.
func (w *Workspace) RootCAs(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	path := w.Abs(file)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{Key: "ca_file", Message: err.Error()}
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a bare container has none; the file may be all that is needed
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, &Error{File: path, Key: "ca_file", Message: "holds no certificate in PEM"}
	}
	return pool, nil
}
