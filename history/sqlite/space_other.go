//go:build !linux && !darwin && !freebsd && !windows

package sqlite

import "errors"

// diskSpace cannot tell on other systems.
func diskSpace(string) (space, error) { return space{}, errors.ErrUnsupported }
