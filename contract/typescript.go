package contract

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// TypeScript writes declarations:
//
//   - an interface for each struct
//   - ServerToClientEvents and ClientToServerEvents, the typed events of socket.io-client:
//     Socket<ServerToClientEvents, ClientToServerEvents>
//   - ClientRequests, the events of clients for parley.js, with the answers as return types:
//     Client<ServerToClientEvents, ClientRequests>
//   - Refusal, the answer to an event that the server refuses, and RefusalCode
//
// It writes nothing if the contract has mistakes; the error names them.
func (c *Contract) TypeScript(w io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "// The contract of %s. Generated from Go types: do not edit.\n", c.name)
	c.refusals(&b)
	for _, d := range c.decls {
		if len(d.bases)+len(d.fields) == 0 {
			fmt.Fprintf(&b, "\nexport type %s = %s;\n", d.name, d.body(""))
			continue
		}
		b.WriteString("\nexport interface " + d.name)
		for i, base := range d.bases {
			b.WriteString([]string{", ", " extends "}[b2i(i == 0)] + base.typeScript())
		}
		if len(d.fields) == 0 {
			b.WriteString(" {}\n")
			continue
		}
		b.WriteString(" " + d.body("") + "\n")
	}
	c.events(&b, "ServerToClientEvents", "What the server sends, for socket.io-client and parley.js.", c.server, func(name string, of []*message) string {
		return fmt.Sprintf("%s: %s;", name, function(of))
	})
	c.events(&b, "ClientToServerEvents", "What clients send, for socket.io-client. The answer is an acknowledgement.", c.client, func(name string, of []*message) string {
		return fmt.Sprintf("%s: %s;", name, function(of))
	})
	c.events(&b, "ClientRequests", "What clients send, for parley.js, with the answers that request() resolves with.", c.client, func(name string, of []*message) string {
		return fmt.Sprintf("%s(%s): %s;", name, parameters(of[0]), result(of[0]))
	})
	_, err := io.WriteString(w, b.String())
	return err
}

// refusals writes the types of refusals.
func (c *Contract) refusals(b *strings.Builder) {
	code := "string"
	if len(c.refusal.codes) > 0 {
		code = "RefusalCode"
		b.WriteString("\n/** Why the server refuses an event. */\nexport type RefusalCode =\n")
		for i, r := range c.refusal.codes {
			fmt.Fprintf(b, "  | %s%s\n", quote(r.Code), []string{"", ";"}[b2i(i == len(c.refusal.codes)-1)])
		}
	}
	data := &expr{}
	if c.refusal.data != nil {
		data = c.refusal.data
	}
	fmt.Fprintf(b, "\n/** The acknowledgement of a refused event. */\nexport interface Refusal {\n  error: { code: %s; message: string; data?: %s };\n}\n", code, data.typeScript(""))
}

// events writes a map of events.
func (c *Contract) events(b *strings.Builder, name, doc string, of []*message, line func(name string, of []*message) string) {
	fmt.Fprintf(b, "\n/** %s */\nexport type %s = {\n", doc, name)
	for _, same := range byName(of) {
		comment(b, "  ", c.details[same[0].descriptor].Doc)
		b.WriteString("  " + line(member(same[0].name), same) + "\n")
	}
	b.WriteString("};\n")
}

// byName groups messages of one name, in the order of the first of each.
func byName(all []*message) (groups [][]*message) {
	at := map[string]int{}
	for _, m := range all {
		i, ok := at[m.name]
		if !ok {
			i, groups = len(groups), append(groups, nil)
			at[m.name] = i
		}
		groups[i] = append(groups[i], m)
	}
	return groups
}

// function returns the type of a listener, or of one of several.
func function(same []*message) string {
	m := same[0]
	if len(same) > 1 { // one argument of several types
		var types []string
		for _, m := range same {
			for _, a := range m.arguments {
				types = append(types, a.typeScript(""))
			}
		}
		return "(argument: " + strings.Join(types, " | ") + ") => void"
	}
	p := parameters(m)
	if m.call {
		if p != "" {
			p += ", "
		}
		p += "answer: (answer" + []string{": ", "?: "}[b2i(m.answer == nil)] + strings.TrimPrefix(result(m)+" | Refusal", "void | ") + ") => void"
	}
	return "(" + p + ") => void"
}

func parameters(m *message) string {
	var p []string
	for i, a := range m.arguments {
		name := "argument"
		if len(m.arguments) > 1 {
			name += strconv.Itoa(i + 1)
		}
		p = append(p, name+": "+a.typeScript(""))
	}
	return strings.Join(p, ", ")
}

func result(m *message) string {
	if m.answer == nil {
		return "void"
	}
	return m.answer.typeScript("")
}

func (b *base) typeScript() string {
	ts := b.decl.name
	if len(b.without) > 0 {
		var names []string
		for _, name := range b.without {
			names = append(names, quote(name))
		}
		ts = "Omit<" + ts + ", " + strings.Join(names, " | ") + ">"
	}
	if b.partial {
		ts = "Partial<" + ts + ">"
	}
	return ts
}

// body returns the members in braces. indent is that of the line on which it begins.
func (d *decl) body(indent string) string {
	if len(d.fields) == 0 {
		return "Record<string, never>"
	}
	b := new(strings.Builder)
	b.WriteString("{\n")
	for _, f := range d.fields {
		comment(b, indent+"  ", f.doc)
		fmt.Fprintf(b, "%s  %s%s: %s;\n", indent, member(f.name), []string{"", "?"}[b2i(f.optional)], f.of.typeScript(indent+"  "))
	}
	return b.String() + indent + "}"
}

func (e *expr) typeScript(indent string) string {
	switch e.kind {
	case boolean:
		return "boolean"
	case integer, number:
		return "number"
	case text, bytes:
		return "string"
	case binary:
		return "ArrayBuffer | Uint8Array"
	case enum:
		return e.union()
	case array:
		return e.elem.inner(indent) + "[]"
	case tuple:
		return "[" + strings.TrimSuffix(strings.Repeat(e.elem.typeScript(indent)+", ", e.length), ", ") + "]"
	case object:
		return "Record<string, " + e.elem.typeScript(indent) + ">"
	case structure:
		var parts []string
		for _, base := range e.object.bases {
			parts = append(parts, base.typeScript())
		}
		if len(parts) == 0 || len(e.object.fields) > 0 {
			parts = append(parts, e.object.body(indent))
		}
		return strings.Join(parts, " & ")
	case named:
		return e.decl.name
	case nullable:
		return e.elem.typeScript(indent) + " | null"
	case foreign:
		return e.ts
	}
	return "unknown"
}

// inner returns the expression so that something can be appended to it.
func (e *expr) inner(indent string) string {
	ts := e.typeScript(indent)
	if strings.ContainsAny(ts, "|&") && e.kind != object {
		return "(" + ts + ")"
	}
	return ts
}

func (e *expr) union() string {
	var quoted []string
	for _, v := range e.values {
		quoted = append(quoted, quote(v))
	}
	return strings.Join(quoted, " | ")
}

// comment writes a comment, unless text is empty.
func comment(b *strings.Builder, indent, text string) {
	if text != "" {
		b.WriteString(indent + "/** " + strings.ReplaceAll(text, "*/", "* /") + " */\n")
	}
}

var identifier = regexp.MustCompile(`^[A-Za-z_$][\w$]*$`)

// member returns the name of a member as TypeScript writes it.
func member(name string) string {
	if identifier.MatchString(name) {
		return name
	}
	return quote(name)
}

// quote returns a string in single quotes.
func quote(s string) string {
	q := strconv.Quote(s)
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	return "'" + strings.ReplaceAll(q, "'", `\'`) + "'"
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
