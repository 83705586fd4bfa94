package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// takeStoreAway changes the files of the store, waits until the server says that it is not ready, and
// then tries to store a message, and to start a second server.
func takeStoreAway(change func(data string) error) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		c, err := join(ctx, a.target, "websocket", from(attackerAddress), `{"roomId":"lost"}`)
		if err != nil {
			return err
		}
		defer c.close()
		send := func() (string, error) {
			return c.ask(ctx, "sendMessage", `{"roomId":"lost","message":{"text":"x"}}`)
		}
		if _, err := send(); err != nil {
			return err
		}
		if err := change(a.Data); err != nil {
			return err
		}
		a.count("attempts", 1)
		s := newServer(a.target)
		for status := 0; status != 503; {
			if ctx.Err() != nil {
				return nil
			}
			if status, _, err = s.get("/readyz"); err != nil {
				return err
			}
			time.Sleep(20 * time.Millisecond)
		}
		a.count("noticed", 1)
		for range 10 {
			answer, err := send()
			if err != nil {
				return err
			}
			if !refusal(answer) {
				a.count("acknowledged", 1)
			}
		}
		second, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := exec.CommandContext(second, a.Binary, "--addr", "127.0.0.1:0", "--data", a.Data).Run(); second.Err() != nil || err == nil {
			a.count("second server", 1)
		}
		return nil
	}
}

// removeStore removes the store's files, but not the lock. (Without it, a second server has a store of
// its own.)
func removeStore(data string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(data, "parley.db"+suffix)); err != nil {
			return err
		}
	}
	return nil
}

// nothingLost checks what the server did without its store.
func nothingLost(r *result) {
	r.least("noticed", r.count("noticed"), 1)
	r.most("acknowledged", r.count("acknowledged"), 0)
	r.most("second server", r.count("second server"), 0)
}

var disk = []*attack{
	{
		name: "store-removed", what: "the store's files are removed while the server runs", unwell: true,
		do: takeStoreAway(removeStore), whole: true, check: nothingLost, memory: 64 << 20,
	},
	{
		name: "store-replaced", what: "a copy takes the place of the database", unwell: true,
		do: takeStoreAway(func(data string) error {
			path := filepath.Join(data, "parley.db")
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := os.WriteFile(path+".copy", b, 0o600); err != nil {
				return err
			}
			return os.Rename(path+".copy", path)
		}),
		whole: true, check: nothingLost, memory: 64 << 20,
	},
}
