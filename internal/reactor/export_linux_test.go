package reactor

// Pacing exports pacing to the tests.
type Pacing struct {
	p     pacing
	conns []eventConn
}

func NewPacing(n int) *Pacing { return &Pacing{p: pacing{round: 1}, conns: make([]eventConn, n)} }

// Round is a round in which these connections are ready. It reports whether the loop waited before.
func (p *Pacing) Round(ready []int) (waited bool) {
	waited = p.p.due()
	p.p.found(len(ready))
	for _, i := range ready {
		p.p.serve(&p.conns[i])
	}
	return waited
}
