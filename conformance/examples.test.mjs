// Runs examples/cluster-with-node as it is.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { atEnd, PATIENCE, redis, run, test } from './harness.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));

test('examples: a server on Node.js and one in Go are one cluster', async (t) => {
  const url = `redis://${await redis(t)}`;
  const dir = `${here}.bin/example-${process.pid}`; // there, the packages of this directory are found
  await cp(`${here}../examples/cluster-with-node`, dir, { recursive: true, filter: (path) => !path.endsWith('node_modules') });
  atEnd(t, () => rm(dir, { recursive: true }));
  const node = await run(t, `${process.execPath} ${dir}/server.mjs`, ['0', url]);
  const go = await run(t, `${here}.bin/cluster-with-node`, ['-addr', '127.0.0.1:0', '-redis', url]);
  const { stdout } = await promisify(execFile)(process.execPath, [`${dir}/client.mjs`, node.url, go.url], { timeout: PATIENCE });
  const lines = stdout.trim().split('\n');
  assert.deepEqual([...lines.slice(0, 2).sort(), ...lines.slice(2).sort()], [
    '1 hears "hello from client 1" from Node.js', '2 hears "hello from client 1" from Node.js',
    '1 hears "hello from client 2" from Go', '2 hears "hello from client 2" from Go',
  ]);
});
