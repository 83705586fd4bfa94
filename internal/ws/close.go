package ws

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Close codes, RFC 6455 7.4.1.
const (
	CloseNormal          = 1000
	CloseGoingAway       = 1001
	CloseProtocolError   = 1002
	CloseUnsupportedData = 1003
	CloseNoStatus        = 1005 // never sent; means a Close frame without a code
	CloseAbnormal        = 1006 // never sent; means that the connection was lost without a Close frame
	CloseInvalidData     = 1007
	ClosePolicyViolation = 1008
	CloseMessageTooBig   = 1009
	CloseInternalError   = 1011
	CloseRestart         = 1012
	CloseTryAgainLater   = 1013
)

// maxReason is the largest reason in bytes that fits into a Close frame with a code.
const maxReason = MaxControlPayload - 2

// A CloseError holds the code and reason of a Close frame: the one that the peer sent or, from
// [Parser.Feed], the one to send to the peer because it has broken the protocol. It may be shared.
// Do not change it.
type CloseError struct {
	Code   int
	Reason string
}

func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("ws: closed with code %d", e.Code)
	}
	return fmt.Sprintf("ws: closed with code %d: %s", e.Code, e.Reason)
}

func protocolError(reason string) error {
	return &CloseError{Code: CloseProtocolError, Reason: reason}
}

// ValidCloseCode reports whether a Close frame may carry code. The code must be registered for that
// purpose (1004, 1005, 1006 and 1015 are not), or be from the ranges for libraries and applications,
// 3000 to 4999 (RFC 6455, 7.4.2).
func ValidCloseCode(code int) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}

// ParseClose splits the payload of a Close frame from [Parser]. For an empty payload, the code is
// [CloseNoStatus].
func ParseClose(payload []byte) (code int, reason string) {
	if len(payload) < 2 {
		return CloseNoStatus, ""
	}
	return int(binary.BigEndian.Uint16(payload)), string(payload[2:])
}

func checkClose(payload []byte) error {
	switch {
	case len(payload) == 0:
		return nil
	case len(payload) == 1:
		return protocolError("close frame of one byte")
	case !ValidCloseCode(int(binary.BigEndian.Uint16(payload))):
		return protocolError("invalid close code")
	case !utf8.Valid(payload[2:]):
		return errInvalidUTF8
	}
	return nil
}

// AppendClose appends a Close frame. With [CloseNoStatus], the frame has neither code nor reason.
// AppendClose replaces invalid UTF-8 in the reason and cuts it at a rune boundary to at most 123
// bytes. It panics if [ValidCloseCode] does not allow the code.
func AppendClose(dst []byte, side Side, code int, reason string) []byte {
	return appendFrame(dst, side, OpClose, closePayload(code, reason))
}

func closePayload(code int, reason string) []byte {
	if code == CloseNoStatus {
		return nil
	}
	if !ValidCloseCode(code) {
		panic(fmt.Sprintf("ws: close code %d must not be sent", code))
	}
	payload := binary.BigEndian.AppendUint16(make([]byte, 0, MaxControlPayload), uint16(code))
	return append(payload, cutReason(reason)...)
}

func cutReason(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxReason {
		return s
	}
	n := maxReason
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
