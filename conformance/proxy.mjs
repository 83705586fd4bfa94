// A TCP proxy that can break connections.
import { connect, createServer } from 'node:net';
import { atEnd } from './harness.mjs';

/**
 * Passes connections on to the server at url until the test ends. The proxy keeps its address, even
 * if you change the server's (target).
 */
export async function proxy(t, url) {
  const pairs = new Set();
  const self = {
    target: url,
    refusing: false, // see down
    silent: false, // see stall
    received: 0, // bytes that came from the server
    /** Resets all connections on both sides. unnoticed: only on the client's side, so that the server does not notice. */
    cut({ unnoticed = false } = {}) {
      for (const pair of pairs) {
        pair.held = unnoticed;
        pair.near.resetAndDestroy();
        if (!unnoticed) pair.far.resetAndDestroy();
      }
    },
    /** Resets all connections and new ones, until up(). */
    down(how) {
      self.refusing = true;
      self.cut(how);
    },
    /** Keeps all connections and accepts new ones, but passes nothing on until up(), not even the end of a connection. */
    stall() {
      self.silent = true;
      for (const { near, far } of pairs) {
        near.unpipe(far).resume();
        far.unpipe(near).resume();
      }
    },
    up() {
      if (self.silent) self.cut();
      self.refusing = self.silent = false;
    },
  };
  const listener = createServer((near) => {
    if (self.refusing) return near.resetAndDestroy();
    const far = connect(Number(new URL(self.target).port), '127.0.0.1');
    const pair = { near, far, held: false };
    pairs.add(pair);
    if (!self.silent) near.pipe(far).pipe(near);
    far.on('data', (chunk) => { self.received += chunk.length; });
    near.on('error', () => {}).on('close', () => pair.held || self.silent || far.destroy());
    far.on('error', () => {}).on('close', () => {
      if (self.silent) return;
      pairs.delete(pair);
      near.destroy();
    });
  });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => {
    listener.close();
    for (const { near, far } of pairs) { near.destroy(); far.destroy(); }
  });
  self.url = `http://127.0.0.1:${listener.address().port}`;
  return self;
}
