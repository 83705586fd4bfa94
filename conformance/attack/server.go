package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// server is a running parley, a process of its own with a new data directory.
type server struct {
	target
	cmd   *exec.Cmd
	data  string // its data directory
	http  *http.Client
	ended chan error // receives the result of Wait

	mu  sync.Mutex
	log []string
}

// newServer returns a server that somebody else has started.
func newServer(t target) *server {
	transport := &http.Transport{TLSClientConfig: tlsConfig(), DisableKeepAlives: true}
	return &server{target: t, ended: make(chan error, 1), http: &http.Client{Transport: transport, Timeout: patience}}
}

// start starts the binary and waits until it listens.
func start(binary, data string, closed bool, flags ...string) (*server, error) {
	s := newServer(target{Closed: closed})
	s.data = data
	s.cmd = exec.Command(binary, append([]string{"--data", s.data}, flags...)...)
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		s.keepLog(stderr)
	}()
	lines := bufio.NewScanner(stdout)
	for s.Host == "" && lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 2 && fields[0] == "open" {
			scheme, host, _ := strings.Cut(strings.TrimSuffix(fields[1], "/"), "://")
			s.target.Host, s.target.TLS = host, scheme == "https"
		}
	}
	go func() {
		io.Copy(io.Discard, stdout)
		<-logged
		s.ended <- s.cmd.Wait()
	}()
	if s.Host == "" {
		return nil, fmt.Errorf("the server has not started: %v\n%s", <-s.ended, strings.Join(s.log, "\n"))
	}
	return s, nil
}

func (s *server) keepLog(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			s.mu.Lock()
			s.log = append(s.log, strings.TrimSuffix(line, "\n"))
			s.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

func (s *server) logged() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.log...)
}

// stop ends the server. It has to end gracefully.
func (s *server) stop() error {
	s.cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		s.cmd.Process.Kill()
		return fmt.Errorf("the server did not end within %v", patience)
	}
}

// kill ends the server at once.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.ended
}

// get requests a path and returns the status and the body.
func (s *server) get(path string) (int, []byte, error) {
	r, err := http.NewRequest(http.MethodGet, s.url(path), nil)
	if err != nil {
		return 0, nil, err
	}
	r.Header = s.as("attack", "admin", http.Header{})
	resp, err := s.http.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// metrics are the server's, by name with labels as the server writes it.
type metrics map[string]float64

func (s *server) metrics() (metrics, error) {
	_, body, err := s.get("/metrics")
	if err != nil {
		return nil, err
	}
	m := make(metrics)
	for line := range bytes.Lines(body) {
		name, value, ok := strings.Cut(strings.TrimSpace(string(line)), "} ")
		if ok {
			name += "}"
		} else if name, value, ok = strings.Cut(name, " "); !ok || name == "#" {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			m[name] = v
		}
	}
	return m, nil
}

// sum adds up all metrics of a name, whatever their labels.
func (m metrics) sum(name string) (sum float64) {
	for key, v := range m {
		if of, _, _ := strings.Cut(key, "{"); of == name {
			sum += v
		}
	}
	return sum
}

// memory returns the bytes of memory that the server uses now and has used at most since resetPeak.
func (s *server) memory() (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("the server's memory cannot be measured: %w", err)
	}
	kib := func(name string) (n int64) {
		_, rest, _ := bytes.Cut(status, []byte("\n"+name+":"))
		fmt.Sscan(string(rest), &n)
		return n << 10
	}
	return kib("VmRSS"), kib("VmHWM"), nil
}

// resetPeak makes the kernel forget how much memory the server has used; see proc(5), clear_refs.
func (s *server) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0)
}
