package app

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/BurntSushi/toml"
)

var configCommands = []command{
	{name: "config check", does: "check the settings as the server would, and exit with 2 if it would not start with them", settings: []string{""},
		doc: `The files that the settings name are read, and whether there is an operator or a key of a program.
Nothing is fetched or changed.`,
		setup: func(c *call) func(context.Context) error { return c.checkConfig }},
	{name: "config show", does: "print each setting's value and where it comes from", settings: []string{""},
		doc:    `Secrets are shown as "…".`,
		prints: shownSetting{}, lines: true, setup: showConfig},
}

func (c *call) checkConfig(ctx context.Context) error {
	if err := c.config.checkFiles(c.config.logger(c.stderr)); err != nil {
		return usageError{err}
	}
	who, err := c.config.readAccess(ctx)
	if err != nil {
		return err
	}
	if err := c.config.checkOpen(who); err != nil {
		return usageError{err}
	}
	c.say("the server would start with these settings")
	return nil
}

// shownSetting is a line of config show.
type shownSetting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`         // default, file, variable or flag
	From   string `json:"from,omitempty"` // "parley.toml:3", "PARLEY_ADDR" or "--addr"
}

func showConfig(c *call) func(context.Context) error {
	asJSON := c.jsonFlag()
	return func(context.Context) error {
		config, origins, err := loadConfig(c.environ, c.given)
		if err != nil {
			return usageError{err}
		}
		computed := map[string]string{"addr": config.Addr, "http-redirect": config.HTTPRedirect}
		var shown []shownSetting
		for _, s := range config.settings() {
			o, given := origins[s.name]
			if !given {
				o = provenance{kind: "default", value: s.def}
			}
			line := shownSetting{Name: s.name, Value: cmp.Or(o.value, computed[s.name]), Origin: o.kind, From: o.place}
			if o.kind == "file" {
				line.From = fmt.Sprintf("%s:%d", o.place, lineOf(o.place, s.name))
			}
			if s.show != nil && line.Value != "" {
				line.Value = s.show(line.Value)
			}
			shown = append(shown, line)
		}
		return list(c, *asJSON, shown, []string{"SETTING", "VALUE", "FROM"}, func(s shownSetting) []string {
			return []string{s.Name, s.Value, cmp.Or(s.From, s.Origin)}
		})
	}
}

// lineOf returns the line of a TOML file on which a setting begins. It is the one up to which the file is
// complete without the setting.
func lineOf(path, name string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	before := ""
	for i, line := range strings.SplitAfter(string(text), "\n") {
		key, _, ok := strings.Cut(line, "=")
		if ok && strings.Trim(strings.TrimSpace(key), `"'`) == name {
			var earlier map[string]any
			if _, err := toml.Decode(before, &earlier); err == nil && earlier[name] == nil {
				return i + 1
			}
		}
		before += line
	}
	return 0
}
