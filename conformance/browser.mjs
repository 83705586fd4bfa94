// Chromium, and pages with a client of some generation. It needs "npm ci" in js.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { after, before } from 'node:test';
import { atEnd } from './harness.mjs';

const { chromium } = createRequire(new URL('../js/package.json', import.meta.url))('playwright-core');
const quiet = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];

let browser;
/** Has the tests of a file share a browser, with more of its flags. */
export function useBrowser(...flags) {
  before(async () => { browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...quiet, ...flags] }); });
  after(() => browser.close());
}

/** An empty page. */
export async function newPage(t) {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  atEnd(t, () => page.close());
  return page;
}

/** A page with a client, of another origin than the server. It writes down what it asks for. */
export async function open(t, version) {
  const script = await readFile(new URL(`node_modules/client-${version}/dist/socket.io.js`, import.meta.url));
  const site = createServer((request, response) => {
    const isScript = request.url === '/client.js';
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html; charset=utf-8');
    response.end(isScript ? script : '<!doctype html><title>page</title><body><script src="/client.js"></script>');
  });
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => { site.closeAllConnections(); site.close(); });
  const page = await newPage(t);
  const faults = [];
  page.on('pageerror', (e) => faults.push(String(e)));
  const requests = [];
  page.on('response', (r) => requests.push({ type: r.request().resourceType(), method: r.request().method(), url: r.url(), headers: r.headers() }));
  const origin = `http://127.0.0.1:${site.address().port}`;
  await page.goto(origin);
  return { page, origin, faults, requests };
}

/** What a client does in the page with the server of ./server; it returns ten truths. */
export async function converse({ url, options, upgraded }) {
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
