import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { WebSocket } from 'ws';
import { WebSocketTransport } from './parley.js';
import { dial, next, serve, test, ways } from './testdata/reference.mjs';

for (const [way, options] of Object.entries(ways)) {
  test(`${way}: reconnects after the server has restarted`, async (t) => {
    const first = await serve(t);
    first.io.on('connection', (socket) => socket.on('never', () => {}));
    const client = dial(t, first.url, options);
    await next(client, 'connect');
    const lost = next(client, 'disconnect');
    const waits = [];
    client.on('reconnecting', ({ attempt, delay, at }) => {
      waits.push(attempt);
      assert.equal(client.state, 'reconnecting');
      assert.equal(client.retryAt, at);
      assert.ok(delay >= 10 && delay <= 100);
    });
    const pending = client.request('never');
    await Promise.all([first.stop(), assert.rejects(pending, { code: 'disconnected' })]);
    assert.match((await lost)[0], /^transport (close|error)$/);
    const [refused] = await next(client, 'connect_error');
    assert.equal(refused.code, 'transport');
    const buffered = client.request('hello', 'again');

    const second = await serve(t, {}, first.port);
    second.io.on('connection', (socket) => socket.on('hello', (text, done) => done(text)));
    assert.equal(await buffered, 'again');
    assert.equal(client.state, 'connected');
    assert.deepEqual(waits.slice(0, 2), [1, 2]);
  });

  test(`${way}: recovers what it missed`, async (t) => {
    const { io, url } = await serve(t, { connectionStateRecovery: {} });
    io.on('connection', (socket) => socket.join('room'));
    const client = dial(t, url, options);
    const got = [];
    client.on('news', (n) => got.push(n));
    await next(client, 'connect');
    assert.equal(client.recovered, false);
    const { id } = client;
    io.to('room').emit('news', 1);
    await next(client, 'news');

    const back = next(client, 'connect');
    const [socket] = await io.fetchSockets();
    const gone = new Promise((resolve) => io.of('/').sockets.get(socket.id).once('disconnect', resolve));
    io.of('/').sockets.get(socket.id).conn.close();
    await gone;
    io.to('room').emit('news', 2);
    io.to('room').emit('news', 3);
    await back;
    assert.equal(client.recovered, true);
    assert.equal(client.id, id);
    io.to('room').emit('news', 4);
    await next(client, 'news');
    assert.deepEqual(got, [1, 2, 3, 4]);
  });
}

test('a listener that closes the client during recovery gets no more events', async (t) => {
  class Recovering {
    static kind = 'recovering';
    writable = true;
    constructor(context, events) { this.events = events; }
    open() {
      queueMicrotask(() => {
        this.events.open();
        for (const packet of ['0{"sid":"s","pingInterval":25000,"pingTimeout":20000}', '42["news",1]', '42["news",2]', '421["news",3]', '40{"sid":"a"}']) this.events.packet(packet);
      });
    }
    send() { this.events.drain(); }
    close() {}
  }
  const client = dial(t, 'http://chat.example', { transports: [Recovering] });
  const got = [];
  client.on('news', (n) => {
    got.push(n);
    client.close();
  });
  const [reason] = await next(client, 'disconnect');
  assert.equal(reason, 'io client disconnect');
  await new Promise(setImmediate);
  assert.deepEqual(got, [1]);
});

test('the offset is not used in another session', async (t) => {
  const first = await serve(t, { connectionStateRecovery: {} });
  first.io.on('connection', (socket) => socket.emit('hello'));
  const client = dial(t, first.url);
  await next(client, 'hello');
  await first.stop();
  const second = await serve(t, { connectionStateRecovery: {} }, first.port); // does not know the sessions of the first
  const auths = [];
  second.io.on('connection', (socket) => auths.push(socket.handshake.auth));
  await next(client, 'connect');
  assert.equal(client.recovered, false);
  for (const socket of second.io.of('/').sockets.values()) socket.conn.close();
  await next(client, 'disconnect');
  await next(client, 'connect');
  assert.equal(typeof auths[0].offset, 'string');
  assert.deepEqual(Object.keys(auths[1]), ['pid']);
});

test('falls back to polling when WebSocket is refused, and remembers it', async (t) => {
  const { url } = await serve(t, { transports: ['polling'] });
  let tries = 0;
  class Counting extends WebSocket { constructor(...args) { tries++; super(...args); } }
  const client = dial(t, url, { WebSocket: Counting });
  await next(client, 'connect');
  assert.equal(client.transport, 'polling');
  const again = async () => {
    client.close().connect();
    await next(client, 'connect');
    return tries;
  };
  assert.equal(await again(), 1);
  t.mock.method(Date, 'now', () => new Date().getTime() + 601_000);
  assert.equal(await again(), 2, 'after ten minutes WebSocket has its chance again');
});

test('falls back when WebSocket is swallowed: each transport has its own timeout', async (t) => {
  const { http, url } = await serve(t);
  http.removeAllListeners('upgrade').on('upgrade', () => {}); // a proxy that never answers
  const client = dial(t, url, { transports: [{ transport: 'websocket', timeout: 50 }, 'polling'] });
  await next(client, 'connect');
  assert.equal(client.transport, 'polling');
});

test('falls back without WebSocket, and if its constructor throws', async (t) => {
  const { url } = await serve(t);
  for (const none of [null, class { constructor() { throw new Error('blocked'); } }]) {
    const client = dial(t, url, { WebSocket: none });
    await next(client, 'connect');
    assert.equal(client.transport, 'polling');
  }
});

test('a transport that opens and is cut, twice in a row, is tried last', async (t) => {
  const { http, url } = await serve(t);
  let cuts = 0;
  http.on('upgrade', (request, socket) => {
    cuts++;
    setTimeout(() => socket.destroy(), 50);
  });
  const client = dial(t, url, { transports: ['websocket', 'polling'] });
  while (client.transport !== 'polling') await next(client, 'connect');
  assert.equal(cuts, 2);
  const again = async () => {
    client.close().connect();
    await next(client, 'connect');
    return client.transport;
  };
  assert.equal(await again(), 'polling');
  t.mock.method(Date, 'now', () => new Date().getTime() + 601_000);
  assert.equal(await again(), 'websocket', 'after ten minutes it has its chance again');
});

test('an upgrade that is cut twice in a row is not repeated', async (t) => {
  const { io, http, url } = await serve(t);
  io.on('connection', (socket) => socket.on('echo', (n, done) => done(n)));
  let cuts = 0;
  http.on('upgrade', (request, socket) => {
    cuts++;
    setTimeout(() => socket.destroy(), 100);
  });
  const client = dial(t, url, { transports: ['polling', 'websocket'], upgrade: true });
  for (let i = 0; i < 2; i++) await next(client, 'disconnect');
  await next(client, 'connect');
  for (let n = 0; n < 20; n++) assert.equal(await client.request('echo', n), n);
  assert.deepEqual([client.transport, cuts], ['polling', 2]);
});

test('if the server closes sessions properly, that does not count against the transport', async (t) => {
  const { io, url } = await serve(t);
  io.on('connection', (socket) => setTimeout(() => socket.conn.close(), 10));
  const client = dial(t, url, { transports: ['websocket', 'polling'] });
  for (let i = 0; i < 4; i++) {
    await next(client, 'connect');
    assert.equal(client.transport, 'websocket');
    await next(client, 'disconnect');
  }
});

test('an upgrade that is swallowed leaves polling as it was', async (t) => {
  const { io, http, url } = await serve(t);
  http.removeAllListeners('upgrade').on('upgrade', () => {});
  io.on('connection', (socket) => socket.on('echo', (n, done) => done(n)));
  const client = dial(t, url, { transports: ['polling', { transport: 'websocket', timeout: 50 }], upgrade: true });
  for (let n = 0; n < 20; n++) {
    assert.equal(await client.request('echo', n), n);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.equal(client.transport, 'polling');
});

test('an upgrade that dies after its probe leaves polling as it was', async (t) => {
  const { io, url } = await serve(t);
  io.on('connection', (socket) => socket.on('echo', (n, done) => done(n)));
  const died = [];
  class Dying extends WebSocketTransport {
    constructor(context, events) {
      const packet = (text) => {
        events.packet(text);
        died.push(text);
        this.close();
        events.close('transport close', new Error('cut'));
      };
      super(context, { open: () => events.open(), drain: () => events.drain(), close: (...args) => events.close(...args), packet });
    }
  }
  const client = dial(t, url, { transports: ['polling', Dying], upgrade: true });
  for (let n = 0; n < 20; n++) assert.equal(await client.request('echo', n), n);
  assert.equal(client.transport, 'polling');
  assert.deepEqual(died, ['3probe']);
});

test('if no transport opens, the error gives the reason for each', async (t) => {
  const { url } = await serve(t, { allowRequest: (request, done) => done('come back later', false) });
  const client = dial(t, url, { reconnection: { attempts: 1, delay: 10 } });
  const [error] = await next(client, 'connect_error');
  assert.equal(error.code, 'transport');
  assert.match(error.message, /websocket: .*polling: HTTP 403: come back later/);
  assert.equal(client.state, 'reconnecting');
  await next(client, 'connect_error');
  assert.equal(client.state, 'closed', 'no attempts left');
});

test('the client gives a silent server up after pingInterval + pingTimeout', async (t) => {
  const http = createServer((request, response) => {
    if (request.method === 'POST') return request.resume().on('end', () => response.end('ok'));
    if (new URL(request.url, 'http://x').searchParams.has('sid')) return void (greeted++ === 0 ? response.end('40{"sid":"s"}') : 0);
    greeted = 0;
    response.end('0{"sid":"e","upgrades":[],"pingInterval":2000,"pingTimeout":1000,"maxPayload":1000}');
  });
  let greeted = 0;
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  t.after(() => { http.close(); http.closeAllConnections(); });
  const start = performance.now();
  const client = dial(t, `http://127.0.0.1:${http.address().port}`, ways.polling);
  await next(client, 'connect');
  assert.deepEqual(await next(client, 'disconnect'), ['ping timeout', undefined]);
  assert.ok(performance.now() - start >= 2999);
});

test('after the machine has slept, the first emit notices, waits, and is sent on the next connection', async (t) => {
  const { io, url } = await serve(t);
  io.on('connection', (socket) => socket.on('echo', (n, done) => done(n)));
  const client = dial(t, url);
  await next(client, 'connect');
  const lost = next(client, 'disconnect');
  t.mock.method(Date, 'now', () => new Date().getTime() + 60_000); // as if the machine had slept, and the timers with it
  const answer = client.request('echo', 1);
  assert.equal((await lost)[0], 'ping timeout');
  Date.now.mock.restore();
  assert.equal(await answer, 1);
});

test('unreadable packets end the session, not the client', async (t) => {
  const { io, url } = await serve(t);
  const client = dial(t, url);
  await next(client, 'connect');
  const [socket] = io.of('/').sockets.values();
  const lost = next(client, 'disconnect');
  socket.conn.write('2{"no":"array"}');
  assert.equal((await lost)[0], 'parse error');
  await next(client, 'connect');
});

test('the browser\'s offline and online events', async (t) => {
  const page = new EventTarget();
  for (const name of ['addEventListener', 'removeEventListener']) {
    globalThis[name] = page[name].bind(page);
    t.after(() => { delete globalThis[name]; });
  }
  const { url } = await serve(t);
  const client = dial(t, url, { reconnection: { delay: 60_000, max: 60_000 } });
  await next(client, 'connect');
  const lost = next(client, 'disconnect');
  page.dispatchEvent(new Event('offline'));
  await lost;
  assert.ok(client.retryAt > Date.now() + 15_000);
  const back = next(client, 'connect');
  page.dispatchEvent(new Event('online'));
  await back;
  client.close();
});
