package sio

import (
	"encoding/json"
	"errors"
	"fmt"
)

// The functions below take the arguments that [EventArgs] and [SplitArgs] return, and the
// attachments of their packet.

// ArgError says that an argument does not have the expected form, or is missing.
type ArgError struct {
	Index int // from 0
	Err   error
}

func (e *ArgError) Error() string { return fmt.Sprintf("parley: argument %d: %v", e.Index+1, e.Err) }

func (e *ArgError) Unwrap() error { return e.Err }

// RawArgs returns the arguments as raw JSON. They share memory with args.
func RawArgs(args [][]byte) []json.RawMessage {
	raw := make([]json.RawMessage, len(args))
	for i, arg := range args {
		raw[i] = arg
	}
	return raw
}

var errMissing = errors.New("is missing")

// Missing reports whether the argument is absent.
func (e *ArgError) Missing() bool { return e.Err == errMissing }

// DecodeArg decodes the argument at index i; see [Decode]. The error is an [*ArgError].
func DecodeArg(args, attachments [][]byte, i int, into any) error {
	err := errMissing
	if i < len(args) {
		err = Decode(args[i], attachments, into)
	}
	if err != nil {
		return &ArgError{Index: i, Err: err}
	}
	return nil
}

// DecodeArgs decodes the first arguments into the given pointers; see [Decode]. A missing argument
// leaves its pointer's value unchanged. Extra arguments are ignored. The error is an [*ArgError].
func DecodeArgs(args, attachments [][]byte, into []any) error {
	for i := range min(len(args), len(into)) {
		if err := DecodeArg(args, attachments, i, into[i]); err != nil {
			return err
		}
	}
	return nil
}

// ArgValues decodes each argument into an any; see [Decode]. The error is an [*ArgError].
func ArgValues(args, attachments [][]byte) ([]any, error) {
	values := make([]any, len(args))
	for i := range args {
		if err := DecodeArg(args, attachments, i, &values[i]); err != nil {
			return nil, err
		}
	}
	return values, nil
}
