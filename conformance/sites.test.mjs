// Pages of other sites in Chromium, against the parley binary: whatever their HTML loads, it makes no
// session and no feed in the browsers of their visitors.
import assert from 'node:assert/strict';
import { newPage, open, rebound, useBrowser } from './browser.mjs';
import { parley, test } from './harness.mjs';
import { until } from './request.mjs';

useBrowser();

const polling = ['EIO=4&transport=polling', 'EIO=3&transport=polling', 'EIO=4&transport=polling&j=0'].map((query) => `/socket.io/?${query}`);
const streams = ['/socket.io/?EIO=4&transport=sse', '/rooms/r/events?limit=1'];
const elements = ['img', 'script', 'link', 'iframe', 'form', 'no-cors', 'EventSource'];

/** Runs in a page: requests each address with each kind of element. The addresses differ, because of caches. */
function load({ url, paths, elements }) {
  const add = (name, attributes) => document.body.append(Object.assign(document.createElement(name), attributes));
  const ways = {
    img: (src) => add('img', { src }),
    script: (src) => add('script', { src }),
    link: (href) => add('link', { rel: 'stylesheet', href }),
    iframe: (src) => add('iframe', { src }),
    form: (action) => {
      const form = document.createElement('form');
      add('iframe', { name: action });
      for (const [name, value] of new URL(action).searchParams) form.append(Object.assign(document.createElement('input'), { name, value }));
      document.body.append(Object.assign(form, { action, target: action }));
      form.submit();
    },
    'no-cors': (address) => { fetch(address, { mode: 'no-cors', credentials: 'include' }).catch(() => {}); },
    EventSource: (address) => { new EventSource(address); },
  };
  for (const element of elements) for (const path of paths) ways[element](`${url}${path}&t=${element}`);
}

async function numbers(url) {
  const text = await (await fetch(`${url}/metrics`)).text();
  const sum = (name) => [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, 'gm'))].reduce((n, [, value]) => n + Number(value), 0);
  return {
    opened: sum('parley_connections_opened_total') + sum('parley_feeds_opened_total'),
    refused: sum('parley_connections_refused_total') + sum('parley_feeds_refused_total'),
  };
}

const server = (t, ...flags) => parley(t, '--addr', '127.0.0.1:0', '--data', 'memory', ...flags);

for (const [site, host] of [['another site', 'localhost'], ['another port', '127.0.0.1']]) {
  test(`a page of ${site}`, async (t) => {
    const { page, origin } = await open(t);
    const { url } = await server(t, '--cors-origins', 'https://friend.example');
    await page.goto(origin.replace('127.0.0.1', host));
    await page.evaluate(load, { url, paths: [...polling, ...streams], elements });
    await until(async () => (await numbers(url)).refused >= elements.length * (polling.length + streams.length));
    assert.equal((await numbers(url)).opened, 0);
  });
}

test('the same page, if every site may connect', async (t) => {
  const { page } = await open(t);
  const { url } = await server(t, '--cors-origins', '*');
  await page.evaluate(load, { url, paths: polling, elements });
  await until(async () => (await numbers(url)).opened >= elements.length * polling.length);
});

test('a person who opens an address, and pages of the site itself', async (t) => {
  const page = await newPage(t);
  const { url } = await server(t);
  await page.goto(`${url}${polling[0]}`);
  assert.equal((await numbers(url)).opened, 1);
  await page.goto(`${url}/icon.svg`);
  const answers = await page.evaluate((paths) => Promise.all(paths.map(async (path) => (await fetch(path)).status)), polling);
  assert.deepEqual(answers, [200, 200, 200]);
});

test('a page whose name leads to the server', async (t) => {
  const page = await newPage(t);
  const { url } = await server(t);
  const { port } = new URL(url);
  const status = async (host) => (await page.goto(`http://${host}:${port}/`)).status();
  for (const host of ['localhost', 'chat.localhost', '127.0.0.1']) assert.equal(await status(host), 200, host);
  await page.goto('about:blank'); // the chat has opened connections
  const { opened } = await numbers(url);
  assert.equal(await status(rebound), 421);
  assert.match(await page.textContent('body'), /allowed-hosts/);
  const answers = await page.evaluate(async () => {
    const statuses = [];
    for (const path of ['/metrics', '/socket.io/?EIO=4&transport=polling', '/rooms/r/events']) statuses.push((await fetch(path)).status);
    const socket = new WebSocket('/socket.io/?EIO=4&transport=websocket');
    statuses.push(await new Promise((resolve) => { socket.onopen = () => resolve('open'); socket.onerror = () => resolve('closed'); }));
    return statuses;
  });
  assert.deepEqual(answers, [421, 421, 421, 'closed']);
  assert.equal((await numbers(url)).opened, opened);
});
