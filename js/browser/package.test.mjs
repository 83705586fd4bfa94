// The npm package in a page that Vite has built from the tarball, with React and an outbox, in Chromium
// against the binary.
//
//   CHROMIUM        default /usr/bin/chromium
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, test as bare } from 'node:test';
import { chromium } from 'playwright-core';
import { connect } from '../parley.js';
import { build, folder, pack, project, start, tool } from '../testdata/package.mjs';

const PATIENCE = 120_000;
const complaints = []; // errors on a page
const test = (name, body) => bare(name, { timeout: 600_000 }, async (t) => {
  complaints.length = 0;
  await body(t);
  assert.deepEqual(complaints, []);
});

const main = `
import { connect } from '@parley/client';
import type { ClientToServerEvents, ServerToClientEvents } from '@parley/client/protocol';
import { useRoom } from '@parley/client/react';
import { Outbox } from '@parley/client/outbox';
import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';

const given = new URLSearchParams(location.search);
const storage = given.get('storage') === 'local' ? localStorage : sessionStorage;
const client = connect<ServerToClientEvents, ClientToServerEvents>(given.get('server')!, { reconnection: { delay: 50, max: 200 } });

function Room({ roomId, userId, name }: { roomId: string; userId: string; name: string }) {
  const { messages, drafts, members, state, hasOlder, send, loadOlder } = useRoom(client, roomId, { userId, name, limit: 10, storage });
  return (
    <section className={roomId} data-state={state} data-older={hasOlder}>
      <p>{members.map(({ userId, name }) => name ?? userId).sort().join()}</p>
      <button className="older" onClick={() => loadOlder()}>older</button>
      <button className="send" onClick={() => send(document.querySelector('input')!.value)}>send</button>
      <ol>{messages.map(({ seq, message }) => <li key={seq}>{message}</li>)}</ol>
      <ul>{drafts.map(({ clientId, message }) => <li key={clientId}>{message}</li>)}</ul>
    </section>
  );
}

function App() {
  const [shown, show] = useState(given.get('rooms')!.split(','));
  const [who, become] = useState({ userId: given.get('user')!, name: 'Page' });
  Object.assign(window, { show, become, client, clear: () => Outbox.clear(storage) });
  return <>{shown.map((roomId, i) => <Room key={i} roomId={roomId} {...who} />)}<input /></>;
}

createRoot(document.querySelector('#root')!).render(<StrictMode><App /></StrictMode>);
`;

let browser, binary, site;
const ends = [];
before(async () => {
  const t = { after: (end) => ends.unshift(end) };
  const dir = await folder(t);
  const [tarball, built] = await Promise.all([pack(dir), build(dir)]);
  binary = built;
  const page = await project(t, tarball, {
    'index.html': '<!doctype html><meta charset="utf-8"><title>Parley</title><div id="root"></div><script type="module" src="/main.tsx"></script>',
    'main.tsx': main,
    'vite.config.js': 'export default { base: "./" };',
    'tsconfig.json': JSON.stringify({ compilerOptions: { strict: true, noEmit: true, target: 'es2023', module: 'esnext', moduleResolution: 'bundler', lib: ['es2023', 'dom'], jsx: 'react-jsx', types: [] } }),
  }, ['react', 'react-dom', '@types/react', '@types/react-dom']);
  await tool(page, 'tsc', '-p', '.');
  await tool(page, 'vite', 'build', '--logLevel', 'warn');
  const http = createServer(async (request, response) => {
    const path = new URL(request.url, 'http://x').pathname;
    try {
      const content = await readFile(join(page, 'dist', path === '/' ? 'index.html' : path));
      response.setHeader('Content-Type', path.endsWith('.js') ? 'text/javascript' : 'text/html');
      response.end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  t.after(() => { http.closeAllConnections(); return new Promise((resolve) => http.close(resolve)); });
  site = `http://127.0.0.1:${http.address().port}`;
  const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args });
  t.after(() => browser.close());
});
after(async () => { for (const end of ends) await end(); });

/** A server whose store outlives it. */
async function server(t) {
  const data = await folder(t);
  const run = (addr) => start(t, binary, '--addr', addr, '--data', data, '--cors-origins', site);
  let running = await run('127.0.0.1:0');
  const { url } = running;
  return { url, stop: () => running.stop('SIGKILL'), again: async () => { running = await run(new URL(url).host); } };
}

/** Opens the page with some rooms. */
async function visit(t, url, rooms, { storage = 'session', context } = {}) {
  if (!context) {
    context = await browser.newContext();
    t.after(() => context.close());
  }
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on('pageerror', (error) => complaints.push(error.stack));
  await page.goto(`${site}/?${new URLSearchParams({ server: url, rooms: rooms.join(), storage, user: 'ada' })}`);
  return page;
}

/** Another member of rooms. news has what the server says about others. */
async function watcher(t, url, ...rooms) {
  const client = connect(url, { transports: ['sse'] });
  t.after(() => client.close());
  const news = [];
  client.on('presence', ({ roomId, type, member }) => news.push(`${roomId} ${type} ${member?.userId} ${member?.name}`));
  for (const roomId of rooms) await client.request('joinRoom', { roomId, userId: 'bob', name: 'Bob' });
  const until = (line) => new Promise((resolve) => {
    const look = () => { if (news.includes(line)) { client.off('presence', look); resolve(); } };
    client.on('presence', look);
    look();
  });
  const say = (roomId, message) => client.request('sendMessage', { roomId, message, clientId: crypto.randomUUID() });
  return { client, news, until, say };
}

const joined = (page, room) => page.locator(`.${room}[data-state="joined"]`).first().waitFor();
const messages = (page, room) => page.locator(`.${room} ol li`).allTextContents();
const drafts = (page, room) => page.locator(`.${room} ul li`).allTextContents();
const sees = (page, room, text) => page.locator(`.${room} ol li`, { hasText: text }).first().waitFor();

async function send(page, room, ...texts) {
  for (const text of texts) {
    await page.fill('input', text);
    await page.locator(`.${room} .send`).first().click();
  }
}

const count = (n) => Array.from({ length: n }, (_, i) => i + 1);

test('strict mode joins once; two components share a room; rooms change; unmounting leaves', async (t) => {
  const { url } = await server(t);
  const { news, until, say } = await watcher(t, url, 'a', 'b');
  const page = await visit(t, url, ['a', 'a']);
  await joined(page, 'a');
  await until('a join ada Page');
  assert.equal(await page.locator('.a p').first().textContent(), 'Bob,Page');
  await say('a', 'to both');
  await page.waitForFunction(() => document.querySelectorAll('.a ol li').length === 2);

  await page.evaluate(() => window.show(['a'])); // the other one stays
  await page.waitForFunction(() => document.querySelectorAll('.a').length === 1);
  await say('a', 'to one');
  await sees(page, 'a', 'to one');
  assert.deepEqual(news, ['a join ada Page']);

  await page.evaluate(() => window.show(['b']));
  await until('a leave ada Page');
  await joined(page, 'b');
  await until('b join ada Page');
  assert.deepEqual(await messages(page, 'b'), []);
  await say('b', 'in b');
  await sees(page, 'b', 'in b');

  await page.evaluate(() => window.become({ userId: 'ada', name: 'Renamed' })); // without leaving
  await until('b join ada Renamed');
  await page.evaluate(() => window.show([]));
  await until('b leave ada Renamed');
  assert.deepEqual(news, ['a join ada Page', 'a leave ada Page', 'b join ada Page', 'b join ada Renamed', 'b leave ada Renamed']);
  await page.evaluate(() => window.show(['a']));
  await joined(page, 'a');
  assert.deepEqual(await messages(page, 'a'), ['to both', 'to one']);
});

test('older messages', async (t) => {
  const { url } = await server(t);
  const { say } = await watcher(t, url, 'a');
  for (const n of count(25)) await say('a', `m${n}`);
  const page = await visit(t, url, ['a']);
  await joined(page, 'a');
  assert.deepEqual(await messages(page, 'a'), count(10).map((n) => `m${n + 15}`));
  for (const shown of [20, 25]) {
    await page.locator('.a .older').click();
    await page.waitForFunction((n) => document.querySelectorAll('.a ol li').length === n, shown);
  }
  assert.deepEqual(await messages(page, 'a'), count(25).map((n) => `m${n}`));
  assert.equal(await page.locator('.a').getAttribute('data-older'), 'false');
});

test('what is written without a server survives a reload and is stored once, in order', async (t) => {
  const { url, stop, again } = await server(t);
  const page = await visit(t, url, ['a', 'b']);
  await joined(page, 'a');
  await stop();
  await page.locator('.a[data-state="waiting"]').waitFor();
  await send(page, 'a', 'one', 'two', 'three');
  await send(page, 'b', 'elsewhere');
  await page.reload();
  await page.locator('.a ul li', { hasText: 'three' }).waitFor();
  assert.deepEqual([await drafts(page, 'a'), await drafts(page, 'b')], [['one', 'two', 'three'], ['elsewhere']]);
  assert.equal(await page.evaluate(() => localStorage.length), 0);
  await again();
  await joined(page, 'a');
  await sees(page, 'a', 'three');
  await sees(page, 'b', 'elsewhere');
  assert.deepEqual([await messages(page, 'a'), await drafts(page, 'a'), await messages(page, 'b')], [['one', 'two', 'three'], [], ['elsewhere']]);
  await page.waitForFunction(() => sessionStorage.length === 0);
  const { client } = await watcher(t, url);
  const { messages: stored } = await client.request('joinRoom', { roomId: 'a', userId: 'bob' });
  assert.deepEqual(stored.map(({ message, userId }) => [message, userId]), [['one', 'ada'], ['two', 'ada'], ['three', 'ada']]);
});

test('with localStorage, two tabs may send the same drafts; each is stored once', async (t) => {
  const { url, stop, again } = await server(t);
  const first = await visit(t, url, ['a'], { storage: 'local' });
  await joined(first, 'a');
  await stop();
  await first.locator('.a[data-state="waiting"]').waitFor();
  const texts = count(5).map((n) => `m${n}`);
  await send(first, 'a', ...texts);
  const second = await visit(t, url, ['a'], { storage: 'local', context: first.context() });
  await second.locator('.a ul li', { hasText: 'm5' }).waitFor();
  assert.deepEqual(await drafts(second, 'a'), texts);
  await again();
  for (const page of [first, second]) {
    await page.waitForFunction(() => document.querySelectorAll('.a ol li').length === 5 && document.querySelectorAll('.a ul li').length === 0);
    assert.deepEqual(await messages(page, 'a'), texts);
  }
  await first.waitForFunction(() => localStorage.length === 0);
});

test('what one tab discards or clears, the other one does not send', async (t) => {
  const { url, stop, again } = await server(t);
  const first = await visit(t, url, ['a'], { storage: 'local' });
  await joined(first, 'a');
  await stop();
  await first.locator('.a[data-state="waiting"]').waitFor();
  await send(first, 'a', 'secret', 'another');
  const second = await visit(t, url, ['a'], { storage: 'local', context: first.context() });
  await second.locator('.a ul li', { hasText: 'another' }).waitFor();
  await second.evaluate(() => window.clear()); // signs out
  await first.waitForFunction(() => document.querySelectorAll('.a ul li').length === 0);
  await second.close();
  await send(first, 'a', 'later');
  await again();
  await sees(first, 'a', 'later');
  assert.deepEqual(await messages(first, 'a'), ['later']);
});

test('a tab that is closed leaves nothing for the next one', async (t) => {
  const { url, stop, again } = await server(t);
  const first = await visit(t, url, ['a']);
  await joined(first, 'a');
  await stop();
  await first.locator('.a[data-state="waiting"]').waitFor();
  await send(first, 'a', 'private');
  const context = first.context();
  await first.close();
  await again();
  const second = await visit(t, url, ['a'], { context });
  await joined(second, 'a');
  assert.deepEqual([await drafts(second, 'a'), await messages(second, 'a')], [[], []]);
  assert.deepEqual(await second.evaluate(() => [localStorage.length, sessionStorage.length]), [0, 0]);
});
