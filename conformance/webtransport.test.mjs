// The official client in Chromium over WebTransport. It needs "npm ci" in js, and Chromium.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { newPage, open as openPage, useBrowser } from './browser.mjs';
import { count, parley, serve, test } from './harness.mjs';

useBrowser();

/** Opens a page with the client and with helpers for the tests. */
async function open(t) {
  const opened = await openPage(t);
  await opened.page.evaluate(() => {
    Object.assign(window, {
      /** Resolves with the event's arguments. Rejects if the event does not come in time. */
      next: (emitter, event) => new Promise((resolve, reject) => {
        emitter.once(event, (...args) => resolve(args));
        setTimeout(() => reject(new Error(`no ${event}`)), 120_000);
      }),
      ask: (socket, ...args) => socket.timeout(120_000).emitWithAck(...args),
      bytes: (v) => (v instanceof ArrayBuffer ? [...new Uint8Array(v)] : v),
      connect: (url, hash, options) => io(url, {
        forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100,
        transportOptions: { webtransport: { serverCertificateHashes: [{ algorithm: 'sha-256', value: Uint8Array.from(atob(hash), (c) => c.charCodeAt(0)) }] } },
        ...options,
      }),
    });
  });
  return opened;
}

/** Starts the server with WebTransport. The result has the hash of its certificate. */
async function quic(t, ...flags) {
  const server = await serve(t, '-webtransport', ...flags);
  return { ...server, hash: server.out().split('\n')[0] };
}

/** Runs in the page. Talks to the server and returns the answers. */
async function converse({ url, hash, options }) {
  const socket = connect(url, hash, options);
  await next(socket, 'connect');
  const { engine } = socket.io;
  // The upgrade may come before the answer to CONNECT.
  if (options.transports.length > 1 && engine.transport.name === 'polling') await next(engine, 'upgrade');
  const results = {};
  const text = 'é€😀𝒳\u2028\u2029\n\\n';
  const large = new Uint8Array(70_000).map((_, i) => i * 7).buffer;
  const same = (got, want) => JSON.stringify(got.map(bytes)) === JSON.stringify(want.map(bytes));
  for (const [name, args] of Object.entries({
    text: [text], 'long text': [text.repeat(10_000)], 'binary and text': [new Uint8Array([0, 4, 30, 255]).buffer, text],
    nothing: [], '70 KB': [large], 'two attachments': [{ a: large, b: [new Uint8Array([1]).buffer] }], 'empty binary': [new ArrayBuffer(0), 1],
  })) {
    const back = next(socket, 'message-back');
    socket.emit('message', ...args);
    const echoed = same(await back, args);
    const acknowledged = await new Promise((resolve) => { socket.emit('message-with-ack', ...args, (...answer) => resolve(same(answer, args))); });
    results[name] = echoed && acknowledged;
  }
  socket.on('question', (q, answer) => answer(q, 'yes'));
  const q = await new Promise((resolve) => { socket.emit('ask', 120_000, new Uint8Array([9]).buffer, (...answer) => resolve(answer.map(bytes))); });
  results.question = JSON.stringify(q) === '[[9],"yes"]';
  const ticks = [];
  socket.on('tick', (i) => ticks.push(i));
  await ask(socket, 'stream', { count: 200, every: 200 });
  results.order = ticks.length === 200 && ticks.every((tick, i) => tick === i);
  const who = await ask(socket, 'whoami');
  socket.disconnect();
  return { results, transport: who.transport, mine: engine.transport.name };
}

for (const [name, options] of Object.entries({
  direct: { transports: ['webtransport'] },
  'after polling': { transports: ['polling', 'webtransport'] },
})) {
  test(`conversation: ${name}`, async (t) => {
    const { page, origin, faults } = await open(t);
    const { url, hash } = await quic(t, '-origins', origin);
    const { results, transport, mine } = await page.evaluate(converse, { url, hash, options });
    for (const [what, went] of Object.entries(results)) assert(went, what);
    assert.equal(transport, 'webtransport');
    assert.equal(mine, 'webtransport');
    assert.deepEqual(faults, []);
  });
}

test('with the default transports, the client upgrades from polling', async (t) => {
  const { page, origin, faults } = await open(t);
  const { url, hash } = await quic(t, '-origins', origin);
  const { results, transport } = await page.evaluate(converse, { url, hash, options: { transports: ['polling', 'websocket', 'webtransport'] } });
  for (const [what, went] of Object.entries(results)) assert(went, what);
  assert(['websocket', 'webtransport'].includes(transport), transport);
  assert.deepEqual(faults, []);
});

test('nothing is lost or out of order when a client upgrades under traffic', async (t) => {
  const { page, origin } = await open(t);
  const { url, hash } = await quic(t, '-origins', origin);
  const { ticks, echoes, transport } = await page.evaluate(async ({ url, hash }) => {
    const socket = connect(url, hash, { transports: ['polling', 'webtransport'] });
    await next(socket, 'connect');
    const ticks = [];
    const echoes = [];
    socket.on('tick', (i) => ticks.push(i));
    socket.on('message-back', (i) => echoes.push(i));
    const streamed = socket.timeout(120_000).emitWithAck('stream', { count: 600, every: 500 });
    for (let i = 0; i < 300; i++) {
      socket.emit('message', i);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await streamed;
    const { transport } = await ask(socket, 'whoami');
    socket.disconnect();
    return { ticks, echoes, transport };
  }, { url, hash });
  assert.equal(transport, 'webtransport');
  assert.deepEqual(ticks, count(600));
  assert.deepEqual(echoes, count(300));
});

test('pings are answered, and a dead server is noticed', async (t) => {
  const { page, origin } = await open(t);
  const { url, hash, stop } = await quic(t, '-origins', origin, '-ping-interval', '100ms', '-ping-timeout', '5s');
  const { pings, connected } = await page.evaluate(async ({ url, hash }) => {
    window.socket = connect(url, hash, { transports: ['webtransport'] });
    await next(socket, 'connect');
    let pings = 0;
    socket.io.on('ping', () => { pings++; });
    await new Promise((resolve) => setTimeout(resolve, 8_000));
    return { pings, connected: socket.connected };
  }, { url, hash });
  assert(connected && pings >= 5, `connected: ${connected}, ${pings} pings`);
  const gone = page.evaluate(() => next(socket, 'disconnect').then(([reason]) => reason));
  await stop('SIGKILL');
  // The system may tell the browser that nobody has the port any more, before the heartbeat is missing.
  const reason = await gone;
  assert(['ping timeout', 'transport error', 'transport close'].includes(reason), reason);
});

test('events sent before the server closes arrive', async (t) => {
  const { page, origin } = await open(t);
  const { url, hash } = await quic(t, '-origins', origin);
  const all = await page.evaluate(({ url, hash }) => Promise.all(Array.from({ length: 10 }, async () => {
    const socket = connect(url, hash, { transports: ['webtransport'], reconnection: false });
    await next(socket, 'connect');
    const got = [];
    socket.on('tick', (i) => got.push(i)).on('message-back', () => got.push('back'));
    const closed = next(socket.io.engine, 'close');
    const disconnected = next(socket, 'disconnect');
    await ask(socket, 'stream', { count: 100, every: 0 });
    socket.emit('message', 'x'.repeat(100_000));
    socket.emit('disconnect-me', true);
    const [reason] = await disconnected;
    await closed;
    return { got: got.length, last: got.at(-1), reason };
  })), { url, hash });
  assert.deepEqual(all, Array(10).fill({ got: 101, last: 'back', reason: 'io server disconnect' }));
});

test('clients learn of a shutdown and reconnect', async (t) => {
  const { page, origin } = await open(t);
  const first = await quic(t, '-origins', origin);
  const port = new URL(first.url).port;
  await page.evaluate(async ({ url, hash }) => {
    window.socket = connect(url, hash, { transports: ['webtransport'] });
    await next(socket, 'connect');
  }, { url: first.url, hash: first.hash });
  const gone = page.evaluate(() => next(socket, 'disconnect').then(([reason]) => reason));
  const code = await first.stop('SIGTERM');
  assert.equal(code, 0);
  assert.equal(await gone, 'transport close');
  const second = await quic(t, '-origins', origin, '-port', port);
  assert.equal(await page.evaluate(({ url, hash }) => {
    socket.disconnect();
    window.socket = connect(url, hash, { transports: ['webtransport'] });
    return next(socket, 'connect').then(() => socket.io.engine.transport.name);
  }, { url: second.url, hash: second.hash }), 'webtransport');
});

// Official clients must learn of a refusal at once, not by a timeout.
for (const [what, flags] of Object.entries({
  'an origin that is not allowed': ['-origins', 'https://friend.example'],
  'AllowRequest': ['-origins', '*', '-deny'],
  'too many connections': ['-origins', '*', '-max-connections', '1'],
})) {
  test(`refused: ${what}`, async (t) => {
    const { page } = await open(t);
    const { url, hash } = await quic(t, ...flags);
    const message = await page.evaluate(async ({ url, hash, taken }) => {
      if (taken) await next(connect(url, hash, { transports: ['webtransport'] }), 'connect');
      const socket = connect(url, hash, { transports: ['webtransport'], reconnection: false, timeout: 60_000 });
      const [error] = await next(socket, 'connect_error');
      return error.message;
    }, { url, hash, taken: flags.includes('-max-connections') });
    assert.notEqual(message, 'timeout');
  });
}

test('middleware and authentication work as on every transport', async (t) => {
  const { page, origin } = await open(t);
  const { url, hash } = await quic(t, '-origins', origin);
  const seen = await page.evaluate(async ({ url, hash }) => {
    const manager = { transports: ['webtransport'] };
    const refused = connect(`${url}/refused`, hash, manager);
    const [error] = await next(refused, 'connect_error');
    const token = connect(`${url}/token`, hash, { ...manager, auth: { token: 'secret' } });
    await next(token, 'connect');
    const handshake = await ask(token, 'handshake');
    return { message: error.message, data: error.data, handshake };
  }, { url, hash });
  assert.equal(seen.message, 'Not authorized');
  assert.deepEqual(seen.data, { code: 'E1', label: 'no token' });
  assert.equal(seen.handshake.secure, true);
  assert.equal(seen.handshake.crossOrigin, true);
  assert.deepEqual(seen.handshake.headers.Origin, [origin]);
  assert.deepEqual(seen.handshake.auth, { token: 'secret' });
  assert.match(seen.handshake.address, /^127\.0\.0\.1:\d+$/);
});

test('20 sockets in one page', async (t) => {
  const { page, origin } = await open(t);
  const { url, hash } = await quic(t, '-origins', origin);
  const ids = await page.evaluate(({ url, hash }) => Promise.all(Array.from({ length: 20 }, async () => {
    const socket = connect(url, hash, { transports: ['webtransport'] });
    await next(socket, 'connect');
    return (await ask(socket, 'whoami')).id;
  })), { url, hash });
  assert.equal(new Set(ids).size, 20);
});

test('the parley binary, with the hash that it publishes', async (t) => {
  const server = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory', '--tls-self-signed');
  // Use a page of the server's own origin.
  const page = await newPage(t, { bypassCSP: true });
  await page.goto(server.url);
  await page.addScriptTag({ content: await readFile(new URL('node_modules/socket.io-client/dist/socket.io.js', import.meta.url), 'utf8') });
  const room = await page.evaluate(async () => {
    const { algorithm, value } = await (await fetch('/certificate-hash')).json();
    const socket = io({
      forceNew: true, transports: ['webtransport'],
      transportOptions: { webtransport: { serverCertificateHashes: [{ algorithm, value: Uint8Array.from(atob(value), (c) => c.charCodeAt(0)) }] } },
    });
    const room = await socket.timeout(120_000).emitWithAck('joinRoom', { roomId: 'r', userId: 'ada' });
    const stored = await socket.timeout(120_000).emitWithAck('sendMessage', { roomId: 'r', message: 'over QUIC' });
    const transport = socket.io.engine.transport.name;
    socket.disconnect();
    return { ...room, stored, transport };
  });
  assert.equal(room.transport, 'webtransport');
  assert.equal(room.member.userId, 'ada');
  assert.equal(room.stored.message, 'over QUIC');
});
