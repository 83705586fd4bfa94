// Rooms and broadcasts.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import msgpack from 'socket.io-msgpack-parser';
import { collect, connected, count, each, serve, settled } from './harness.mjs';

/** Connects n clients and collects the events of each. */
async function crowd(t, n, way, ...flags) {
  const { url } = await serve(t, ...flags);
  const sockets = await Promise.all(count(n).map(() => connected(t, url, way)));
  const inboxes = sockets.map((socket) => collect(socket, 'news'));
  /** Broadcasts from the first client and returns how many events each client got. */
  const reached = async (how, ...args) => {
    for (const inbox of inboxes) inbox.length = 0;
    await sockets[0].emitWithAck('broadcast', how, 'news', ...args);
    await Promise.all(sockets.map(settled));
    for (const got of inboxes.flat()) assert.deepEqual(got, args);
    return inboxes.map((inbox) => inbox.length);
  };
  return { sockets, inboxes, reached };
}

async function broadcasts(t, way, ...flags) {
  const { sockets: [a, b, c, d], reached } = await crowd(t, 4, way, ...flags);
  assert.deepEqual(await reached({}, 1), [0, 1, 1, 1]);
  assert.deepEqual(await reached({ self: true }, 'all', { x: null }), [1, 1, 1, 1]);
  assert.deepEqual((await a.emitWithAck('join', 'red')).sort(), [a.id, 'red'].sort());
  await b.emitWithAck('join', 'red');
  await b.emitWithAck('join', 'blue');
  await c.emitWithAck('join', 'blue');
  assert.deepEqual(await reached({ to: ['red'] }, 1), [0, 1, 0, 0]);
  assert.deepEqual(await reached({ to: ['red'], self: true }, 1), [1, 1, 0, 0]);
  assert.deepEqual(await reached({ to: ['red', 'blue'], self: true }, Buffer.from([1]), { b: Buffer.from([2]) }), [1, 1, 1, 0], 'once each');
  assert.deepEqual(await reached({ to: ['red', 'blue'], except: ['blue'], self: true }), [1, 0, 0, 0]);
  assert.deepEqual(await reached({ except: ['blue'] }, 1), [0, 0, 0, 1]);
  assert.deepEqual(await reached({ to: [d.id] }, 1), [0, 0, 0, 1], 'the room of one');
  assert.deepEqual(await reached({ to: ['red', d.id], except: [b.id], self: true }, 1), [1, 0, 0, 1]);
  assert.deepEqual(await reached({ to: ['nobody'] }, 1), [0, 0, 0, 0]);
  assert.deepEqual(await b.emitWithAck('leave', 'red'), [b.id, 'blue']);
  assert.deepEqual(await reached({ to: ['red'] }, 1), [0, 0, 0, 0]);
  c.disconnect();
  c.connect();
  await settled(c);
  assert.deepEqual(await reached({ to: ['blue'] }, 1), [0, 1, 0, 0], 'rooms end with the socket');
}

each('broadcasts to rooms', (t, way) => broadcasts(t, way));
each('broadcasts to rooms by msgpack', (t, way) => broadcasts(t, { ...way, parser: msgpack }, '-msgpack'));

each('names of rooms', async (t, way) => {
  const { sockets: [a, b], reached } = await crowd(t, 2, way);
  for (const room of ['', ' ', '😀', '__proto__', 'toString', '"', 'x'.repeat(1000)]) {
    assert.ok((await b.emitWithAck('join', room)).includes(room));
    assert.deepEqual(await reached({ to: [room] }, room), [0, 1]);
    assert.ok(!(await b.emitWithAck('leave', room)).includes(room));
  }
  assert.equal((await a.emitWithAck('whoami')).rooms.length, 1);
});

each('all receivers see the same order', async (t, way) => {
  const { sockets, inboxes } = await crowd(t, 3, way);
  await Promise.all(sockets.map((socket) => socket.emitWithAck('join', 'all')));
  await Promise.all(sockets.flatMap((socket, who) => count(100).map((i) => socket.emitWithAck('broadcast', { to: ['all'], self: true }, 'news', who, i))));
  await Promise.all(sockets.map(settled));
  for (const inbox of inboxes) {
    for (const who of count(3)) assert.deepEqual(inbox.filter(([from]) => from === who).map(([, i]) => i), count(100));
  }
});

each('volatile events come at most once and in order, all others come', async (t, way) => {
  const { sockets: [a, b], reached } = await crowd(t, 2, way);
  const ticks = collect(a, 'tick');
  await a.emitWithAck('stream', { count: 200, every: 500, volatile: true });
  const got = ticks.flat();
  assert.ok(got.length > 0 && got.length <= 200);
  assert.deepEqual(got, [...new Set(got)].sort((x, y) => x - y));
  await a.emitWithAck('stream', { count: 200 });
  assert.deepEqual(ticks.flat().slice(got.length), count(200));
  // The server drops a volatile event if it is sending something else, or if no poll is waiting.
  for (let tries = 0; (await reached({ to: [b.id], volatile: true }, 1))[1] === 0; tries++) {
    assert.ok(tries < 100);
    await pause(5);
  }
});
