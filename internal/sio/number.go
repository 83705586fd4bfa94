package sio

import (
	"math"
	"strconv"
)

// appendFloat appends f as ECMAScript's Number::toString writes it: the shortest decimal that reads
// back as f, with an exponent from 1e21 up and below 1e-6. Values that JSON cannot express become
// null, as in JSON.stringify.
func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	if f == 0 { // also -0
		return append(dst, '0')
	}
	if abs := math.Abs(f); abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	// In Go the exponent has at least two digits; in ECMAScript it has no leading zero.
	if n := len(dst); dst[n-4] == 'e' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}
