package app_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The script for bash completes. The test binary acts as the program.
func TestCompletionInBash(t *testing.T) {
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(dir, "parley")); err != nil {
		t.Fatal(err)
	}
	bash := exec.CommandContext(t.Context(), "bash", "-c", `source <(parley completion bash)
		for line in "op" "operator add --pas" "operator |"; do
			COMP_WORDS=(parley ${line%|}); [[ $line == *"|" ]] && COMP_WORDS+=("")
			COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=(); _parley; echo "${COMPREPLY[*]}"
		done`)
	bash.Env = append(os.Environ(), asServer+"=1", "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := bash.CombinedOutput()
	if want := "operator\n--password-stdin\nadd disable enable list passwd remove\n"; err != nil || string(out) != want {
		t.Errorf("%v: %q", err, out)
	}
}
