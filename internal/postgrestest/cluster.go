package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

var errMissing = errors.New("PostgreSQL is not installed: run scripts/install-test-deps, or install it (Debian: apt-get install postgresql)")

// findPrograms returns the directory of initdb and postgres. Distributions do not put it into PATH.
func findPrograms() (string, error) {
	places := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
	} {
		found, _ := filepath.Glob(pattern)
		places = append(places, found...)
	}
	for i := len(places) - 1; i >= 0; i-- { // the newest version first, as they are sorted
		if isProgram(places[i], "initdb") && isProgram(places[i], "postgres") {
			return places[i], nil
		}
	}
	return "", errMissing
}

func isProgram(dir, name string) bool {
	path, err := exec.LookPath(filepath.Join(dir, name))
	return err == nil && filepath.IsAbs(path)
}

// template is a data directory of which each server gets a copy, because initdb is slow.
var template struct {
	sync.Mutex
	dir string
}

// makeCluster makes a directory with an empty cluster in "data". The user that runs servers owns it.
func makeCluster() (dir string, err error) {
	template.Lock()
	defer template.Unlock()
	if template.dir == "" {
		if template.dir, err = initCluster(); err != nil {
			return "", err
		}
	}
	if dir, err = makeDir(); err != nil {
		return "", err
	}
	if err = runAsOwner("cp", "-R", filepath.Join(template.dir, "data"), dir); err != nil {
		os.RemoveAll(dir)
	}
	return dir, err
}

func initCluster() (dir string, err error) {
	bin, err := findPrograms()
	if err != nil {
		return "", err
	}
	if dir, err = makeDir(); err != nil {
		return "", err
	}
	err = runAsOwner(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres",
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if err != nil {
		os.RemoveAll(dir)
	}
	return dir, err
}

// makeDir makes a directory for the user that runs servers.
func makeDir() (string, error) {
	dir, err := os.MkdirTemp("", "postgrestest")
	if err == nil {
		if err = giveToOwner(dir); err != nil {
			os.RemoveAll(dir)
		}
	}
	return dir, err
}

func runAsOwner(program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Dir = os.TempDir()
	var err error
	if cmd.SysProcAttr, err = asOwner(); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, strings.TrimSpace(string(out)))
	}
	return nil
}
