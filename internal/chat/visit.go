package chat

import (
	"github.com/parley-go/parley/conversation"
)

// A visit is what a client has said of itself when it came.
type visit struct {
	Page     *conversation.VisitedPage `json:"page,omitempty"`
	Locale   string                    `json:"locale,omitempty"`
	Timezone string                    `json:"timezone,omitempty"`
	Client   string                    `json:"client,omitempty"`
}

// or returns the visit with another page, if there is one; nil: nothing is known.
func (v *visit) or(page *conversation.VisitedPage) *visit {
	var with visit
	if v != nil {
		with = *v
	}
	if page != nil {
		with.Page = page
	}
	if with == (visit{}) {
		return nil
	}
	return &with
}

// Limits of what clients say of themselves, in bytes.
const (
	maxURL      = 2000
	maxTitle    = 200
	maxLocale   = 35
	maxTimezone = 64
	maxProgram  = 100
)

func checkPage(p *conversation.VisitedPage) error {
	if p == nil {
		return nil
	}
	return checkTexts([]text{{"page.url", p.URL, maxURL}, {"page.title", p.Title, maxTitle}, {"page.referrer", p.Referrer, maxURL}})
}

// A text is a member of a request, which has a limited number of bytes.
type text struct {
	field, value string
	limit        int
}

func checkTexts(texts []text) error {
	for _, t := range texts {
		if err := checkText(t.field, t.value, t.limit); err != nil {
			return err
		}
	}
	return nil
}

func checkVisit(q *conversation.HelloRequest) error {
	if err := checkPage(q.Page); err != nil {
		return err
	}
	return checkTexts([]text{{"locale", q.Locale, maxLocale}, {"timezone", q.Timezone, maxTimezone}, {"client", q.Client, maxProgram}})
}
