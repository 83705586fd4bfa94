package access

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/address"
)

const banKind = "ban"

const maxReason = 1000 // bytes

// The largest networks that can be banned, so that nobody bans everybody by mistake; and the smallest
// of IPv6, because a client can use every address in it.
const (
	leastBits4, leastBits6 = 8, 16
	mostBits6              = 64
)

// A Ban keeps a user or a network out.
type Ban struct {
	// Subject is "user:" and the user's id, or "net:" and a network or an address. Of a user that was
	// erased it is what recordID returns.
	Subject   string    `json:"subject"`
	Reason    string    `json:"reason,omitempty"`
	By        string    `json:"by,omitempty"`   // the operator
	Until     time.Time `json:"until,omitzero"` // zero: for ever
	CreatedAt time.Time `json:"createdAt"`
}

// network returns the network of a ban, if it is one of a network.
func (b *Ban) network() (netip.Prefix, bool) {
	text, ok := strings.CutPrefix(b.Subject, ofNetwork)
	if !ok {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(text)
	return p, err == nil
}

func (b *Ban) over(now time.Time) bool { return !b.Until.IsZero() && !now.Before(b.Until) }

func (a *Access) banChangedLocked(was, is *Ban, n *news) {
	if was != nil {
		if p, ok := was.network(); ok {
			a.networks[p.Bits()]--
		}
	}
	if is == nil {
		return
	}
	if p, ok := is.network(); ok {
		a.networks[p.Bits()]++
		n.end(auth.Match{Role: auth.User, Network: p})
	} else if user, ok := strings.CutPrefix(is.Subject, ofUser); ok {
		n.end(auth.Match{Subject: user, Role: auth.User})
	}
}

func (a *Access) bannedUserLocked(userID string, now time.Time) bool {
	if len(a.bans) == 0 {
		return false
	}
	b := a.bans.get(recordID(ofUser + userID))
	return b != nil && !b.over(now)
}

func (a *Access) bannedAddressLocked(s string, now time.Time) bool {
	for bits, n := range a.networks {
		if n == 0 {
			continue
		}
		client, ok := address.Parse(s)
		if !ok {
			return false
		}
		p, err := client.Prefix(bits)
		if err != nil { // longer than an address of IPv4
			continue
		}
		if b := a.bans.get(ofNetwork + p.String()); b != nil && !b.over(now) {
			return true
		}
	}
	return false
}

// Ban bans a user or a network. A ban of the same subject is replaced.
func (a *Access) Ban(ctx context.Context, b Ban) (Ban, error) {
	subject, err := banSubject(b.Subject)
	if err != nil {
		return b, err
	}
	b.Subject = subject
	if !validText(b.Reason, maxReason) || !validText(b.By, history.MaxMemberID) {
		return b, refuse(conversation.BadPayload, "the reason of a ban can have at most %d bytes, and no control characters", maxReason)
	}
	err = a.change(ctx, func(now time.Time) ([]history.Record, error) {
		if b.over(now) {
			return nil, refuse(conversation.BadPayload, "the ban would have ended already")
		}
		b.CreatedAt = now
		return []history.Record{a.bans.put(banKind, recordID(b.Subject), &b)}, nil
	})
	return b, err
}

// Unban lifts a ban. If there is none, the error has the code not_found.
func (a *Access) Unban(ctx context.Context, subject string) error {
	subject, err := banSubject(subject)
	if err != nil {
		return err
	}
	id := recordID(subject)
	return a.change(ctx, func(time.Time) ([]history.Record, error) {
		if a.bans.get(id) == nil {
			return nil, refuse(conversation.NotFound, "there is no ban of %s", subject)
		}
		return []history.Record{a.bans.put(banKind, id, nil)}, nil
	})
}

// Bans returns the bans that have not ended, in the order of their subjects.
func (a *Access) Bans() []Ban {
	now := now()
	a.mu.RLock()
	defer a.mu.RUnlock()
	all := []Ban{}
	for _, b := range a.bans {
		if !b.value.over(now) {
			all = append(all, *b.value)
		}
	}
	slices.SortFunc(all, func(x, y Ban) int { return strings.Compare(x.Subject, y.Subject) })
	return all
}

// banSubject returns a subject in the form in which it is compared.
func banSubject(s string) (string, error) {
	if user, ok := strings.CutPrefix(s, ofUser); ok && user != "" && validText(user, history.MaxMemberID) {
		return s, nil
	}
	if strings.HasPrefix(s, ofErased) && validText(s, history.MaxMemberID) {
		return s, nil
	}
	text, ok := strings.CutPrefix(s, ofNetwork)
	p, err := netip.ParsePrefix(text)
	if err != nil {
		var client netip.Addr
		if client, err = netip.ParseAddr(text); err == nil {
			client = client.Unmap().WithZone("")
			p = netip.PrefixFrom(client, client.BitLen())
		}
	}
	if ok && err != nil {
		return "", refuse(conversation.BadPayload, "a banned network is an address or a network, such as 203.0.113.0/24")
	}
	if !ok {
		return "", refuse(conversation.BadPayload, "a ban is of user:ID or net:NETWORK, such as net:203.0.113.0/24")
	}
	least := leastBits4
	if p.Addr().Is6() {
		least = leastBits6
		p = netip.PrefixFrom(p.Addr(), min(p.Bits(), mostBits6))
	}
	if p.Addr().Is4In6() || p.Bits() < least {
		return "", refuse(conversation.BadPayload, "a banned network has at least /%d", least)
	}
	return ofNetwork + p.Masked().String(), nil
}
