package app

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The scripts ask the program itself: "parley completion words WORD…" prints what could be in the place of
// the last word. If it prints nothing, the shell completes the names of files.
var completions = map[string]string{
	"bash": `_parley() {
	local IFS=$'\n' word="${COMP_WORDS[COMP_CWORD]}"
	COMPREPLY=($(compgen -W "$(parley completion words "${COMP_WORDS[@]:1:COMP_CWORD-1}" "$word" 2>/dev/null)" -- "$word"))
}
complete -o default -F _parley parley
`,
	"zsh": `#compdef parley
_parley() {
	local -a found
	found=("${(@f)$(parley completion words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
if [[ $funcstack[1] == _parley ]]; then _parley "$@"; else compdef _parley parley; fi
`,
	"fish": `function __parley_complete
	set -l words (commandline -opc) (commandline -ct)
	parley completion words $words[2..-1] 2>/dev/null
end
complete -c parley -n '__parley_complete | string length -q' -f -a '(__parley_complete)'
`,
}

func completionHelp(w io.Writer) {
	io.WriteString(w, `parley completion bash|zsh|fish

Prints a script for a shell. To use it now and in later shells:

  bash   parley completion bash > ~/.local/share/bash-completion/completions/parley
  zsh    parley completion zsh > ~/.zsh/_parley, if ~/.zsh is in fpath; or in .zshrc: source <(parley completion zsh)
  fish   parley completion fish > ~/.config/fish/completions/parley.fish
`)
}

// completion is the command completion.
func completion(_ context.Context, c *call, args []string) int {
	if len(args) > 0 && args[0] == "words" {
		for _, word := range complete(args[1:]) {
			fmt.Fprintln(c.stdout, word)
		}
		return exitOK
	}
	if len(args) > 0 && isHelp(args[0]) {
		completionHelp(c.stdout)
		return exitOK
	}
	if len(args) != 1 || completions[args[0]] == "" {
		return fail(c.stderr, exitUsage, errors.New("want one of bash, zsh and fish"))
	}
	io.WriteString(c.stdout, completions[args[0]])
	return exitOK
}

// complete returns what could be in the place of the last word of a command line, in order.
func complete(words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	before, last := words[:len(words)-1], words[len(words)-1]
	var all []string
	add := func(word string) {
		if strings.HasPrefix(word, last) && word != "" {
			all = append(all, word)
		}
	}
	topic := before
	if len(topic) > 0 && topic[0] == "help" {
		topic = topic[1:]
	}
	for _, c := range commands() { // the next word of a command's name
		name := strings.Fields(c.name)
		if len(topic) < len(name) && slices.Equal(topic, name[:len(topic)]) {
			add(name[len(topic)])
		}
	}
	found, _, _ := find(before)
	if len(before) == 0 || strings.HasPrefix(before[0], "-") {
		found, _, _ = find([]string{"serve"})
	}
	switch {
	case found == nil:
	case found.name == "completion":
		for name := range completions {
			add(name)
		}
	case strings.HasPrefix(last, "-") && (found.setup != nil || found.name == "serve"):
		found.flagNames(func(name string) { add("--" + name) })
	}
	slices.SortFunc(all, cmp.Compare)
	return slices.Compact(all)
}

// flagNames calls f with the names of the flags of a command.
func (c *command) flagNames(f func(string)) {
	if c.setup != nil {
		own := c.ownFlags()
		if c.remote {
			new(serverFlags).add(own)
		}
		own.VisitAll(func(flag *flag.Flag) { f(flag.Name) })
	}
	f(configFlag)
	var config Config
	for _, s := range config.settings() {
		if c.setup == nil || c.allows(s.name) {
			f(s.name)
		}
	}
}
