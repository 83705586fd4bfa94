package parleytest

import (
	"context"
	"fmt"
	"testing"
)

// nobody is the testing.TB of an Example: failures panic. Close does what cleanups do.
type nobody struct{ testing.TB }

func (nobody) Helper()                           {}
func (nobody) Logf(string, ...any)               {}
func (nobody) Cleanup(func())                    {}
func (nobody) Context() context.Context          { return context.Background() }
func (nobody) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (nobody) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (nobody) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
