package mailbox

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
)

func (o Options) addr() string { return net.JoinHostPort(o.Host, strconv.Itoa(o.Port)) }

// dial connects to the server, without TLS yet.
func (o Options) dial(ctx context.Context) (*line, error) {
	switch o.TLS {
	case TLSImplicit, TLSStartTLS:
	case TLSNone:
		if !o.Insecure && !loopback(o.Host) {
			return nil, &configError{"tls: none is allowed on this machine only (or with insecure: true): the password would go in clear"}
		}
	default:
		return nil, &configError{"tls: " + strconv.Quote(o.TLS) + " is none of implicit, starttls, none"}
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.addr())
	if err != nil {
		return nil, err
	}
	return &line{Conn: raw}, nil
}

// secure brings up TLS on a connection.
func (o Options) secure(ctx context.Context, conn net.Conn, protocol string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	secure := tls.Client(conn, o.tlsConfig(protocol))
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

func (o Options) tlsConfig(protocol string) *tls.Config {
	return &tls.Config{ServerName: o.Host, MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs, InsecureSkipVerify: o.Insecure, NextProtos: []string{protocol}}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// xoauth2 is the mechanism of Google and Microsoft: a bearer token in place of a password.
type xoauth2 struct{ username, token string }

func (x xoauth2) Start() (mechanism string, response []byte, err error) {
	return "XOAUTH2", []byte("user=" + x.username + "\x01auth=Bearer " + x.token + "\x01\x01"), nil
}

// Next answers the error that comes as a challenge with nothing, which makes the server say its NO.
func (x xoauth2) Next(challenge []byte) ([]byte, error) {
	if len(challenge) == 0 {
		return nil, errors.New("the server asks for more than a token")
	}
	return []byte{}, nil
}
