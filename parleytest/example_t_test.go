package parleytest_test

import "testing"

// t stands for the test in the examples, which have none. With nil, a failure panics.
var t testing.TB
