// The page of the parley binary in a browser. This runs the tests of js/browser, which kill and restart
// the server. It needs "npm ci" in js, and Chromium.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { newPage, useBrowser } from './browser.mjs';
import { atEnd, connected, count, parley, test, unlimited } from './harness.mjs';
import { proxy } from './proxy.mjs';

useBrowser();

test('the page', async (t) => {
  const data = await mkdtemp(join(tmpdir(), 'parley-'));
  atEnd(t, () => rm(data, { recursive: true, force: true }));
  const start = () => parley(t, '--addr', '127.0.0.1:0', '--data', data, ...unlimited); // the tests fill rooms quickly
  let server = await start();
  const between = await proxy(t, server.url);

  // The tests call this to stop the server and to start it again.
  const control = createServer(async ({ url }, response) => {
    if (url === '/stop') await server.stop('SIGKILL');
    else between.target = (server = await start()).url;
    response.end();
  });
  await new Promise((resolve) => control.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => control.close());
  const ask = (what) => `'${process.execPath}' -e "fetch('http://127.0.0.1:${control.address().port}/${what}').then((r) => r.text())"`;

  const tests = spawn(process.execPath, ['--test', '--test-reporter=spec', 'browser/chat.test.mjs'], {
    cwd: fileURLToPath(new URL('../js', import.meta.url)),
    env: {
      PATH: process.env.PATH, HOME: process.env.HOME, PARLEY_URL: between.url, PARLEY_STOP: ask('stop'), PARLEY_START: ask('start'),
    },
  });
  atEnd(t, () => tests.kill());
  let out = '';
  for (const stream of [tests.stdout, tests.stderr]) stream.on('data', (chunk) => { out += chunk; });
  const [code] = await once(tests, 'exit');
  t.diagnostic(out.replace(/^/gm, '  '));
  assert.equal(code, 0, out);
});

/** Opens a page and waits until it is in the room. */
async function visit(t, url, { userId, query = '' } = {}) {
  const page = await newPage(t);
  if (userId) await page.addInitScript((id) => localStorage.setItem('parley.userId', id), userId);
  await page.goto(`${url}/${query}#r`);
  await page.locator('#status[data-state="connected"]').waitFor();
  return page;
}

/** Resolves when the page lists these people. Only the first one's place matters. */
const lists = (page, people) => page.waitForFunction((wanted) => {
  const [first, ...others] = [...document.querySelectorAll('#people li')].map((li) => [...li.children].map((part) => part.textContent).join(' ') || li.textContent);
  return JSON.stringify([first, ...others.sort()]) === wanted;
}, JSON.stringify(people));

test('the page distinguishes the visitor from an operator in the same conversation, and recognises its other tabs', async (t) => {
  const { url } = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory');
  const page = await visit(t, url, { userId: 'u7' });
  await page.fill('#name-input', 'Ulla');
  await page.press('#name-input', 'Enter');
  const anna = await connected(t, url);
  await anna.emitWithAck('joinRoom', { roomId: 'r', userId: 'u7', operatorId: 'anna', name: 'Anna' });
  await lists(page, ['U Ulla you', 'A Anna operator']);
  await anna.emitWithAck('sendMessage', { roomId: 'r', message: 'How can I help?' });
  await page.locator('.entry:not(.own)', { hasText: 'How can I help?' }).waitFor();
  const again = await connected(t, url);
  await again.emitWithAck('joinRoom', { roomId: 'r', userId: 'u7', name: 'Ulla' });
  await again.emitWithAck('sendMessage', { roomId: 'r', message: 'from another tab' });
  await page.locator('.entry.own', { hasText: 'from another tab' }).waitFor();
  await lists(page, ['U Ulla you', 'A Anna operator']);
  assert.equal(await page.textContent('#people-count'), '2');
});

test('the page counts all members, even those that the server does not list', async (t) => {
  const { url } = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory');
  const counts = (page, n) => page.waitForFunction((text) => document.querySelector('#people-count').textContent === text, String(n));
  const early = await visit(t, url);
  const others = [];
  for (const i of count(150)) {
    const socket = await connected(t, url, { transports: ['websocket'] });
    await socket.emitWithAck('joinRoom', { roomId: 'r', userId: `u${i}`, name: `Number ${i}` });
    others.push(socket);
  }
  await counts(early, 151);
  assert.deepEqual([await early.locator('#people .avatar').count(), await early.textContent('#people .more')], [100, 'and 51 more']);

  const late = await visit(t, url);
  for (const page of [early, late]) await counts(page, 152);
  assert.match(await late.textContent('#people li'), /you$/);
  assert.deepEqual([await late.locator('#people .avatar').count(), await late.textContent('#people .more')], [101, 'and 51 more']);
  for (const socket of others.splice(0, 60)) socket.disconnect();
  for (const page of [early, late]) {
    await counts(page, 92);
    await page.locator('#people .more').waitFor({ state: 'detached' });
    await page.waitForFunction(() => document.querySelectorAll('#people .avatar').length === 92);
  }
});
