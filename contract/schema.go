package contract

import (
	"encoding/json"
	"io"
)

// Schema writes a JSON Schema (draft 2020-12) of the payloads, in $defs. Its members client and
// server have the events with the schemas of their arguments and answers. Types from ts tags are not
// checked by it. It writes nothing if the contract has mistakes; the error names them.
func (c *Contract) Schema(w io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	defs := map[string]any{}
	for _, d := range c.decls {
		defs[d.name] = d.schema()
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Schema string         `json:"$schema"`
		Title  string         `json:"title"`
		Client map[string]any `json:"client"`
		Server map[string]any `json:"server"`
		Defs   map[string]any `json:"$defs"`
	}{"https://json-schema.org/draft/2020-12/schema", "The contract of " + c.name, c.eventSchemas(c.client), c.eventSchemas(c.server), defs})
}

func (c *Contract) eventSchemas(all []*message) map[string]any {
	events := map[string]any{}
	for _, same := range byName(all) {
		m, e := same[0], map[string]any{}
		if doc := c.details[m.descriptor].Doc; doc != "" {
			e["description"] = doc
		}
		if len(same) > 1 {
			var either []any
			for _, m := range same {
				for _, a := range m.arguments {
					either = append(either, a.schema())
				}
			}
			e["arguments"] = []any{map[string]any{"anyOf": either}}
		} else {
			arguments := []any{}
			for _, a := range m.arguments {
				arguments = append(arguments, a.schema())
			}
			e["arguments"] = arguments
		}
		if m.answer != nil {
			e["answer"] = m.answer.schema()
		}
		events[m.name] = e
	}
	return events
}

func (d *decl) schema() map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range d.fields {
		s := f.of.schema()
		if f.doc != "" {
			s["description"] = f.doc
		}
		properties[f.name] = s
		if !f.optional {
			required = append(required, f.name)
		}
	}
	s := map[string]any{"type": "object", "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	var bases []any
	for _, base := range d.bases {
		if !base.partial && len(base.without) == 0 { // otherwise nothing can be said of their members
			bases = append(bases, map[string]any{"$ref": "#/$defs/" + base.decl.name})
		}
	}
	if len(bases) > 0 {
		s["allOf"] = bases
	}
	return s
}

func (e *expr) schema() map[string]any {
	switch e.kind {
	case boolean:
		return map[string]any{"type": "boolean"}
	case integer:
		return map[string]any{"type": "integer"}
	case number:
		return map[string]any{"type": "number"}
	case text:
		return map[string]any{"type": "string"}
	case bytes:
		return map[string]any{"type": "string", "contentEncoding": "base64"}
	case enum:
		return map[string]any{"type": "string", "enum": e.values}
	case array:
		return map[string]any{"type": "array", "items": e.elem.schema()}
	case tuple:
		return map[string]any{"type": "array", "items": e.elem.schema(), "minItems": e.length, "maxItems": e.length}
	case object:
		return map[string]any{"type": "object", "additionalProperties": e.elem.schema()}
	case structure:
		return e.object.schema()
	case named:
		return map[string]any{"$ref": "#/$defs/" + e.decl.name}
	case nullable:
		return map[string]any{"anyOf": []any{e.elem.schema(), map[string]any{"type": "null"}}}
	}
	return map[string]any{} // anything
}
