package history

import (
	"slices"
	"strconv"
	"strings"
)

// Limits of what describes a user.
const (
	MaxName  = 200 // bytes of a name
	MaxEmail = 200 // bytes of an address
)

const notesPrefix = "~notes/"

// NotesRoom returns the room that keeps the notes about a room.
func NotesRoom(room string) string { return notesPrefix + room }

// CheckConversation returns [ErrBadRoom] unless room can be the id of a conversation: it must not
// begin with "~", and it must be so short that its notes have a valid id as well.
func CheckConversation(room string) error {
	if err := CheckRoom(NotesRoom(room)); err != nil || room == "" || room[0] == '~' {
		return ErrBadRoom
	}
	return nil
}

// Prepare checks c against the limits. It returns c with its labels sorted, and with its attributes as
// they are stored. Stores call it.
func (c Conversation) Prepare() (Conversation, error) {
	switch {
	case c.UserID == "" || !validID(c.UserID, MaxMemberID):
		return c, ErrBadDraft.because("userId of the conversation")
	case !validID(c.Subject, MaxSubject):
		return c, ErrBadDraft.because("subject")
	case !validID(c.Name, MaxName):
		return c, ErrBadDraft.because("name")
	case !validID(c.Email, MaxEmail):
		return c, ErrBadDraft.because("email")
	}
	var err error
	if c.Labels, err = editLabels(nil, c.Labels, nil); err != nil {
		return c, err
	}
	c.Attributes, err = patchAttributes(nil, c.Attributes)
	return c, err
}

// Person returns what c says about its user. Name and address of a verified person stay as they are
// unless c is verified as well. Stores put it when they make the conversation.
func (c *Conversation) Person(known Person) Person {
	p := Person{UserID: c.UserID, Name: c.Name, Email: c.Email, Verified: c.Verified}
	if known.Verified && !c.Verified {
		p.Name, p.Email = "", ""
	}
	return p
}

// Room returns the room that c makes, which has no messages yet. Stores call it.
func (c *Conversation) Room(room string, now Time) Room {
	return Room{
		RoomID: room, UserID: c.UserID, Status: Open, Subject: c.Subject, Labels: c.Labels,
		Attributes: c.Attributes, LastAt: now, CreatedAt: now,
	}
}

// Receive changes a conversation as a new message of it does. keep is Draft.KeepOperator. Stores call
// it in the commit. It uses and changes only Status, OperatorID, ClosedAt and WaitingSince.
func (r *Room) Receive(m *Message, keep func(operatorID string) bool) {
	if m.OperatorID != "" {
		r.WaitingSince = Time{}
		return
	}
	if r.Status == Closed {
		r.Status, r.ClosedAt = Open, Time{}
		if r.OperatorID != "" && keep != nil && !keep(r.OperatorID) {
			r.OperatorID = ""
		}
	}
	if r.WaitingSince.IsZero() {
		r.WaitingSince = m.Timestamp
	}
}

// Prepare checks the parts of u that do not depend on the room. Stores call it.
func (u RoomUpdate) Prepare() (RoomUpdate, error) {
	if err := CheckRoom(u.RoomID); err != nil {
		return u, err
	}
	switch {
	case u.Status != nil && *u.Status != Open && *u.Status != Closed:
		return u, ErrBadDraft.because("status")
	case u.OperatorID != nil && !validID(*u.OperatorID, MaxMemberID):
		return u, ErrBadDraft.because("operatorId")
	case u.UserID != nil && (*u.UserID == "" || !validID(*u.UserID, MaxMemberID)):
		return u, ErrBadDraft.because("userId")
	case u.Subject != nil && !validID(*u.Subject, MaxSubject):
		return u, ErrBadDraft.because("subject")
	}
	for _, labels := range [][]string{u.AddLabels, u.RemoveLabels} {
		if err := checkLabels(labels); err != nil {
			return u, err
		}
	}
	if err := checkPatch(u.Attributes); err != nil || u.Note == nil {
		return u, err
	}
	note, err := u.Note.Prepare()
	if err == nil && note.RoomID == u.RoomID {
		err = ErrBadDraft.because("a note in the room that it is about")
	}
	u.Note = &note
	return u, err
}

// Apply changes r, and reports whether it is different then. If a condition does not hold, r stays as
// it is, and the error is ErrConflict without the room. Stores call it in the commit.
func (u *RoomUpdate) Apply(r *Room, now Time) (changed bool, err error) {
	was := *r
	to := was
	if u.Status != nil && *u.Status != to.Status {
		to.Status, to.ClosedAt = *u.Status, Time{}
		if to.Status == Closed {
			to.ClosedAt = now
		}
	}
	if to.Status == Closed || u.Answered {
		to.WaitingSince = Time{}
	}
	for _, text := range []struct{ from, to *string }{
		{u.OperatorID, &to.OperatorID}, {u.UserID, &to.UserID}, {u.Subject, &to.Subject},
	} {
		if text.from != nil {
			*text.to = *text.from
		}
	}
	if to.Labels, err = editLabels(was.Labels, u.AddLabels, u.RemoveLabels); err != nil {
		return false, err
	}
	if to.Attributes, err = patchAttributes(was.Attributes, u.Attributes); err != nil {
		return false, err
	}
	changed = to.Status != was.Status || to.WaitingSince.IsZero() != was.WaitingSince.IsZero() ||
		to.OperatorID != was.OperatorID || to.UserID != was.UserID || to.Subject != was.Subject ||
		!slices.Equal(to.Labels, was.Labels) || string(to.Attributes) != string(was.Attributes)
	if !changed {
		return false, nil
	}
	if u.IfOperator != nil && *u.IfOperator != was.OperatorID ||
		u.IfStatus != "" && u.IfStatus != was.Status ||
		u.IfChange != 0 && u.IfChange != was.Change {
		return false, ErrConflict
	}
	*r = to
	return true, nil
}

// editLabels returns a new sorted list.
func editLabels(labels, add, remove []string) ([]string, error) {
	if err := checkLabels(add); err != nil {
		return nil, err
	}
	labels = append(append(make([]string, 0, len(labels)+len(add)), labels...), add...)
	slices.Sort(labels)
	labels = slices.DeleteFunc(slices.Compact(labels), func(l string) bool { return slices.Contains(remove, l) })
	if len(labels) > MaxLabels {
		return nil, ErrBadDraft.because("more than " + strconv.Itoa(MaxLabels) + " labels")
	}
	return labels, nil
}

func checkLabels(labels []string) error {
	for _, label := range labels {
		if strings.TrimSpace(label) == "" || !validID(label, MaxLabel) {
			return ErrBadDraft.because("label")
		}
	}
	return nil
}

// Prepare checks what p says. Stores call it.
func (p Person) Prepare() (Person, error) {
	switch {
	case p.UserID == "" || !validID(p.UserID, MaxMemberID):
		return p, ErrBadDraft.because("userId")
	case !validID(p.Name, MaxName):
		return p, ErrBadDraft.because("name")
	case !validID(p.Email, MaxEmail):
		return p, ErrBadDraft.because("email")
	}
	return p, checkPatch(p.Attributes)
}

// Put changes p, who may be new, as [People.PutPerson] says. Shown reports whether lists of
// conversations look different then. Stores call it in the commit.
func (p *Person) Put(by Person, now Time) (shown bool, err error) {
	attributes, err := patchAttributes(p.Attributes, by.Attributes)
	if err != nil {
		return false, err
	}
	was := *p
	p.UserID, p.Attributes = by.UserID, attributes
	if by.Name != "" {
		p.Name = by.Name
	}
	if by.Email != "" {
		p.Email = by.Email
	}
	p.Verified = p.Verified || by.Verified
	if p.CreatedAt.IsZero() {
		p.CreatedAt, p.SeenAt = now, now
	}
	if by.SeenAt.After(p.SeenAt.Time) {
		p.SeenAt = by.SeenAt
	}
	return p.Name != was.Name || p.Email != was.Email || p.Verified != was.Verified, nil
}

// CheckMerge checks the ids that [People.Merge] gets. Stores call it.
func CheckMerge(visitor, user string) error {
	for _, id := range []string{visitor, user} {
		if id == "" || !validID(id, MaxMemberID) {
			return ErrBadDraft.because("userId")
		}
	}
	if visitor == user {
		return ErrBadDraft.because("a user cannot become itself")
	}
	return nil
}

// CanBecome returns ErrConflict if the visitor p cannot be merged into a user. Both may be unknown.
// Stores call it in the commit.
func (p *Person) CanBecome(userID string, user Person) error {
	switch {
	case p.Verified:
		return ErrConflict.because("the visitor is verified")
	case p.Became != "" && p.Became != userID:
		return ErrConflict.because("the visitor has become somebody else")
	case user.Became != "":
		return ErrConflict.because("the user has become somebody else")
	}
	return nil
}

// PrepareNote returns the note that note makes about a room, prepared, or nil. It has no client id: a
// merge is not repeated. Stores call it.
func PrepareNote(note func(room string) *Draft, room string) (*Draft, error) {
	if note == nil {
		return nil, nil
	}
	d := note(room)
	if d == nil {
		return nil, nil
	}
	prepared := *d
	prepared.ClientID = ""
	prepared, err := prepared.Prepare()
	if err == nil && prepared.RoomID == room {
		err = ErrBadDraft.because("a note in the room that it is about")
	}
	return &prepared, err
}
