package contract

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Markdown writes tables: of the events, of their payloads, and of the codes of refusals. Headings
// begin at the second level. It writes nothing if the contract has mistakes; the error names them.
func (c *Contract) Markdown(w io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	var b strings.Builder
	c.eventTable(&b, "From the client", c.client)
	c.eventTable(&b, "From the server", c.server)
	if len(c.decls) > 0 {
		b.WriteString("\n## Payloads\n\n`?` marks members that may be absent.\n")
	}
	for _, d := range c.decls {
		d.table(&b)
	}
	c.codeTable(&b)
	_, err := io.WriteString(w, strings.TrimPrefix(b.String(), "\n"))
	return err
}

// codeTable writes the codes of refusals.
func (c *Contract) codeTable(b *strings.Builder) {
	if len(c.refusal.codes) == 0 {
		return
	}
	b.WriteString("\n## Codes\n\n")
	rows := [][]string{{"code", "meaning", "again?"}, {"---", "---", "---"}}
	status := slices.ContainsFunc(c.refusal.codes, func(r Refusal) bool { return r.Status != 0 })
	if status {
		rows[0], rows[1] = append(rows[0], "over HTTP"), append(rows[1], "---")
	}
	for _, r := range c.refusal.codes {
		cells := []string{"`" + r.Code + "`", r.Meaning, r.Again}
		if status {
			cells = append(cells, strings.TrimPrefix(strconv.Itoa(r.Status), "0"))
		}
		rows = append(rows, cells)
	}
	for _, cells := range rows {
		row(b, cells...)
	}
}

// eventTable writes the events of one side, with the columns for which there is something.
func (c *Contract) eventTable(b *strings.Builder, title string, all []*message) {
	if len(all) == 0 {
		return
	}
	columns := []struct {
		title string
		cell  func(same []*message) string
	}{
		{"event", func(same []*message) string { return "`" + same[0].name + "`" }},
		{"", func(same []*message) string { return c.details[same[0].descriptor].Doc }},
		{"argument", func(same []*message) string {
			var types []string
			for _, m := range same {
				var list []string
				for _, a := range m.arguments {
					list = append(list, a.markdown())
				}
				types = append(types, strings.Join(list, ", "))
			}
			return strings.Join(types, " or ")
		}},
		{"answer", func(same []*message) string {
			switch m := same[0]; {
			case m.answer != nil:
				return m.answer.markdown()
			case m.call:
				return "nothing"
			}
			return ""
		}},
		{"who", func(same []*message) string { return c.details[same[0].descriptor].Who }},
		{"codes", func(same []*message) string {
			var codes []string
			for _, code := range c.details[same[0].descriptor].Codes {
				codes = append(codes, "`"+code+"`")
			}
			return strings.Join(codes, ", ")
		}},
	}
	rows := make([][]string, 2)
	for _, col := range columns {
		cells, some := []string{}, false
		for _, same := range byName(all) {
			cell := col.cell(same)
			cells, some = append(cells, cell), some || cell != ""
		}
		if !some {
			continue
		}
		rows[0], rows[1] = append(rows[0], col.title), append(rows[1], "---")
		for i, cell := range cells {
			if len(rows) < i+3 {
				rows = append(rows, nil)
			}
			rows[i+2] = append(rows[i+2], cell)
		}
	}
	fmt.Fprintf(b, "\n## %s\n\n", title)
	for _, cells := range rows {
		row(b, cells...)
	}
}

// table writes a declaration.
func (d *decl) table(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s\n\n", d.name)
	for _, base := range d.bases {
		but := ""
		for i, name := range base.without {
			but += []string{", ", " except "}[b2i(i == 0)] + "`" + name + "`"
		}
		if base.partial {
			but += ", or none of them"
		}
		fmt.Fprintf(b, "All members of %s%s.\n\n", base.decl.link(), but)
	}
	if len(d.fields) == 0 {
		if len(d.bases) == 0 {
			b.WriteString("An object without members.\n")
		}
		return
	}
	row(b, "member", "type", "")
	row(b, "---", "---", "---")
	for _, f := range d.fields {
		row(b, "`"+f.name+"`"+[]string{"", "?"}[b2i(f.optional)], f.of.markdown(), f.doc)
	}
}

func (d *decl) link() string { return "[" + d.name + "](#" + strings.ToLower(d.name) + ")" }

func (e *expr) markdown() string {
	switch e.kind {
	case unknown:
		return "any JSON"
	case bytes:
		return "string, base64"
	case binary:
		return "binary data"
	case array:
		return "array of " + e.elem.markdown()
	case object:
		return "object of " + e.elem.markdown()
	case named:
		return e.decl.link()
	case nullable:
		return e.elem.markdown() + " or null"
	case enum, structure, foreign:
		if e.ts == "any" {
			return "any JSON"
		}
		return "`" + strings.Join(strings.Fields(e.typeScript("")), " ") + "`"
	}
	return e.typeScript("")
}

// row writes a row of a table.
func row(b *strings.Builder, cells ...string) {
	for _, cell := range cells {
		b.WriteString("| ")
		if cell = strings.ReplaceAll(strings.ReplaceAll(cell, "|", `\|`), "\n", " "); cell != "" {
			b.WriteString(cell + " ")
		}
	}
	b.WriteString("|\n")
}
