package contract_test

import (
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/contract"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/history"
)

type (
	Box[T any] struct {
		Value T `json:"value"`
	}
	Base struct {
		ID   string `json:"id"`
		Kind string `json:"kind"`
	}
	hidden struct {
		Shown int `json:"shown"`
	}
	Celsius float64
	Touchy  struct{ n *int }
	Tree    struct {
		Children []Tree `json:"children"`
		Parent   *Tree  `json:"parent,omitempty"`
	}
	Everything struct {
		Base
		hidden
		*Tree
		Kind     int    `json:"kind"`
		Plain    string // without a tag
		Skipped  string `json:"-"`
		private  string
		Flag     *bool              `json:"flag"`
		Maybe    *bool              `json:"maybe,omitempty"`
		Zero     Base               `json:"zero,omitempty"`
		Gone     Base               `json:"gone,omitzero"`
		Grid     [2][2]float64      `json:"grid"`
		ByName   map[string]*Base   `json:"byName"`
		ByNumber map[int][]string   `json:"byNumber,omitempty"`
		Base64   []byte             `json:"base64"`
		Binary   event.Binary       `json:"binary"`
		Raw      json.RawMessage    `json:"raw,omitempty"`
		Any      any                `json:"any"`
		At       time.Time          `json:"at"`
		Millis   history.Time       `json:"millis,omitzero"`
		Quoted   int64              `json:"quoted,string"`
		Heat     Celsius            `json:"heat"`
		Nested   struct{ A int }    `json:"nested"`
		List     []struct{ B bool } `json:"list,omitempty"`
		Sizes    []string           `json:"sizes" enum:"s,it's"`
		Chosen   *string            `json:"chosen" enum:"a,b"`
		Own      any                `json:"own" ts:"Base | null" doc:"an */ end"`
		Strange  bool               `json:"strange-name"`
		Boxed    Box[Base]          `json:"boxed"`
		Touchy   *Touchy            `json:"touchy,omitempty"`
		Only     struct{ Base }     `json:"only"`
	}
)

func (v Touchy) MarshalJSON() ([]byte, error) { return json.Marshal(*v.n) }

func typeScript(t *testing.T, c *contract.Contract) string {
	t.Helper()
	var b strings.Builder
	if err := c.TypeScript(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTypes(t *testing.T) {
	_ = Everything{private: ""}
	got := typeScript(t, contract.New("Test").Types(Everything{}))
	const want = `export interface Everything extends Omit<Base, 'kind'>, Partial<Tree> {
  shown: number;
  kind: number;
  Plain: string;
  flag: boolean | null;
  maybe?: boolean;
  zero: Base;
  gone?: Base;
  grid: [[number, number], [number, number]];
  byName: Record<string, Base | null>;
  byNumber?: Record<string, string[]>;
  base64: string;
  binary: ArrayBuffer | Uint8Array;
  raw?: unknown;
  any: unknown;
  at: string;
  millis?: string;
  quoted: string;
  heat: number;
  nested: {
    A: number;
  };
  list?: {
    B: boolean;
  }[];
  sizes: ('s' | 'it\'s')[];
  chosen: 'a' | 'b' | null;
  /** an * / end */
  own: Base | null;
  'strange-name': boolean;
  boxed: BoxBase;
  touchy?: unknown;
  only: Base;
}
`
	if _, rest, _ := strings.Cut(got, "export interface Everything"); !strings.HasPrefix("export interface Everything"+rest, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, part := range []string{
		"export interface BoxBase {\n  value: Base;\n}\n",
		"export interface Tree {\n  children: Tree[];\n  parent?: Tree;\n}\n",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("lacks\n%s", part)
		}
	}
}

func TestEvents(t *testing.T) {
	c := contract.New("Test").
		Client(event.RPC[event.None, event.None]("ping"), event.Event2[string, []byte]("upload"), event.RPC[int, []string]("count"), event.Event[event.None]("odd name")).
		Server(event.Event[Base]("news"), event.Event[Tree]("news"), event.RPC[event.None, string]("name"))
	got := typeScript(t, c)
	for _, part := range []string{
		"ping: (answer: (answer?: Refusal) => void) => void;",
		"upload: (argument1: string, argument2: ArrayBuffer | Uint8Array) => void;",
		"count: (argument: number, answer: (answer: string[] | Refusal) => void) => void;",
		"'odd name': () => void;",
		"news: (argument: Base | Tree) => void;",
		"ping(): void;",
		"count(argument: number): string[];",
		"error: { code: string; message: string; data?: unknown };",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("lacks %s:\n%s", part, got)
		}
	}
	if again := typeScript(t, c); again != got {
		t.Error("the second output differs")
	}
}

func TestSchema(t *testing.T) {
	var b strings.Builder
	if err := contract.New("Test").Client(event.RPC[Everything, int]("do")).Server(event.Event[Base]("a"), event.Event[Tree]("a")).Schema(&b); err != nil {
		t.Fatal(err)
	}
	var s struct {
		Client, Server map[string]any
		Defs           map[string]struct {
			Properties map[string]json.RawMessage
			Required   []string
			AllOf      []any
		} `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(b.String()), &s); err != nil {
		t.Fatal(err)
	}
	e := s.Defs["Everything"]
	for member, want := range map[string]string{
		"flag":   `{"anyOf":[{"type":"boolean"},{"type":"null"}]}`,
		"boxed":  `{"$ref":"#/$defs/BoxBase"}`,
		"base64": `{"contentEncoding":"base64","type":"string"}`,
		"sizes":  `{"items":{"enum":["s","it's"],"type":"string"},"type":"array"}`,
		"raw":    `{}`,
	} {
		var got any
		json.Unmarshal(e.Properties[member], &got)
		if b, _ := json.Marshal(got); string(b) != want {
			t.Errorf("%s: %s, want %s", member, b, want)
		}
	}
	if required := strings.Join(e.Required, " "); !strings.Contains(required, "kind") || strings.Contains(required, "maybe") {
		t.Errorf("required: %s", required)
	}
}

// Programs that use the package link no server.
func TestLinksNoServer(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	for _, dep := range []string{"github.com/parley-go/parley", "net"} {
		if slices.Contains(deps, dep) || !slices.Contains(deps, "github.com/parley-go/parley/event") {
			t.Errorf("links %s", dep)
		}
	}
}

type Same struct{ A int }

func another() any {
	type Same struct{ B int }
	return Same{}
}

// Mistakes are errors, and nothing is written.
func TestMistakes(t *testing.T) {
	for want, c := range map[string]*contract.Contract{
		"string is no descriptor":    contract.New("").Client("joinRoom"),
		"JSON has no chan int":       contract.New("").Types(struct{ C chan int }{}),
		"another type with the name": contract.New("").Types(Same{}, another()),
		"there is no type Nothing": contract.New("").Types(struct {
			A int `ts:"Nothing"`
		}{}),
		"has the tag enum, but is no st": contract.New("").Types(struct {
			A int `enum:"a"`
		}{}),
		"the event a is there twice": contract.New("").Client(event.Event[int]("a"), event.Event[int]("a")),
		"no event b to describe":     contract.New("").Describe(event.Event[int]("b"), contract.Details{}),
		"there is no code oops":      contract.New("").Server(event.Event[int]("b")).Describe(event.Event[int]("b"), contract.Details{Codes: []string{"oops"}}),
		"JSON has no map[bool]int":   contract.New("").Types(map[bool]int{}),
	} {
		var b strings.Builder
		err := errors.Join(c.TypeScript(&b), c.Markdown(&b), c.Schema(&b))
		if err == nil || strings.Count(err.Error(), want) != 3 || b.Len() > 0 {
			t.Errorf("%v, want three times %q; written: %q", err, want, b.String())
		}
	}
}
