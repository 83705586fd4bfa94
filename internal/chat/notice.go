package chat

import "sync"

// A Notice is an event for several connections, who share its encoding. It is safe for concurrent use.
type Notice struct {
	Event   string
	Payload any // can always be encoded

	about   string // the user that it is about, if it says only where that user is
	once    sync.Once
	encoded any
}

// newNotice returns an event, whose name may be one of package conversation's descriptors.
func newNotice[E ~string](event E, payload any) *Notice {
	return &Notice{Event: string(event), Payload: payload}
}

// Encoded returns the result of the first call's build.
func (n *Notice) Encoded(build func(event string, payload any) any) any {
	n.once.Do(func() { n.encoded = build(n.Event, n.Payload) })
	return n.encoded
}
