// Runs examples as they are.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, readFile, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { io } from 'socket.io-client';
import { servers } from './balancer.mjs';
import { composed, front, replace } from './front.mjs';
import { atEnd, PATIENCE, redis, run, test, ways } from './harness.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));

/** Copies an example to where the packages of this directory are found, and resolves with its directory. */
async function example(t, name) {
  const dir = `${here}.bin/example-${name}-${process.pid}`;
  await cp(`${here}../examples/${name}`, dir, { recursive: true, filter: (path) => !path.endsWith('node_modules') });
  atEnd(t, () => rm(dir, { recursive: true }));
  return dir;
}

const node = async (...args) => (await promisify(execFile)(process.execPath, args, { timeout: PATIENCE })).stdout.trim();

test('examples: a client sees no difference between the server on Node.js and the one in Go', async (t) => {
  const dir = await example(t, 'node-migration');
  const one = await run(t, `${process.execPath} ${dir}/server.mjs`, ['0']);
  const other = await run(t, `${here}.bin/node-migration`, ['-addr', '127.0.0.1:0']);
  const seen = await node(`${dir}/client.mjs`, one.url);
  assert.equal(seen.split('\n').length, 12);
  assert.equal(await node(`${dir}/client.mjs`, other.url), seen);
});

test('examples: a server on Node.js and one in Go are one cluster', async (t) => {
  const url = `redis://${await redis(t)}`;
  const dir = await example(t, 'cluster-with-node');
  const js = await run(t, `${process.execPath} ${dir}/server.mjs`, ['0', url]);
  const go = await run(t, `${here}.bin/cluster-with-node`, ['-addr', '127.0.0.1:0', '-redis', url]);
  const lines = (await node(`${dir}/client.mjs`, js.url, go.url)).split('\n');
  assert.deepEqual([...lines.slice(0, 2).sort(), ...lines.slice(2).sort()], [
    '1 hears "hello from client 1" from Node.js', '2 hears "hello from client 1" from Node.js',
    '1 hears "hello from client 2" from Go', '2 hears "hello from client 2" from Go',
  ]);
});

test('examples: nginx sends each request to either server', async (t) => {
  const [one, other] = await servers(t, 2);
  const { http } = await front(t, composed, one.url, (text) => replace(text, composed.second, new URL(other.url).host));
  for (const [way, options] of Object.entries(ways)) {
    const clients = [0, 1].map(() => io(http, { ...options, forceNew: true, reconnection: false }));
    for (const client of clients) atEnd(t, () => client.close());
    for (const client of clients) if (!client.connected) await new Promise((resolve, reject) => client.once('connect', resolve).once('connect_error', reject));
    for (let i = 0; i < 10; i++) for (const client of clients) assert.equal(await client.timeout(PATIENCE).emitWithAck('message-with-ack', i), i, way);
  }
});

test('examples: the settings of compose.yaml are right', async () => {
  const text = await readFile(`${here}../examples/compose-nginx/compose.yaml`, 'utf8');
  const settings = Object.fromEntries([...text.matchAll(/^ +(PARLEY_\w+): (.*)$/gm)].map(([, name, value]) => [name, value.replace('${PARLEY_DB_PASSWORD:?}', 'p').replaceAll('"', '')]));
  assert.equal(Object.keys(settings).length, 6);
  const check = (env) => promisify(execFile)(`${here}.bin/parley`, ['config', 'check'], { env: { PATH: process.env.PATH, PARLEY_ADDR: ':8080', ...env } });
  await assert.rejects(check(settings), /failed to connect/); // all it lacks is the database
  await assert.rejects(check({ ...settings, PARLEY_CLUSTER: 'redis:6379' }), /PARLEY_CLUSTER/);
});
