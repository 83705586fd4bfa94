// Package client against the reference of both generations and against our server, over each transport. The
// program in goclient has the steps.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { atEnd, run, serve, test } from './harness.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
if (!process.env.npm_lifecycle_event) execFileSync('go', ['build', '-o', '.bin/', './goclient'], { cwd: here, stdio: 'inherit' });

const steps = [
  'connect', 'events', 'binary', 'acknowledgements', 'answers', 'volatile', 'namespaces', 'refusals', 'the server disconnects',
  'large messages', 'the connection is lost', 'the server is restarted', 'the client disconnects',
];
const limit = 100_000; // bytes that the reference accepts; ours accepts 1 MB

const reference = (version, more) => ({
  start: (t, port) => run(t, `${process.execPath} ${here}reference.mjs`, [JSON.stringify({ version, port, maxPayload: limit, ...more })]),
  flags: [`-max-payload=${limit}`],
});
const ours = (...flags) => ({ start: (t, port) => serve(t, `-port=${port}`, ...flags), flags: [] });

const both = ['websocket', 'polling', 'polling,websocket'];
const matrix = {
  'socket.io 4.8.4': { ...reference('4'), more: ['-recovery'], ways: both },
  'socket.io 4.8.4 with msgpack': { ...reference('4', { msgpack: true }), more: ['-recovery', '-msgpack'], ways: both },
  'socket.io 2.5.0': { ...reference('2'), more: ['-protocol=3'], ways: both },
  ours: { ...ours('-recovery=1m'), more: ['-recovery'], ways: [...both, 'sse'] },
  'ours with TLS': { ...ours('-recovery=1m', '-webtransport'), more: ['-recovery', '-insecure'], ways: ['webtransport', 'websocket', 'sse'] },
  'ours with msgpack': { ...ours('-recovery=1m', '-msgpack'), more: ['-recovery', '-msgpack'], ways: ['websocket'] },
  'ours with Engine.IO 3': { ...ours('-legacy'), more: ['-protocol=3'], ways: both },
};

for (const [name, { start, flags, more, ways }] of Object.entries(matrix)) {
  for (const way of ways) {
    test(`${name}, ${way}`, async (t) => {
      let server = await start(t, 0);
      const { port } = new URL(server.url);
      const client = spawn(`${here}.bin/goclient`, [...flags, ...more, `-transports=${way}`, server.url], { stdio: ['ignore', 'pipe', 'pipe'] });
      atEnd(t, () => client.kill('SIGKILL'));
      let errors = '';
      client.stderr.on('data', (chunk) => { errors += chunk; });
      const ended = new Promise((resolve) => client.once('close', resolve));
      const done = [];
      for await (const line of createInterface(client.stdout)) {
        if (line === 'restart') {
          await server.stop();
          server = await start(t, port);
        } else {
          done.push(line);
        }
      }
      await ended;
      assert.equal(errors, '');
      assert.deepEqual(done, steps.map((step) => `ok ${step}`));
    });
  }
}
