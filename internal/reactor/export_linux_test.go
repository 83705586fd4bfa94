package reactor

// Pacing is a loop's decision to wait, for tests.
type Pacing struct {
	p     pacing
	conns []eventConn
}

func NewPacing(n int) *Pacing { return &Pacing{p: pacing{round: 1}, conns: make([]eventConn, n)} }

// Round has these connections be ready, and reports whether the loop waited before.
func (p *Pacing) Round(ready []int) (waited bool) {
	waited = p.p.due()
	p.p.found(len(ready))
	for _, i := range ready {
		p.p.serve(&p.conns[i])
	}
	return waited
}
