// Connecting: what the client sends, what it learns, and upgrades.
import assert from 'node:assert/strict';
import { runInNewContext } from 'node:vm';
import { client, collect, connected, count, each, next, serve, settled, soak, take, test, upgraded, ways } from './harness.mjs';

each('auth, query and headers arrive', async (t, way) => {
  const { url } = await serve(t);
  const socket = client(t, `${url}/custom`, {
    ...way, auth: { token: 'é😀', nested: [1] }, query: { q: 'a b&c=d' }, extraHeaders: { 'X-Custom': 'yes' },
  });
  assert.deepEqual(await next(socket, 'auth'), { token: 'é😀', nested: [1] });
  const { headers, query, crossOrigin, secure } = await socket.emitWithAck('handshake');
  assert.deepEqual(headers['X-Custom'], ['yes']);
  assert.deepEqual(query.q, ['a b&c=d']);
  assert.deepEqual([crossOrigin, secure], [false, false]);
});

test('a query in the address', async (t) => {
  const { url } = await serve(t);
  const socket = await connected(t, `${url}/?q=a%20b%26c`);
  assert.deepEqual((await socket.emitWithAck('handshake')).query.q, ['a b&c']);
});

test('auth may be a function, which is called for each connection', async (t) => {
  const { url } = await serve(t);
  let times = 0;
  const socket = client(t, url, { auth: (done) => setImmediate(done, { times: ++times }) });
  assert.deepEqual(await next(socket, 'auth'), { times: 1 });
  socket.emit('cut');
  assert.deepEqual(await next(socket, 'auth'), { times: 2 });
});

each('without auth', async (t, way) => {
  const { url } = await serve(t);
  assert.deepEqual(await next(client(t, url, way), 'auth'), {});
});

each('ids and transports', async (t, way) => {
  const { url } = await serve(t);
  const [a, b] = [await connected(t, url, way), await connected(t, url, way)];
  assert.match(a.id, /^[\w-]{20}$/);
  assert.notEqual(a.id, b.id);
  assert.notEqual(a.id, a.io.engine.id);
  if (way.transports?.[0] !== 'polling') await upgraded(a);
  const who = await a.emitWithAck('whoami');
  assert.equal(who.id, a.id);
  assert.deepEqual(who.rooms, [a.id]);
  assert.equal(who.recovered, false);
  assert.equal(who.transport, way.transports?.[0] ?? 'websocket');
  assert.equal(who.transport, a.io.engine.transport.name);
});

for (const flags of [[], ['-mux']]) {
  test(`the path with and without a trailing slash ${flags}`, async (t) => {
    const { url } = await serve(t, ...flags);
    for (const addTrailingSlash of [true, false]) {
      for (const way of Object.values(ways)) {
        const socket = await connected(t, url, { addTrailingSlash, ...way });
        if (!way.transports) await upgraded(socket);
        await settled(socket);
      }
    }
  });
}

// Only for our server: the reference serves its client there.
test('a page that loads the client from the server learns where to get it', async (t) => {
  const { url } = await serve(t);
  for (const name of ['socket.io.js', 'socket.io.min.js', 'socket.io.msgpack.min.js']) {
    const script = await (await fetch(`${url}/socket.io/${name}`)).text();
    assert.throws(() => runInNewContext(script), /cdn\.socket\.io/);
  }
  const module = await (await fetch(`${url}/socket.io/socket.io.esm.min.js`)).text();
  const page = `import io, { io as same, Manager } from ${JSON.stringify(`data:text/javascript,${encodeURIComponent(module)}`)}; io();`;
  await assert.rejects(import(`data:text/javascript,${encodeURIComponent(page)}`), /cdn\.socket\.io/);
});

test('events emitted before connecting are sent on connection, except volatile ones', async (t) => {
  const { url } = await serve(t);
  const socket = client(t, url, { autoConnect: false });
  const back = collect(socket, 'message-back');
  socket.emit('message', 1);
  socket.volatile.emit('message', 2);
  socket.emit('message', 3);
  socket.connect();
  await next(socket, 'connect');
  await settled(socket);
  assert.deepEqual(back, [[1], [3]]);
});

test('upgrading under traffic in both directions loses and reorders nothing', async (t) => {
  const { url } = await serve(t);
  const n = 300;
  for (const round of count(soak(10, 1000))) {
    const socket = client(t, url);
    const back = collect(socket, 'message-back');
    const ticks = collect(socket, 'tick');
    const wasUpgraded = next(socket.io, 'open').then(() => next(socket.io.engine, 'upgrade'));
    const streamed = new Promise((resolve) => socket.emit('stream', { count: n, every: 100 }, resolve));
    for (const i of count(n)) {
      socket.emit('message', i);
      if (i % 10 === round % 10) await new Promise(setImmediate); // send some together and some apart
    }
    await Promise.all([wasUpgraded, streamed]);
    await settled(socket);
    assert.deepEqual(back.flat(), count(n), `echo, round ${round}`);
    assert.deepEqual(ticks.flat(), count(n), `stream, round ${round}`);
    socket.disconnect();
  }
});

each('500 at once: each gets the event sent on connection', async (t, way) => {
  const { url } = await serve(t);
  const refusals = [];
  const all = count(500).map((number) => {
    const socket = client(t, url, { ...way, reconnection: false, auth: { number } });
    socket.on('connect_error', (error) => refusals.push(error));
    return socket;
  });
  const greetings = await Promise.all(all.map((socket) => next(socket, 'auth')));
  assert.deepEqual(refusals, []);
  assert.deepEqual(greetings, count(500).map((number) => ({ number })));
  assert.equal(new Set(all.map(({ id }) => id)).size, 500);
});

test('only allowed origins may connect', async (t) => {
  const { url } = await serve(t, '-origins', 'https://good.example');
  for (const transports of [['websocket'], ['polling']]) {
    const from = (origin) => client(t, url, { transports, reconnection: false, extraHeaders: { origin } });
    await next(from('https://good.example'), 'connect');
    await next(from(url), 'connect'); // the server's own origin
    for (const origin of ['https://evil.example', 'https://good.example.evil.example', 'http://good.example', 'null']) {
      await next(from(origin), 'connect_error');
    }
  }
  const answer = (origin, method = 'GET') => fetch(`${url}/socket.io/?EIO=4&transport=polling`, { method, headers: { origin } });
  const good = await answer('https://good.example');
  assert.equal(good.headers.get('access-control-allow-origin'), 'https://good.example');
  assert.equal(good.headers.get('access-control-allow-credentials'), 'true');
  assert.match(good.headers.get('vary'), /Origin/);
  assert.equal((await answer('https://good.example', 'OPTIONS')).status, 204);
  const evil = await answer('https://evil.example');
  assert.equal(evil.status, 403);
  assert.deepEqual(await evil.json(), { code: 4, message: 'Origin not allowed' });
  assert.equal(evil.headers.get('access-control-allow-origin'), null);
});

test('all origins', async (t) => {
  const { url } = await serve(t);
  const response = await fetch(`${url}/socket.io/?EIO=4&transport=polling`, { headers: { origin: 'https://any.example' } });
  assert.equal(response.headers.get('access-control-allow-origin'), '*');
  assert.equal(response.headers.get('access-control-allow-credentials'), null);
  const socket = await connected(t, url, { extraHeaders: { origin: 'https://any.example' } });
  await upgraded(socket);
  assert.equal((await socket.emitWithAck('handshake')).crossOrigin, true);
});

each('the heartbeat keeps an idle connection', async (t, way) => {
  const { url } = await serve(t, '-ping-interval', '100ms', '-ping-timeout', '30s');
  const socket = await connected(t, url, way);
  const lost = collect(socket, 'disconnect');
  await take(socket.io, 'ping', 5);
  await settled(socket);
  assert.deepEqual(lost, []);
});
