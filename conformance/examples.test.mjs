// Runs examples as they are.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { atEnd, PATIENCE, redis, run, test } from './harness.mjs';

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
