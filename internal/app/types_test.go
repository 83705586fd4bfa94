package app_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/app"
)

// The generated files are up to date.
func TestContractFiles(t *testing.T) {
	for path, lang := range map[string]string{"docs/events.md": "md", "js/protocol.d.ts": "ts"} {
		code, want, stderr := command(nil, "types", "--lang", lang)
		if code != 0 || stderr != "" {
			t.Fatalf("exit code %d, errors %q", code, stderr)
		}
		got, err := os.ReadFile("../../" + path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s does not match the Go types. To update it: go run ./cmd/parley types --lang %s >%s", path, lang, path)
		}
	}
	if code, stdout, _ := command(nil, "types"); code != 0 || !strings.Contains(stdout, "export type ClientRequests") {
		t.Errorf("types without --lang: exit code %d, output %.100q", code, stdout)
	}
	if _, stdout, _ := command(nil, "types", "--lang", "schema"); !json.Valid([]byte(stdout)) {
		t.Errorf("the schema is no JSON: %.100q", stdout)
	}
	for _, args := range [][]string{{"types", "--lang", "go"}, {"types", "x"}, {"types", "--help-me"}} {
		if code, stdout, stderr := command(nil, args...); code != 2 || stdout != "" || stderr == "" {
			t.Errorf("%v: exit code %d, output %q, errors %q", args, code, stdout, stderr)
		}
	}
}

// The contract has every descriptor and every code of package conversation.
func TestContractIsComplete(t *testing.T) {
	var ts, schema bytes.Buffer
	if err := app.Contract().TypeScript(&ts); err != nil {
		t.Fatal(err)
	}
	if err := app.Contract().Schema(&schema); err != nil {
		t.Fatal(err)
	}
	var events struct {
		Client, Server map[string]struct{ Description string }
	}
	if err := json.Unmarshal(schema.Bytes(), &events); err != nil {
		t.Fatal(err)
	}
	descriptors := 0
	constants(t, "../../conversation/events.go", func(name, typ, value string) {
		descriptors++
		of := events.Client
		if typ == "Event" {
			of = events.Server
		} else if _, ok := conversation.AccessTo(value); !ok {
			t.Errorf("%s: nobody knows who may use %s", name, value)
		}
		if e, ok := of[value]; !ok || e.Description == "" {
			t.Errorf("%s: %s is not in the contract, or not described", name, value)
		}
	})
	if descriptors == 0 {
		t.Error("no descriptors")
	}
	constants(t, "../../conversation/code.go", func(name, _, value string) {
		if !strings.Contains(ts.String(), "'"+value+"'") {
			t.Errorf("%s: %s is not in the contract", name, value)
		}
	})
}

// constants calls f for the string constants in a Go file: with the name, the type or the descriptor's
// kind, and the value.
func constants(t *testing.T, path string, f func(name, typ, value string)) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		typ, value := "", spec.Values[0]
		if call, ok := value.(*ast.CallExpr); ok && len(call.Args) == 1 {
			value = call.Args[0]
			switch fun := call.Fun.(type) {
			case *ast.IndexExpr:
				typ = fun.X.(*ast.SelectorExpr).Sel.Name
			case *ast.IndexListExpr:
				typ = fun.X.(*ast.SelectorExpr).Sel.Name
			}
		}
		if text, ok := value.(*ast.BasicLit); ok && text.Kind == token.STRING {
			f(spec.Names[0].Name, typ, strings.Trim(text.Value, `"`))
		}
		return true
	})
}
