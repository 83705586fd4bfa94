package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// attacks are all attacks, by topic.
var attacks = [][]*attack{frames, sessions, http2Frames, bodies, reads, roomAttacks, doors, accesses, disk}

func main() {
	list := flag.Bool("list", false, "list the attacks")
	pattern := flag.String("run", "", "only attacks whose names match this regular expression")
	perf := flag.Bool("perf", false, "compare how fast others are served with and without each attack")
	controls := flag.Bool("controls", true, "repeat each attack with its defence switched off")
	binary := flag.String("binary", "", "the parley binary; it is built if left out")
	as := flag.String("as", "", "be the attacker, for the harness's own use")
	without := flag.Bool("without", false, "with -as: the defence is switched off")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, &harness{binary: *binary, perf: *perf, controls: *controls}, *pattern, *list, *as, *without)
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, h *harness, pattern string, list bool, as string, without bool) error {
	match, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	var chosen []*attack
	for _, topic := range attacks {
		for _, a := range topic {
			switch {
			case as == a.name:
				return beAttacker(a, without)
			case as != "" || !match.MatchString(a.name):
			case list:
				fmt.Printf("%-28s %s\n", a.name, a.what)
			default:
				chosen = append(chosen, a)
			}
		}
	}
	if list {
		return nil
	}
	if len(chosen) == 0 {
		return fmt.Errorf("there is no such attack")
	}
	return h.all(ctx, chosen)
}

// harness runs attacks, one after the other, and prints what came of them.
type harness struct {
	binary   string
	dir      string // for what is temporary
	perf     bool
	controls bool

	settling sync.WaitGroup
	mu       sync.Mutex
	failed   []string // names
}

func (h *harness) all(ctx context.Context, chosen []*attack) (err error) {
	if h.dir, err = os.MkdirTemp("", "parley-attack"); err != nil {
		return err
	}
	defer os.RemoveAll(h.dir)
	if h.binary == "" {
		h.binary = filepath.Join(h.dir, "parley")
		build := exec.CommandContext(ctx, "go", "build", "-o", h.binary, "github.com/parley-go/parley/cmd/parley")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	for _, a := range chosen {
		if ctx.Err() != nil {
			break
		}
		if h.perf {
			h.compare(ctx, a)
			continue
		}
		r, err := h.attackOnce(ctx, a)
		h.print(a.name, err == nil && len(r.allBroken()) == 0, err, r)
		if h.controls && a.broken != "" && ctx.Err() == nil {
			r, err := h.control(ctx, a)
			h.print(a.name+" without its defence", err == nil && r.broken(a.broken), err, r)
		}
	}
	h.settling.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(h.failed) > 0 {
		return fmt.Errorf("%d of %d: %s", len(h.failed), len(chosen), strings.Join(h.failed, ", "))
	}
	return nil
}

// print prints a verdict with its figures.
func (h *harness) print(name string, ok bool, err error, r *result) {
	verdict := "PASS"
	h.mu.Lock()
	defer h.mu.Unlock()
	if !ok {
		verdict = "FAIL"
		h.failed = append(h.failed, name)
	}
	switch {
	case err != nil:
		fmt.Printf("%s  %s: %v\n", verdict, name, err)
	default:
		fmt.Printf("%s  %s: %s\n", verdict, name, r)
	}
}

// later runs a check beside the attacks that follow.
func (h *harness) later(name string, check func() []bound) {
	h.settling.Go(func() {
		r := &result{bounds: check()}
		if len(r.allBroken()) > 0 {
			h.print(name+" afterwards", false, nil, r)
		}
	})
}
