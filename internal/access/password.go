package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/turns"
)

// Limits of passwords.
const (
	MinPassword = 10   // characters
	MaxPassword = 1000 // bytes
)

// Limits of hashing. One takes 19 MiB and about 50 ms.
const (
	maxHashing = 2   // at the same time
	maxInLine  = 256 // that wait for their turn
	maxOfOne   = 8   // that one address waits for
)

// argon2id is a way to hash a password (RFC 9106), as the first part of the hash says it. These are
// OWASP's figures.
type argon2id struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
}

const (
	saltLen = 16
	hashLen = 32
)

// hasher hashes passwords, few at once.
type hasher struct {
	cost  argon2id
	dummy string // the hash of nobody's password
	line  *turns.Queue[struct{}]
	count atomic.Int64 // in line, and hashing
	done  atomic.Uint64

	key func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte
}

func newHasher() *hasher {
	h := &hasher{
		cost: argon2id{memory: 19 << 10, passes: 2, threads: 1},
		line: turns.New(maxOfOne, make([]struct{}, maxHashing)...),
		key:  argon2.IDKey,
	}
	h.dummy = h.cost.format(make([]byte, saltLen), make([]byte, hashLen))
	return h
}

// Hashings returns how many passwords have been hashed.
func (a *Access) Hashings() uint64 { return a.hasher.done.Load() }

var errCrowded = tooOften("too many people sign in at the moment: try again in a few seconds", 5*time.Second)

// hash hashes a password when it is the turn of the address. "" is the server itself and goes first.
func (h *hasher) hash(ctx context.Context, address string, password Secret, salt []byte, c argon2id) ([]byte, error) {
	defer h.count.Add(-1)
	if h.count.Add(1) > maxHashing+maxInLine {
		return nil, errCrowded
	}
	token, err := h.line.Take(ctx, turns.Client{Group: address, ID: address})
	if errors.Is(err, turns.ErrFull) {
		return nil, errCrowded
	} else if err != nil {
		return nil, err
	}
	defer h.line.Give(token)
	h.done.Add(1)
	return h.key([]byte(password), salt, c.passes, c.memory, c.threads, hashLen), nil
}

// make returns a new hash of a password in the PHC string format.
func (h *hasher) make(ctx context.Context, address string, password Secret) (string, error) {
	salt := make([]byte, saltLen)
	rand.Read(salt)
	key, err := h.hash(ctx, address, password, salt, h.cost)
	if err != nil {
		return "", err
	}
	return h.cost.format(salt, key), nil
}

// verify reports whether a hash is that of the password, and whether it is weaker than new ones. An
// empty hash is nobody's, and takes the same work.
func (h *hasher) verify(ctx context.Context, address string, password Secret, hash string) (ok, weak bool, err error) {
	c, salt, want, good := parseHash(hash)
	if !good {
		c, salt, want, _ = parseHash(h.dummy)
	}
	key, err := h.hash(ctx, address, password, salt, c)
	if err != nil {
		return false, false, err
	}
	ok = subtle.ConstantTimeCompare(key, want) == 1
	return ok && good, c.memory < h.cost.memory || c.passes < h.cost.passes, nil
}

func (c argon2id) format(salt, key []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memory, c.passes, c.threads, b64(salt), b64(key))
}

// parseHash reads a hash in the PHC string format. It refuses what would take too much work.
func parseHash(s string) (c argon2id, salt, key []byte, ok bool) {
	const maxMemory, maxPasses, maxThreads = 256 << 10, 16, 16
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, false
	}
	n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memory, &c.passes, &c.threads)
	if err != nil || n != 3 || parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", c.memory, c.passes, c.threads) {
		return c, nil, nil, false
	}
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	key, err2 := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	ok = err1 == nil && err2 == nil && len(salt) >= 8 && len(key) == hashLen &&
		c.memory >= 8*uint32(c.threads) && c.memory <= maxMemory &&
		c.passes >= 1 && c.passes <= maxPasses && c.threads >= 1 && c.threads <= maxThreads
	return c, salt, key, ok
}

// checkPassword refuses a new password that is too short or too long.
func checkPassword(p Secret) error {
	switch {
	case utf8.RuneCountInString(string(p)) < MinPassword:
		return refuse(conversation.BadPayload, "a password needs at least %d characters", MinPassword)
	case len(p) > MaxPassword:
		return refuse(conversation.BadPayload, "a password can have at most %d bytes", MaxPassword)
	}
	return nil
}
