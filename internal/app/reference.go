package app

import (
	"fmt"
	"strings"
)

const referenceHead = `# Configuration

<!-- Made by "parley help config". -->

The server takes each setting from the first of these places that has it:

1. the command line: ` + "`--ping-interval 30s`" + `
2. the environment: ` + "`PARLEY_PING_INTERVAL=30s`" + `
3. the TOML file named by ` + "`--config`" + ` or ` + "`PARLEY_CONFIG`" + `: ` + "`ping-interval = \"30s\"`" + `
4. the default

The server does not ignore mistakes. It ends with an error message that names the mistake if there is
an unknown flag, an unknown key in the file, an unknown variable that begins with ` + "`PARLEY_`" + `, or a
value that is not allowed. It only ignores the variables that Kubernetes sets for services named
parley or parley-… (` + "`PARLEY_PORT=tcp://…`, `PARLEY_ADMIN_SERVICE_HOST=10.0.0.1`" + ` and so on).

Write durations as ` + "`25s` or `1m30s`" + `, sizes in bytes or as ` + "`64KiB` or `1MB`" + `, and lists with
commas. In the file, a list may also be an array of strings.

Everyone who can reach the address can also read ` + "`/healthz`, `/readyz` and, without `metrics-addr`, `/metrics`" + `.
If others should not see them, block them in the proxy in front.
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
