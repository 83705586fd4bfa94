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

test('the page shows that messages were edited or deleted: at once, loaded later, and after an absence', async (t) => {
  const { url } = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory', ...unlimited);
  const bob = await connected(t, url);
  await bob.emitWithAck('joinRoom', { roomId: 'r', userId: 'bob' });
  for (const i of count(200)) await bob.emitWithAck('sendMessage', { roomId: 'r', message: `number ${i}.` });
  const between = await proxy(t, url);
  const page = await visit(t, between.url);
  const entry = (seq) => page.locator(`.entry[data-seq="${seq}"]`);
  await entry(200).waitFor();
  await bob.emitWithAck('editMessage', { roomId: 'r', seq: 200, message: 'is now <b>another</b>' });
  await bob.emitWithAck('deleteMessage', { roomId: 'r', seq: 199 });
  await bob.emitWithAck('editMessage', { roomId: 'r', seq: 40, message: 'an old one' }); // the page has not loaded it
  await entry(200).locator('.edited').waitFor();
  assert.match(await entry(200).textContent(), /is now <b>another<\/b>edited/);
  await entry(199).locator('.deleted').waitFor();
  assert.match(await entry(199).textContent(), /deleted/);
  assert.doesNotMatch(await entry(199).textContent(), /number/);

  between.down();
  await page.locator('#status:not([data-state="connected"])').waitFor();
  await bob.emitWithAck('editMessage', { roomId: 'r', seq: 198, message: 'while you were away' });
  const { seq } = await bob.emitWithAck('sendMessage', { roomId: 'r', message: 'sent and' });
  await bob.emitWithAck('editMessage', { roomId: 'r', seq, message: 'changed' });
  between.up();
  await entry(198).locator('.edited').waitFor();
  assert.match(await entry(198).textContent(), /while you were away/);
  assert.match(await entry(seq).textContent(), /changed/);
  assert.deepEqual(await page.locator('.entry').evaluateAll((entries) => entries.slice(-4).map(({ dataset }) => Number(dataset.seq))), [198, 199, 200, seq]);

  // Up to the beginning, and down again to the end.
  await page.waitForFunction(() => {
    document.querySelector('#scroller').scrollTop = 0;
    return document.querySelector('.entry[data-seq="1"]');
  });
  await entry(40).locator('.edited').waitFor();
  await page.waitForFunction((last) => {
    document.querySelector('#scroller').scrollTop = 1e9;
    return document.querySelector(`.entry[data-seq="${last}"]`);
  }, seq);
});
