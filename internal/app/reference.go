package app

import (
	"fmt"
	"strings"
)

const referenceHead = `# Configuration

<!-- Made by "parley help config". -->

A setting is looked for in this order:

1. the command line: ` + "`--ping-interval 30s`" + `
2. the environment: ` + "`PARLEY_PING_INTERVAL=30s`" + `
3. the file that ` + "`--config`" + ` or ` + "`PARLEY_CONFIG`" + ` names, in TOML: ` + "`ping-interval = \"30s\"`" + `
4. the default

Nothing is passed over: an unknown flag, an unknown key in the file, an unknown variable
that begins with ` + "`PARLEY_`" + ` and a value that is not allowed each end the program, with the
name of the culprit. Only the variables that Kubernetes sets for services named parley or
parley-… (` + "`PARLEY_PORT=tcp://…`, `PARLEY_ADMIN_SERVICE_HOST=10.0.0.1`" + ` and the like) are ignored.

Durations are written as ` + "`25s` or `1m30s`" + `, sizes in bytes or as ` + "`64KiB`, `1MB`" + `, lists with
commas; in the file a list may also be an array of strings.

Everybody who reaches the address gets ` + "`/metrics`, `/healthz` and `/readyz`" + `, too. Where they
are nobody else's business, keep them back in the proxy in front.
`

// Reference returns the documentation of all settings as markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	var c Config
	for _, s := range c.settings() {
		if s.section != "" {
			fmt.Fprintf(&b, "\n## %s\n\n| setting | environment | default | |\n|---|---|---|---|\n", s.section)
		}
		def := ""
		if s.def != "" {
			def = "`" + s.def + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", s.name, variable(s.name), def, s.doc)
	}
	return b.String()
}
