// nginx and HAProxy in front of the parley binary, with the configurations of docs/proxies.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { Agent as SecureAgent } from 'node:https';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { newPage, open, useBrowser } from './browser.mjs';
import * as talk from './conversation.mjs';
import { folder, front, passthrough, proxies, replace } from './front.mjs';
import { client, connected, count, next, parley, serve, test, upgraded, ways } from './harness.mjs';
import { feed, poller, requests, streamer, until } from './request.mjs';

const { WebSocket } = createRequire(new URL('../js/', import.meta.url))('ws');

useBrowser();

const chat = (t, ...flags) => parley(t, '--addr', '127.0.0.1:0', '--data', 'memory', ...flags);
const room = '/rooms/r/events';

/** The roads for requests: plain HTTP/1.1, HTTP/1.1 over TLS, and one HTTP/2 connection. */
const roads = ({ http, https, ca }) => [[http], [https, { ca }], [https, { ca, h2: true }]].filter(([url]) => url);

/** Connects official clients over each transport and scheme, and the clients of request.mjs on every road. */
async function everybody(t, proxy) {
  const { http, https, ca } = proxy;
  const sockets = [];
  for (const url of [http, https].filter(Boolean)) {
    for (const [way, options] of Object.entries(ways)) {
      const socket = await connected(t, url, { ...options, ca });
      if (way === 'upgrade') await upgraded(socket);
      sockets.push(Object.assign(socket, { way: `${way}, ${url}` }));
    }
  }
  const pollers = [];
  const streams = [];
  const feeds = [];
  for (const [url, options] of roads(proxy)) {
    const request = await requests(t, url, options);
    pollers.push(await poller(request), await poller(request, { j: 0 }));
    streams.push(await streamer(request));
    feeds.push(await feed(request, room));
  }
  return { sockets, pollers, streams, feeds };
}

/** Sends a message to the room of the feeds. */
async function say(t, url, message, options) {
  const socket = await connected(t, url, options);
  assert.equal((await socket.emitWithAck('joinRoom', { roomId: 'r', userId: 'u' })).error, undefined);
  assert.equal((await socket.emitWithAck('sendMessage', { roomId: 'r', message })).error, undefined);
  socket.disconnect();
}

const said = ({ events }) => events.filter(({ event }) => event === 'newMessage').map(({ data }) => data.message);

async function exchange(t, url, ca) {
  for (const [way, options] of Object.entries(ways)) {
    const a = await connected(t, url, { ...options, ca });
    const b = await connected(t, url, { ...options, ca });
    if (way === 'upgrade') await Promise.all([upgraded(a), upgraded(b)]);
    for (const socket of [a, b]) assert.equal((await socket.emitWithAck('joinRoom', { roomId: way })).error, undefined);
    for (const message of ['small', 'x'.repeat(60_000)]) {
      const live = next(b, 'newMessage');
      assert.equal((await a.emitWithAck('sendMessage', { roomId: way, message })).message, message);
      assert.equal((await live).message, message);
    }
    assert.equal(a.io.engine.transport.name, way === 'polling' ? 'polling' : 'websocket');
  }
}

/** Runs in a page or here. The client begins with the first kind of transport and must upgrade to the last. Resolves with the faults. */
async function streaming({ dial, next, arrived, traffic, converse, ask }, options) {
  const { kinds } = options;
  const client = dial({ ...options, upgrade: kinds.length > 1 });
  const faults = [];
  client.socket.on('disconnect', (reason) => faults.push(`disconnect: ${reason}`));
  await next(client, 'connect');
  faults.push(...await traffic(client, 100));
  await arrived(client, kinds.at(-1));
  faults.push(...await converse(client, { empty: false }));
  const [{ transport }] = await ask(client, 'whoami');
  if (transport !== kinds.at(-1)) faults.push(`the server says ${transport}`);
  client.socket.off('disconnect');
  client.close();
  return faults;
}

/** Checks that nobody is disconnected while all are idle for longer than the proxy waits. */
async function idle(t, proxy) {
  const { sockets, pollers, streams, feeds } = await everybody(t, proxy);
  const lost = [];
  for (const { io, way } of sockets) io.engine.on('close', (why) => lost.push(`${way}: ${why}`));
  for (const one of streams) one.ended.then(() => lost.push('sse'));
  for (const one of feeds) one.ended.then(() => lost.push('feed'));
  await sleep(20_000);
  lost.push(...[...pollers, ...streams].filter(({ failed }) => failed).map(({ failed }) => failed.message));
  assert.deepEqual(lost, []);
  for (const { comments } of feeds) assert(comments >= 5, `${comments} comments`);
}

const impatient = (text) => replace(text, '75s', '8s');
const lively = ['--ping-interval', '1s', '--ping-timeout', '1m'];

for (const [name, proxy] of Object.entries(proxies)) {
  const start = async (t, flags = [], change) => {
    const server = await chat(t, ...flags);
    return { ...await front(t, proxy, server.url, change), server };
  };

  for (const scheme of ['http', 'https']) {
    test(`${name}: each transport, small and large messages, ${scheme}`, async (t) => {
      const proxied = await start(t);
      await exchange(t, proxied[scheme], proxied.ca);
    });

    test(`${name}: pages of the proxy's origin may connect, others may not, ${scheme}`, async (t) => {
      const { [scheme]: url, ca } = await start(t);
      const { port } = new URL(url);
      for (const options of [ways.websocket, ways.polling]) {
        await connected(t, url, { ...options, ca, extraHeaders: { Origin: url } });
        for (const Origin of ['https://evil.example', `${scheme}://127.0.0.1`, `${scheme}://127.0.0.2:${port}`]) {
          const stranger = client(t, url, { ...options, ca, extraHeaders: { Origin }, reconnection: false });
          await next(stranger, 'connect_error');
        }
      }
    });
  }

  test(`${name}: bodies up to max-payload; the session survives larger ones`, async (t) => {
    for (const [url, options] of roads(await start(t))) {
      const request = await requests(t, url, options);
      for (const j of [undefined, 0]) {
        const one = await poller(request, { j });
        const post = async (size) => (await one.post('4'.padEnd(size - (j === 0 ? 2 : 0), 'x'))).status;
        // Parley refuses bodies that are slightly too large. The proxy may refuse larger ones.
        for (const size of [1_000_001, 1_050_000, 3_000_000]) assert.equal(await post(size), 413, `${size} bytes`);
        assert.equal(one.failed, undefined);
        assert.equal(await post(1_000_000), 200);
        await until(() => one.failed?.message === 'closed'); // because x is not a Socket.IO packet
      }
    }
  });

  // Limits per address do not apply to this machine. So the clients here come through one more proxy, 127.0.0.2,
  // which is trusted too and appends the client's address, or they are 127.0.0.3 and claim to come through it.
  test(`${name}: clients' addresses, which clients cannot forge`, async (t) => {
    const { http, https, ca, server } = await start(t, ['--trusted-proxies', '127.0.0.1,127.0.0.2', '--max-connections-per-address', '2']);
    const socket = (url, Of) => async (localAddress, extraHeaders) => {
      const one = client(t, url, { ...ways.websocket, reconnection: false, agent: new Of({ localAddress, ca }), extraHeaders });
      return new Promise((resolve) => one.on('connect', () => resolve(200)).on('connect_error', () => resolve(429)));
    };
    const status = (attempt) => attempt.then((one) => one.status ?? 200, ({ message }) => Number(/^status (\d+)/.exec(message)?.[1]) || message);
    const ask = (url, options, begin) => async (localAddress, headers) => {
      const request = await requests(t, url, { ...options, localAddress });
      return status(begin((to, more) => request(to, { ...more, headers: { ...more?.headers, ...headers } })));
    };
    const kinds = [socket(http, Agent), socket(https, SecureAgent), socket(server.url, Agent)];
    for (const [url, options] of [...roads({ http, https, ca }), [server.url]]) {
      for (const begin of [poller, (request) => poller(request, { j: 0 }), (request) => request(room)]) kinds.push(ask(url, options, begin));
    }
    for (const [k, attempt] of kinds.entries()) {
      const address = (host) => `198.18.${k}.${host}`;
      const statuses = [];
      for (const [i, host] of [1, 1, 1, 2, 1].entries()) {
        const forged = `203.0.113.${i}`;
        statuses.push(await attempt('127.0.0.2', { 'X-Forwarded-For': `${forged}, ${address(host)}`, 'X-Real-IP': forged, Forwarded: `for=${forged}` }));
      }
      assert.deepEqual(statuses, [200, 200, 429, 200, 429], `kind ${k}`);
      const full = address(1);
      assert.equal(await attempt('127.0.0.3', { 'X-Forwarded-For': full, 'X-Real-IP': full, Forwarded: `for=${full}` }), 200, `kind ${k}, forged`);
    }
  });

  test(`${name}: its header is ignored if it is not trusted`, async (t) => {
    for (const [trusted, third] of [['10.0.0.0/8', 200], ['127.0.0.0/8', 429]]) {
      const proxied = await start(t, ['--trusted-proxies', trusted, '--max-connections-per-address', '2']);
      const request = await requests(t, proxied.http);
      const statuses = [];
      for (const _ of count(3)) {
        statuses.push((await request(room, { headers: { 'X-Forwarded-For': '198.18.0.1' } })).status);
      }
      assert.deepEqual(statuses, [200, 200, third], trusted);
    }
  });

  test(`${name}: whether a client uses TLS, which clients cannot forge`, async (t) => {
    const { url } = await serve(t, '-proxy', '127.0.0.1');
    const { http, https, ca } = await front(t, proxy, url);
    for (const [to, Of, says, secure] of [[http, Agent, 'https', false], [https, SecureAgent, 'http', true], [url, Agent, 'https', false]]) {
      for (const options of [ways.websocket, ways.polling]) {
        const one = await connected(t, to, { ...options, agent: new Of({ localAddress: '127.0.1.1', ca }), extraHeaders: { 'X-Forwarded-Proto': says } });
        const handshake = await one.emitWithAck('handshake');
        assert.equal(handshake.secure, secure, to);
        assert.match(handshake.address, /^127\.0\.1\.1(:\d+)?$/);
      }
    }
  });

  test(`${name}: heartbeats and comments keep idle connections for longer than its timeouts`, async (t) => {
    await idle(t, await start(t, lively, impatient));
  });

  test(`${name}: without them it cuts idle connections`, async (t) => {
    const { sockets, streams, feeds } = await everybody(t, await start(t, [], impatient));
    const cut = [...[...streams, ...feeds].map(({ ended }) => ended), ...sockets.map(({ io }) => next(io.engine, 'close'))];
    await Promise.all(cut);
  });

  test(`${name}: sse and feeds are not buffered, even if it is configured to`, async (t) => {
    const buffering = name === 'nginx' ? (text) => replace(text, 'proxy_buffering off;', 'proxy_buffering on;') : undefined;
    const proxied = await start(t, [], buffering);
    for (const [i, [url, options]] of roads(proxied).entries()) {
      const request = await requests(t, url, options);
      await streamer(request); // resolves after the handshake
      const one = await feed(request, room);
      assert.equal(one.headers['content-type'], 'text/event-stream');
      for (const k of count(3)) {
        await say(t, proxied.server.url, `${i} ${k}`);
        await until(() => said(one).length > k);
      }
      one.end();
    }
  });

  test(`${name}: the server notices at once when clients disconnect`, async (t) => {
    const proxied = await start(t, ['--ping-interval', '5m', '--ping-timeout', '5m']);
    const metric = async (what) => Number(new RegExp(`^${what} (\\d+)$`, 'm').exec(await (await fetch(`${proxied.server.url}/metrics`)).text())[1]);
    for (const [url, options] of roads(proxied)) {
      const request = await requests(t, url, options);
      await poller(request);
      await feed(request, room);
      assert.deepEqual([await metric('parley_connections'), await metric('parley_feeds')], [1, 1]);
      await sleep(1000); // until Parley has the poll
      request.end();
      for (const what of ['parley_connections', 'parley_feeds']) await until(async () => await metric(what) === 0);
    }
  });

  test(`${name}: a reload ends nothing`, async (t) => {
    const proxied = await start(t);
    const { sockets, pollers, streams, feeds } = await everybody(t, proxied);
    const lost = [];
    for (const { io, way } of sockets) io.engine.on('close', (why) => lost.push(`${way}: ${why}`));
    for (const one of streams) one.ended.then(() => lost.push('sse'));
    await proxied.begins();
    await say(t, proxied.http, 'after');
    for (const one of sockets) assert.equal((await one.emitWithAck('joinRoom', { roomId: 'r' })).lastSeq, 1);
    await until(() => feeds.every((one) => said(one).length === 1));
    assert.deepEqual(lost, []);
    assert.deepEqual(pollers.map(({ failed }) => failed), pollers.map(() => undefined));
    const more = await everybody(t, proxied);
    for (const one of [...sockets, ...more.sockets]) one.disconnect();
  });

  test(`${name}: feeds resume after a reload that cuts them off, without gap or duplicate`, async (t) => {
    const proxied = await start(t, [], proxy.hasty);
    const all = [];
    for (const [url, options] of roads(proxied)) all.push({ url, options, request: await requests(t, url, options), got: [] });
    const { sockets } = await everybody(t, proxied);
    let last = 'earliest';
    const listen = async (one) => { one.feed = await feed(one.request, room, one.last ?? last); };
    await Promise.all(all.map(listen));
    for (const i of count(3)) {
      await say(t, proxied.server.url, 2 * i);
      await until(() => all.every((one) => said(one.feed).length + one.got.length >= 2 * i + 1));
      const ended = Promise.all(all.map((one) => one.feed.ended));
      await proxied.ends();
      await ended;
      await say(t, proxied.server.url, 2 * i + 1);
      for (const one of all) {
        one.got.push(...said(one.feed));
        one.last = one.feed.last;
        one.request = await requests(t, one.url, one.options);
        await listen(one);
      }
    }
    for (const one of all) {
      await until(() => said(one.feed).length + one.got.length >= 6);
      assert.deepEqual([...one.got, ...said(one.feed)], count(6));
    }
    for (const one of sockets) if (!one.connected) await next(one, 'connect'); // all have reconnected
  });

  for (const kinds of [['sse'], ['sse', 'websocket']]) {
    test(`${name}: ${kinds.join(', then ')}, in Node.js, and over HTTP/2 in a browser`, async (t) => {
      const { run, origin, faults } = await open(t);
      const { http, https } = await front(t, proxy, (await serve(t, '-origins', origin)).url);
      for (const client of ['own', 'official']) {
        const here = { ...talk, dial: (options) => talk.dial(options, { io, WebSocket }) };
        assert.deepEqual(await streaming(here, { client, kinds, url: http }), [], `${client}, Node.js`);
        assert.deepEqual(await run(streaming, { client, kinds, url: https }), [], `${client}, Chromium`);
      }
      assert.deepEqual(faults, []);
    });
  }

  test(`${name}: browsers, over HTTP/2`, async (t) => {
    const { page, run, origin, faults } = await open(t, { client: 'client-4.0.2' });
    const { url } = await serve(t, '-legacy', '-origins', origin);
    const { https } = await front(t, proxy, url);
    const devtools = await page.context().newCDPSession(page);
    await devtools.send('Network.enable');
    const protocols = new Set();
    devtools.on('Network.responseReceived', ({ response }) => response.url.startsWith(https) && protocols.add(response.protocol));
    const upgrades = ['polling', 'websocket'];
    for (const more of [{ transports: ['websocket'] }, { transports: ['polling'] }, { transports: upgrades }, { transports: ['polling'], forceJSONP: true }, { transports: upgrades, forceJSONP: true }]) {
      assert.deepEqual(await run(talk.generation, { url: https, more, kind: more.transports.at(-1), empty: false }), [], JSON.stringify(more));
    }
    assert.deepEqual([...protocols], ['h2']);
    assert.deepEqual(faults, []);
  });

  test(`${name}: our own page and its feed, over HTTP/2`, async (t) => {
    const { https, server } = await start(t);
    const page = await newPage(t);
    await page.goto(`${https}/#r`);
    await page.locator('#status[data-state="connected"]').waitFor();
    await page.evaluate(async (room) => {
      const { Feed } = await import('/feed.js');
      window.got = [];
      window.feed = new Feed(room);
      feed.on('newMessage', ({ data }) => got.push(JSON.parse(data).message));
      await new Promise((resolve) => feed.on('live', resolve));
    }, room);
    await say(t, server.url, 'hello');
    await page.waitForFunction(() => got.length === 1);
    const protocols = await page.evaluate(() => performance.getEntries().filter(({ nextHopProtocol }) => nextHopProtocol).map((entry) => entry.nextHopProtocol));
    assert.deepEqual([...new Set(protocols)], ['h2']);
  });
}

test('haproxy: TLS passed through', async (t) => {
  const data = await folder(t);
  const server = await parley(t, '--addr', '127.0.0.1:0', '--data', data, '--tls-self-signed', ...lively);
  const ca = await readFile(join(data, 'self-signed-cert.pem'));
  const { https } = await front(t, passthrough, server.url, impatient);
  await exchange(t, https, ca);
  await idle(t, { https, ca });
});
