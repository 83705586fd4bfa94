//go:build !unix

package bench

import (
	"math"
	"time"
)

func maxFiles() uint64 { return math.MaxUint64 }

func ownCPU() time.Duration { return 0 }
