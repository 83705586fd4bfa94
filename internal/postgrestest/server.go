package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Options configure a server.
type Options struct {
	// Durable makes the server write commits to the disk before it answers, as servers usually do.
	// Otherwise a power cut loses data, and tests are faster.
	Durable bool
	// Settings are lines of postgresql.conf, for example "max_connections = 10".
	Settings []string
}

// Server is a PostgreSQL server on the loopback interface, which ends with its test.
type Server struct {
	Addr string

	dir   string        // owned by the user that runs the server
	cmd   *exec.Cmd     // nil: it does not run
	ended chan struct{} // closed when the process has ended
}

// Start starts a server with an empty database "postgres". A nil opt means the defaults.
func Start(t testing.TB, opt *Options) *Server {
	t.Helper()
	s, err := start(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of PostgreSQL:\n%s", s.log())
		}
		s.remove()
	})
	return s
}

func start(opt *Options) (*Server, error) {
	if opt == nil {
		opt = &Options{}
	}
	s := &Server{}
	var err error
	if s.dir, err = makeCluster(); err != nil {
		return nil, err
	}
	settings := append([]string{
		"listen_addresses = '127.0.0.1'", "unix_socket_directories = ''", "max_connections = 200",
		"shared_buffers = 64MB", "dynamic_shared_memory_type = mmap", "log_checkpoints = off",
	}, opt.Settings...)
	if !opt.Durable {
		settings = append(settings, "fsync = off", "full_page_writes = off")
	}
	config, err := os.OpenFile(filepath.Join(s.dir, "data", "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = config.WriteString(strings.Join(settings, "\n") + "\n")
		err = errors.Join(err, config.Close())
	}
	for attempt := 0; err == nil && attempt < 10; attempt++ { // another program may take the port first
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			break
		}
		s.Addr = l.Addr().String()
		l.Close()
		if e := s.run(); e == nil {
			return s, nil
		} else if attempt == 9 {
			err = e
		}
	}
	s.remove()
	return nil, err
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	bin, err := findPrograms()
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(s.Addr)
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", filepath.Join(s.dir, "data"), "-p", port)
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr, err = asOwner(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	for {
		conn, err := pgx.Connect(context.Background(), s.URL("postgres"))
		if err == nil {
			s.cmd, s.ended = cmd, ended
			return conn.Close(context.Background())
		}
		select {
		case <-ended:
			return fmt.Errorf("postgres: %v\n%s", cmd.ProcessState, s.log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// URL returns the address of a database on the server.
func (s *Server) URL(database string) string {
	return "postgres://postgres@" + s.Addr + "/" + database + "?sslmode=disable&connect_timeout=300"
}

// Crash ends the server at once: what was committed is there after a Restart. A second call has no
// effect.
func (s *Server) Crash() {
	if s.cmd != nil {
		s.cmd.Process.Signal(immediateShutdown)
		<-s.ended
		s.cmd = nil
	}
}

// Restart starts the server again, on the same port.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Crash()
	var err error
	for range 100 {
		if err = s.run(); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal(err)
}

// Exec runs a statement on a database of the server.
func (s *Server) Exec(t testing.TB, database, statement string, args ...any) {
	t.Helper()
	if err := s.exec(database, statement, args...); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) exec(database, statement string, args ...any) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement, args...)
	return err
}

func (s *Server) log() string {
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(log)
}

func (s *Server) remove() {
	s.Crash()
	os.RemoveAll(s.dir)
}

// shared is the server that all tests of the process use, and what it was made of.
var shared struct {
	sync.Mutex
	server    *Server
	databases int
}

// Database makes an empty database for a test on a server that all tests of the process share, and
// returns its URL. options are options of CREATE DATABASE.
func Database(t testing.TB, options ...string) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		s, err := start(nil)
		if err != nil {
			t.Fatal(err)
		}
		shared.server = s
	}
	s := shared.server
	shared.databases++
	name := fmt.Sprintf("test_%d", shared.databases)
	s.Exec(t, "postgres", "CREATE DATABASE "+name+" "+strings.Join(options, " "))
	t.Cleanup(func() { s.exec("postgres", "DROP DATABASE "+name+" WITH (FORCE)") })
	return s.URL(name)
}

// Main returns tests that end the shared server after them:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }
func Main(m *testing.M) Tests { return Tests{m} }

// Tests are all tests of a process.
type Tests struct{ m *testing.M }

// Run runs the tests and returns the process's exit code.
func (t Tests) Run() int {
	defer stop()
	return t.m.Run()
}

// stop ends the server of Database, and removes the files of the package.
func stop() {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		shared.server.remove()
		shared.server = nil
	}
	template.Lock()
	defer template.Unlock()
	if template.dir != "" {
		os.RemoveAll(template.dir)
		template.dir = ""
	}
}
