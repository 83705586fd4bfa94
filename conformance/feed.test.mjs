// Plain Server-Sent Events of the parley binary, read by curl, and by EventSource and Feed in Chromium,
// while the server restarts.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newPage, useBrowser } from './browser.mjs';
import { atEnd, connected, count, parley, test } from './harness.mjs';

useBrowser();
const path = '/rooms/feed/events';

/** Starts a server that can restart on the same data. */
async function restartable(t) {
  const data = await mkdtemp(join(tmpdir(), 'parley-'));
  atEnd(t, () => rm(data, { recursive: true, force: true }));
  const start = () => parley(t, '--addr', '127.0.0.1:0', '--data', data, '--shutdown-timeout', '30s');
  const app = { server: await start(), start: async () => { app.server = await start(); } };
  let n = 0;
  app.sent = () => n;
  /** Sends the next k numbers. */
  app.send = async (k) => {
    const socket = await connected(t, app.server.url);
    await socket.emitWithAck('joinRoom', { roomId: 'feed', userId: 'u' });
    for (let i = 0; i < k; i++) {
      const stored = await socket.emitWithAck('sendMessage', { roomId: 'feed', message: n++ });
      assert.equal(stored.seq, n);
    }
    socket.disconnect();
  };
  return app;
}

/**
 * Starts a proxy in front of a server that stops and starts. While the server is away, `says` decides
 * the answer to requests: '503', or 'cut' to cut the connection.
 */
async function front(t, app) {
  const proxy = { says: 'cut', away: false };
  const server = createServer((incoming, response) => {
    const fail = () => {
      if (proxy.says === 'cut' || response.headersSent) response.destroy();
      else response.writeHead(503).end('away');
    };
    if (proxy.away) return fail();
    const outgoing = request(app.server.url + incoming.url, { method: incoming.method, headers: incoming.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
      answer.on('close', () => answer.complete || response.destroy());
    });
    outgoing.on('error', fail);
    response.on('close', () => outgoing.destroy());
    incoming.pipe(outgoing);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => { server.close(); server.closeAllConnections(); });
  proxy.url = `http://127.0.0.1:${server.address().port}`;
  return proxy;
}

test('curl -N, across a restart', async (t) => {
  const app = await restartable(t);
  const got = [];
  let last = 'earliest';
  /** Starts curl. Resolves at the end of the response. */
  function curl() {
    const child = spawn('curl', ['-sN', '-H', `Last-Event-ID: ${last}`, app.server.url + path], { stdio: ['ignore', 'pipe', 'inherit'] });
    atEnd(t, () => child.kill());
    let rest = '';
    child.stdout.on('data', (chunk) => {
      const events = (rest + chunk).split('\n\n');
      rest = events.pop();
      for (const event of events) {
        const fields = Object.fromEntries(event.split('\n').map((line) => line.split(/: (.*)/s)));
        if (fields.event === 'newMessage') got.push(JSON.parse(fields.data).message);
        assert.notEqual(fields.event, 'reset');
        if (fields.id) last = fields.id;
      }
    });
    return new Promise((resolve) => child.once('close', resolve));
  }
  const until = async (n) => { while (got.length < n) await new Promise((resolve) => setTimeout(resolve, 10)); };
  await app.send(3);
  for (const signal of ['SIGTERM', 'SIGKILL', 'SIGTERM']) {
    const ended = curl();
    await app.send(3);
    await until(app.sent());
    await app.server.stop(signal);
    assert.equal(await ended === 0, signal === 'SIGTERM', 'a shutdown completes the response');
    await app.start();
    await app.send(3);
  }
  curl();
  await until(21);
  assert.deepEqual(got, count(21));
});

test('EventSource and Feed in a browser, across restarts', async (t) => {
  const app = await restartable(t);
  const proxy = await front(t, app);
  const page = await newPage(t);
  await page.goto(`${proxy.url}/icon.svg`); // a page of the server's origin without scripts
  await page.evaluate(async (path) => {
    const { Feed } = await import('/feed.js');
    window.got = { native: [], feed: [], resets: 0 };
    const listen = (source, add) => {
      add('newMessage', ({ data }) => got[source].push(JSON.parse(data).message));
      add('reset', () => got.resets++);
    };
    window.native = new EventSource(`${path}?lastEventId=earliest`);
    window.feed = new Feed(path, { delay: 100, max: 500 });
    listen('native', (...args) => native.addEventListener(...args));
    listen('feed', (...args) => feed.on(...args));
    await new Promise((resolve) => feed.on('live', resolve)); // the feed has begun
  }, path);
  const has = (source, n) => page.waitForFunction(([source, n]) => got[source].length >= n, [source, n]);
  await app.send(5);
  await has('native', 5);
  // Both reconnect by themselves after the connection is cut.
  for (const signal of ['SIGTERM', 'SIGKILL']) {
    proxy.away = true;
    await app.server.stop(signal);
    await app.start();
    await app.send(5);
    proxy.away = false;
  }
  await Promise.all([has('native', 15), has('feed', 15)]);
  // EventSource gives up if the proxy answers with an error. Feed does not.
  Object.assign(proxy, { away: true, says: '503' });
  await app.server.stop('SIGKILL');
  await page.waitForFunction(() => native.readyState === 2 && feed.state === 'waiting');
  await app.start();
  await app.send(5);
  proxy.away = false;
  await has('feed', 20);
  await app.send(1);
  await has('feed', 21);
  const { native, feed, resets } = await page.evaluate(() => got);
  assert.deepEqual({ native, feed, resets }, { native: count(15), feed: count(21), resets: 0 });
});
