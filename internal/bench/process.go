package bench

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is the server's process, if it runs on this machine and the machine has /proc (Linux).
type process struct {
	pid  int
	name string
}

// usage is the CPU time and memory of a process.
type usage struct {
	cpu time.Duration
	rss int64 // bytes
}

const clockTick = time.Second / 100 // the unit in /proc on every architecture

func newProcess(pid int) (*process, error) {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return nil, fmt.Errorf("there is no process %d, or no /proc", pid)
	}
	return &process{pid, strings.TrimSpace(string(name))}, nil
}

// usage returns zeros if p is nil or the process has ended.
func (p *process) usage() (u usage) {
	if p == nil {
		return u
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return u
	}
	// The second field is a name in parentheses, which may contain spaces and parentheses; see
	// proc(5).
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	field := func(number int) int64 {
		n, _ := strconv.ParseInt(string(fields[number-3]), 10, 64)
		return n
	}
	const utime, stime, rss = 14, 15, 24
	u.cpu = time.Duration(field(utime)+field(stime)) * clockTick
	u.rss = field(rss) * int64(os.Getpagesize())
	return u
}

// findServer returns the process that listens on a host and port of this machine.
func findServer(host, port string) (*process, error) {
	ips, err := net.LookupIP(host)
	if err != nil || !isLocal(ips) {
		return nil, errors.New("the server is not on this machine")
	}
	inode := ""
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		content, _ := os.ReadFile(table) // one of them may not exist
		if inode = listener(string(content), port); inode != "" {
			break
		}
	}
	if inode == "" {
		return nil, errors.New("no process on this machine listens there, or there is no /proc")
	}
	// Only root can read the descriptors of other users' processes.
	files, _ := filepath.Glob("/proc/[0-9]*/fd/[0-9]*")
	for _, file := range files {
		if to, err := os.Readlink(file); err == nil && to == "socket:["+inode+"]" {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			return newProcess(pid)
		}
	}
	return nil, errors.New("another user runs the server; run this as that user or as root")
}

func isLocal(ips []net.IP) bool {
	addresses, _ := net.InterfaceAddrs()
	for _, ip := range ips {
		if ip.IsLoopback() {
			return true
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
				return true
			}
		}
	}
	return false
}

// listener returns the inode of the socket that listens on a port, from a table such as
// /proc/net/tcp:
//
//	sl  local_address rem_address   st … inode
//	 0: 0100007F:1F90 00000000:0000 0A … 12345
func listener(table, port string) (inode string) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return ""
	}
	suffix := fmt.Sprintf(":%04X", n)
	const local, state, listening, inodeColumn = 1, 3, "0A", 9
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) > inodeColumn && strings.HasSuffix(f[local], suffix) && f[state] == listening {
			return f[inodeColumn]
		}
	}
	return ""
}
