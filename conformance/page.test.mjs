// The page in a browser, against the ready binary: js/browser's tests with servers that are
// killed and started again in between. They need "npm ci" in js, and Chromium.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { atEnd, parley, test } from './harness.mjs';
import { proxy } from './proxy.mjs';

test('the page', async (t) => {
  const data = await mkdtemp(join(tmpdir(), 'parley-'));
  atEnd(t, () => rm(data, { recursive: true, force: true }));
  const start = () => parley(t, '--addr', '127.0.0.1:0', '--data', data);
  let server = await start();
  const between = await proxy(t, server.url);

  // Asked for by the tests when they want the server to be restarted.
  const restarter = createServer(async (_, response) => {
    await server.stop('SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 1000)); // for the pages to notice
    server = await start();
    between.target = server.url;
    response.end();
  });
  await new Promise((resolve) => restarter.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => restarter.close());

  const tests = spawn(process.execPath, ['--test', '--test-reporter=spec', 'browser/chat.test.mjs'], {
    cwd: fileURLToPath(new URL('../js', import.meta.url)),
    env: {
      PATH: process.env.PATH, HOME: process.env.HOME, PARLEY_URL: between.url,
      PARLEY_RESTART: `'${process.execPath}' -e "fetch('http://127.0.0.1:${restarter.address().port}').then((r) => r.text())"`,
    },
  });
  atEnd(t, () => tests.kill());
  let out = '';
  for (const stream of [tests.stdout, tests.stderr]) stream.on('data', (chunk) => { out += chunk; });
  const [code] = await once(tests, 'exit');
  t.diagnostic(out.replace(/^/gm, '  '));
  assert.equal(code, 0, out);
});
