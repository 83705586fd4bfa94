// Clients in a browser: JSONP, and the binary payloads of Engine.IO 3, which no client in
// Node.js asks for. They need "npm ci" in js, and Chromium.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { after, before } from 'node:test';
import { atEnd, serve, test } from './harness.mjs';

const { chromium } = createRequire(new URL('../js/', import.meta.url))('playwright-core');

let browser;
before(async () => { browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'] }); });
after(() => browser.close());

/** A page with a client, of another origin than the server. It writes down what it asks for. */
async function open(t, version) {
  const script = await readFile(new URL(`node_modules/client-${version}/dist/socket.io.js`, import.meta.url));
  const site = createServer((request, response) => {
    const isScript = request.url === '/client.js';
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html; charset=utf-8');
    response.end(isScript ? script : '<!doctype html><title>page</title><body><script src="/client.js"></script>');
  });
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
  const page = await browser.newPage();
  atEnd(t, async () => { await page.close(); site.closeAllConnections(); site.close(); });
  const faults = [];
  page.on('pageerror', (e) => faults.push(String(e)));
  const requests = [];
  page.on('response', (r) => requests.push({ type: r.request().resourceType(), method: r.request().method(), url: r.url(), headers: r.headers() }));
  const origin = `http://127.0.0.1:${site.address().port}`;
  await page.goto(origin);
  return { page, origin, faults, requests };
}

/** What a client does in the page; it returns what came back. */
async function converse({ url, options, upgraded }) {
  const socket = io(url, { forceNew: true, ...options });
  const all = (emitter, event) => new Promise((resolve, reject) => {
    emitter.once(event, (...args) => resolve(args));
    setTimeout(() => reject(new Error(`no ${event}`)), 10_000);
  });
  const ask = (...args) => new Promise((resolve, reject) => {
    socket.emit(...args, (...answer) => resolve(answer));
    setTimeout(() => reject(new Error(`no answer to ${args[0]}`)), 10_000);
  });
  const bytes = (v) => (v instanceof ArrayBuffer ? [...new Uint8Array(v)] : v);
  await all(socket, 'connect');
  if (upgraded && socket.io.engine.transport.name !== 'websocket') await all(socket.io.engine, 'upgrade');
  const results = [];
  const text = 'é€😀𝒳\u2028\u2029\n\\n\\\\n"</script>&+%';
  for (const args of [[text], [text.repeat(500)], [new Uint8Array([0, 4, 30, 255]).buffer, text], []]) {
    const back = all(socket, 'message-back');
    socket.emit('message', ...args);
    const same = (got) => JSON.stringify(got.map(bytes)) === JSON.stringify(args.map(bytes));
    results.push(same(await back), same(await ask('message-with-ack', ...args)));
  }
  socket.on('question', (q, answer) => answer(q, 'yes'));
  const [q, yes] = await ask('ask', 5000, new Uint8Array([9]).buffer);
  results.push(yes === 'yes' && bytes(q)[0] === 9);
  const ticks = [];
  socket.on('tick', (i) => ticks.push(i));
  await ask('stream', { count: 100, every: 1000 });
  results.push(ticks.length === 100 && ticks.every((tick, i) => tick === i));
  const [who] = await ask('whoami');
  socket.disconnect();
  return { results, transport: who.transport };
}

for (const version of ['2.5.0', '4.0.2']) {
  for (const upgraded of [false, true]) {
    test(`JSONP${upgraded ? ', then WebSocket' : ''}, ${version}`, async (t) => {
      const { page, origin, faults, requests } = await open(t, version);
      const { url } = await serve(t, '-legacy', '-origins', origin);
      const options = { forceJSONP: true, transports: upgraded ? ['polling', 'websocket'] : ['polling'] };
      const { results, transport } = await page.evaluate(converse, { url, options, upgraded });
      assert.deepEqual(results, Array(10).fill(true));
      assert.equal(transport, upgraded ? 'websocket' : 'polling');
      assert.deepEqual(faults, []);
      const polls = requests.filter((r) => r.url.startsWith(url) && r.method === 'GET');
      assert(polls.length > 0);
      for (const { type, headers } of polls) {
        assert.equal(type, 'script');
        assert.equal(headers['content-type'], 'text/javascript; charset=UTF-8');
        assert.equal(headers['x-content-type-options'], 'nosniff');
      }
    });
  }
}

test('binary payloads, 2.5.0', async (t) => {
  const { page, origin, faults, requests } = await open(t, '2.5.0');
  const { url } = await serve(t, '-legacy', '-origins', origin);
  const { results, transport } = await page.evaluate(converse, { url, options: { transports: ['polling'] } });
  assert.deepEqual(results, Array(10).fill(true));
  assert.equal(transport, 'polling');
  assert.deepEqual(faults, []);
  const types = requests.filter((r) => r.url.startsWith(url)).map((r) => r.headers['content-type']);
  assert(types.includes('application/octet-stream'), String(types));
});

for (const referrer of ['strict-origin-when-cross-origin', 'no-referrer']) {
  test(`JSONP of a page that is not allowed, ${referrer}`, async (t) => {
    const { page } = await open(t, '4.0.2');
    const { url } = await serve(t, '-legacy', '-origins', 'https://friend.example');
    const connected = await page.evaluate(({ url, referrer }) => new Promise((resolve) => {
      document.head.insertAdjacentHTML('beforeend', `<meta name="referrer" content="${referrer}">`);
      const socket = io(url, { forceJSONP: true, transports: ['polling'], reconnection: false });
      socket.on('connect', () => resolve(true)).on('connect_error', () => resolve(false));
    }), { url, referrer });
    assert.equal(connected, false);
  });
}
