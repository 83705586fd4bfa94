package history

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
)

// Prepare checks the query and returns it with Sort and Limit filled in, and with the position where
// the page before ended; nil stands for the beginning of the list. Stores call it.
func (q RoomQuery) Prepare() (RoomQuery, *RoomPosition, error) {
	q.Sort = cmp.Or(q.Sort, ByActivity)
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	kind := q.Assignee.Kind
	named := kind == AssignedTo || kind == AssignedToOthers
	switch {
	case q.Status != "" && q.Status != Open && q.Status != Closed,
		q.Sort != ByActivity && q.Sort != ByWaiting && q.Sort != ByCreated,
		kind < AnyAssignee || kind > AssignedToOthers,
		named != (q.Assignee.OperatorID != ""):
		return q, nil, ErrBadPage
	}
	if q.Cursor == "" {
		return q, nil, nil
	}
	var c roomCursor
	data, err := base64.RawURLEncoding.DecodeString(q.Cursor)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil || c.Version != 1 || c.Query != q.hash() {
		return q, nil, ErrBadPage.because("the cursor belongs to another query")
	}
	return q, &c.RoomPosition, nil
}

// RoomPosition is the position of a conversation in a list.
type RoomPosition struct {
	// Rest says, in a list ByWaiting, that the conversation does not wait. These follow ByActivity.
	Rest bool `json:"rest,omitempty"`
	// Key is what the list is sorted by, in milliseconds: WaitingSince, or LastAt. It is 0 in a list
	// ByCreated.
	Key int64 `json:"key"`
	ID  int64 `json:"id"` // ascends with the creation of rooms
}

// roomCursor is a cursor before it is encoded.
type roomCursor struct {
	Version int `json:"v"`
	RoomPosition
	Query string `json:"q"` // the query's hash
}

// Next returns the cursor of the page that follows a position. Stores call it with a prepared query.
func (q *RoomQuery) Next(after RoomPosition) string {
	data, _ := json.Marshal(roomCursor{1, after, q.hash()}) // cannot fail
	return base64.RawURLEncoding.EncodeToString(data)
}

// hash identifies what the query selects, and in which order.
func (q RoomQuery) hash() string {
	q.Limit, q.Cursor = 0, ""
	data, _ := json.Marshal(q) // cannot fail
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Ascending reports whether a list goes from small keys to large ones at this position.
func (q *RoomQuery) Ascending(p RoomPosition) bool { return q.Sort == ByWaiting && !p.Rest }

// matches reports whether the query selects a conversation.
func (q *RoomQuery) matches(r *Room) bool {
	switch q.Assignee.Kind {
	case NoAssignee:
		if r.OperatorID != "" {
			return false
		}
	case AssignedTo:
		if r.OperatorID != q.Assignee.OperatorID {
			return false
		}
	case AssignedToOthers:
		if r.OperatorID == "" || r.OperatorID == q.Assignee.OperatorID {
			return false
		}
	}
	return (q.Status == "" || r.Status == q.Status) &&
		(!q.Waiting || !r.WaitingSince.IsZero()) &&
		(!q.Unread || r.Unread > 0) &&
		(q.Label == "" || slices.Contains(r.Labels, q.Label)) &&
		(q.UserID == "" || r.UserID == q.UserID)
}
