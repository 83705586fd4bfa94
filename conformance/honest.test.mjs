// What honest pages do at once is within the binary's default limits, for clients of every generation.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { io } from 'socket.io-client';
import { connected, count, parley, test, ways } from './harness.mjs';

const require = createRequire(import.meta.url);
const clients = { 4: io, 3: require('client-3.0.5').io, 2: require('client-2.0.4') };
const ask = (socket, event, payload) => new Promise((resolve) => { socket.emit(event, payload, resolve); });

for (const [version, connect] of Object.entries(clients)) {
  for (const [way, options] of Object.entries(ways)) {
    test(`a page that comes back, scrolls and pastes is neither slowed nor refused: Socket.IO ${version}, ${way}`, async (t) => {
      const { url } = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory');
      const socket = await connected(t, url, { connect, ...options });
      const answers = await Promise.all([
        ...count(20).map((i) => ask(socket, 'joinRoom', { roomId: `r${i}`, userId: 'ada' })),
        ...count(20).map((i) => ask(socket, 'history', { roomId: `r${i}` })),
        ...count(30).map((i) => ask(socket, 'sendMessage', { roomId: `r${i % 3}`, message: `unsent ${i}`, clientId: `${i}` })),
        ...count(3).map(() => ask(socket, 'sendMessage', { roomId: 'r9', message: 'x'.repeat(60_000) })),
      ]);
      for (let before = 11; before > 1; before--) answers.push(await ask(socket, 'history', { roomId: 'r0', before, limit: 1 }));
      assert.deepEqual(answers.filter(({ error }) => error), []);
      const metrics = await (await fetch(`${url}/metrics`)).text();
      const held = metrics.split('\n').filter((line) => /^parley_(slowed|over_budget|connections_refused)_total/.test(line));
      assert(held.length > 10, metrics);
      assert.deepEqual(held.filter((line) => !line.endsWith(' 0')), []);
    });
  }
}
