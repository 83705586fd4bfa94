package pruning

import (
	"context"
	"math"

	"github.com/parley-go/parley/history"
)

const (
	// Rows is how many messages of a room one commit deletes at most, and of its notes. Rooms follow while there
	// are fewer.
	Rows = 1000
	// rooms is how many rooms one commit prunes at most.
	rooms = 100
)

// Part is a room of which something is pruned.
type Part struct {
	ID, Head, Floor int64
	Name            string
	UpTo            int64 // the largest seq that goes; 0: nothing does
}

// rows returns how many messages go at most.
func (p *Part) rows() int { return int(max(0, p.UpTo-p.Floor)) }

// Room is a room to prune, with its notes.
type Room struct {
	Room, Notes Part
	First       *int64 // when the first message of the room was written; nil: there is none
}

// Measure finds out what goes in a room and its notes. upTo returns the largest seq that goes among the first
// Rows messages of a part: those from before a time, and those that are not among the newest keep. If older
// messages were pruned because of their number, the notes from before the first message go as well.
func (r *Room) Measure(rule history.PruneRule, upTo func(p Part, before int64, keep int) (int64, error)) (err error) {
	before := Before(rule)
	if r.Room.UpTo, err = upTo(r.Room, before, rule.Keep); err != nil {
		return err
	}
	if rule.Keep > 0 && r.Room.Floor > 0 && r.First != nil {
		before = max(before, *r.First)
	}
	r.Notes.UpTo, err = upTo(r.Notes, before, 0)
	return err
}

// Before returns the time before which a rule selects messages, in milliseconds.
func Before(rule history.PruneRule) int64 {
	if rule.Before.IsZero() {
		return math.MinInt64
	}
	return rule.Before.UnixMilli()
}

// Database is what a step needs of a database.
type Database struct {
	// Prunable returns what there is to prune in the one room, or in those whose turn it is: after a room, up
	// to last, which is 0 if there are no more rooms.
	Prunable func(ctx context.Context, rule history.PruneRule, after int64) (rooms []Room, last int64, err error)
	// Measure calls Room.Measure.
	Measure func(context.Context, history.PruneRule, *Room) error
	// Prune deletes in one commit what goes in some rooms and their notes. It leaves out rooms that were
	// erased or reopened since.
	Prune func(context.Context, history.PruneRule, []Room) (history.Pruned, error)
}

// Prune makes a step of [history.Pruner].
func (p *Positions) Prune(ctx context.Context, rule history.PruneRule, d Database) (pruned history.Pruned, err error) {
	if rule.Before.IsZero() && rule.Keep <= 0 {
		return pruned, nil
	}
	if rule.Room != "" {
		if err := history.CheckRoom(rule.Room); err != nil {
			return pruned, err
		}
	}
	after := p.position(rule)
	defer func() { p.advance(rule, after, rule.Room == "" && err == nil && pruned.More) }()
	prunable, last, err := d.Prunable(ctx, rule, after)
	if err != nil {
		return pruned, err
	}
	var chunk []Room
	size := 0
	for _, r := range prunable {
		if err := d.Measure(ctx, rule, &r); err != nil {
			return pruned, err
		}
		n := r.Room.rows() + r.Notes.rows()
		if len(chunk) > 0 && size+n > Rows || len(chunk) == rooms {
			break
		}
		if n > 0 {
			chunk = append(chunk, r)
			size += n
		} else if len(chunk) == 0 {
			after = r.Room.ID
		}
	}
	if len(chunk) == 0 {
		after, pruned.More = last, last > 0 && rule.Room == ""
		return pruned, nil
	}
	pruned, err = d.Prune(ctx, rule, chunk)
	pruned.More = true // of these rooms, or of others
	return pruned, err
}
