import assert from 'node:assert/strict';
import { dial, next, serve, test, ways } from './testdata/reference.mjs';

for (const [way, options] of Object.entries(ways)) {
  test(`${way}: events, acknowledgements and binary in both directions`, async (t) => {
    const { io, url } = await serve(t);
    io.on('connection', (socket) => {
      socket.on('echo', (...args) => args.pop()(...args));
      socket.on('ask me', async (done) => done(await socket.emitWithAck('question', Buffer.from([7, 8]))));
    });
    const client = dial(t, url, options);
    client.on('question', (bytes, answer) => answer({ got: new Uint8Array(bytes), text: 'é€😀' }));
    assert.equal(client.state, 'connecting');
    await next(client, 'connect');
    assert.equal(client.state, 'connected');
    assert.ok(io.of('/').sockets.has(client.id));

    const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i);
    assert.deepEqual(await client.request('echo', { bytes, text: 'é€😀\u2028' }), { bytes: bytes.buffer, text: 'é€😀\u2028' });
    const answer = await new Promise((resolve) => client.emit('echo', 1, 'two', (...args) => resolve(args)));
    assert.deepEqual(answer, [1, 'two']);
    assert.deepEqual(await client.request('ask me'), { got: new Uint8Array([7, 8]).buffer, text: 'é€😀' });
  });

  test(`${way}: 300 events in each direction arrive once and in order`, async (t) => {
    const { io, url } = await serve(t);
    const received = [];
    io.on('connection', async (socket) => {
      socket.on('up', (n) => received.push(n));
      for (let n = 0; n < 300; n++) {
        socket.emit('down', n, n % 10 ? undefined : Buffer.alloc(3, n));
        if (n % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
      }
    });
    const client = dial(t, url, options);
    const got = [];
    const all = new Promise((resolve) => client.on('down', (n) => { got.push(n); if (n === 299) resolve(); }));
    await next(client, 'connect');
    for (let n = 0; n < 300; n++) {
      client.emit('up', n, n % 10 ? undefined : new Uint8Array(3));
      if (n % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await all;
    while (received.length < 300) await new Promise((resolve) => setTimeout(resolve, 5));
    const expected = Array.from({ length: 300 }, (_, n) => n);
    assert.deepEqual(got, expected);
    assert.deepEqual(received, expected);
    assert.equal(client.transport, way === 'polling' ? 'polling' : 'websocket');
  });

  test(`${way}: packets sent before close() arrive, and the server learns of the disconnect`, async (t) => {
    const { io, url } = await serve(t);
    const heard = new Promise((resolve) => io.on('connection', (socket) => {
      const packets = []; // record raw packets: the reference drops events that come just before a disconnect
      socket.conn.on('data', (data) => packets.push(data));
      socket.on('disconnect', (reason) => resolve([...packets, reason]));
    }));
    const client = dial(t, url, options);
    await next(client, 'connect');
    const left = next(client, 'disconnect');
    for (let n = 0; n < 3; n++) client.emit('last', n);
    const pending = client.request('last', 3);
    client.close();
    assert.equal(client.state, 'closed');
    await assert.rejects(pending, { code: 'disconnected' });
    assert.deepEqual(await left, ['io client disconnect', undefined]);
    assert.deepEqual(await heard, ['2["last",0]', '2["last",1]', '2["last",2]', '20["last",3]', '1', 'client namespace disconnect']);
    assert.equal(client.emit('more'), false);
    await assert.rejects(client.request('more'), { code: 'closed' });
  });
}

test('a namespace, its auth, and a refusal with data', async (t) => {
  const { io, url } = await serve(t);
  io.of('/adm').use((socket, pass) => (socket.handshake.auth.token === 'good'
    ? pass() : pass(Object.assign(new Error('no entry'), { data: { reason: 'token' } }))));
  io.of('/adm').on('connection', (socket) => socket.on('who', (done) => done(socket.nsp.name, socket.handshake.auth)));

  let token = 'bad';
  const client = dial(t, url, { namespace: 'adm', auth: async () => ({ token }) });
  const early = client.request('who');
  const [error] = await next(client, 'connect_error');
  assert.deepEqual([error.code, error.message, error.data], ['refused', 'no entry', { reason: 'token' }]);
  assert.equal(client.state, 'closed', 'a refusal is final');
  await assert.rejects(early, { code: 'closed' });

  token = 'good';
  client.connect();
  assert.equal(await client.request('who'), '/adm');
});

test('a refused event rejects; a result that only looks like a refusal does not', async (t) => {
  const { io, url } = await serve(t);
  io.on('connection', (socket) => socket.on('ask', (answers, done) => done(...answers)));
  const client = dial(t, url);
  await next(client, 'connect');
  const refusal = { error: { code: 'not_joined', message: 'join first', data: [1] } };
  await assert.rejects(client.request('ask', [refusal]), { name: 'ParleyError', code: 'not_joined', message: 'join first', data: [1] });
  for (const result of [
    [refusal, 1], [{ ...refusal, more: 1 }], [{ error: 'text' }], [{ error: { code: 1, message: 'text' } }], [{ error: { code: 'text' } }],
    [{ code: 'a', message: 'b' }], [[refusal]], [null], [],
  ]) assert.deepEqual(await client.request('ask', result), result[0]);
});

test('the client retries if auth fails', async (t) => {
  const { url } = await serve(t);
  let calls = 0;
  const client = dial(t, url, { auth: () => { if (++calls === 1) throw new Error('no token yet'); return {}; } });
  assert.equal((await next(client, 'connect_error'))[0].message, 'no token yet');
  await next(client, 'connect');
  assert.equal(calls, 2);
});

test('a request times out; a late answer changes nothing', async (t) => {
  const { io, url } = await serve(t);
  io.on('connection', (socket) => socket.on('slow', (done) => setTimeout(done, 60, 'late')));
  const client = dial(t, url);
  await next(client, 'connect');
  await assert.rejects(client.timeout(20).request('slow'), { name: 'ParleyError', code: 'timeout' });
  assert.equal(await client.timeout(120_000).request('slow'), 'late');
});

for (const [way, options] of Object.entries(ways)) {
  test(`${way}: the callback of an answer runs before the listeners of later events`, async (t) => {
    const { io, url } = await serve(t);
    io.on('connection', (socket) => socket.on('join', (done) => {
      socket.emit('live', 1);
      done('page');
      socket.emit('live', 2);
    }));
    const client = dial(t, url, options);
    await next(client, 'connect');
    for (let i = 0; i < 20; i++) {
      const heard = [];
      await new Promise((resolve) => {
        client.off('live').on('live', (n) => { heard.push(n); if (n === 2) resolve(); });
        client.timeout(120_000).emit('join', (error, answer) => heard.push(error, answer));
      });
      assert.deepEqual(heard, [1, null, 'page', 2]);
    }
  });
}

test('outcomes of an event with a callback', async (t) => {
  const { io, url } = await serve(t);
  io.on('connection', (socket) => {
    socket.on('refused', (done) => done({ error: { code: 'not_joined', message: 'join first' } }));
    socket.on('silence', () => {});
    socket.on('bye', () => socket.disconnect());
  });
  const client = dial(t, url);
  const code = (ms, event) => new Promise((resolve) => client.timeout(ms).emit(event, (error, answer) => resolve([error.code, answer])));
  const codes = [await code(120_000, 'refused'), await code(1, 'silence'), await code(120_000, 'bye'), await code(120_000, 'refused')];
  assert.deepEqual(codes, ['not_joined', 'timeout', 'disconnected', 'closed'].map((c) => [c, undefined]));
});

test('before the connection: emits wait in order, volatile ones are dropped, the buffer is bounded', async (t) => {
  const { io, url } = await serve(t);
  const got = [];
  io.on('connection', (socket) => socket.onAny((event, ...args) => { got.push(event); args.pop()?.(); }));
  const client = dial(t, url, { bufferSize: 3 });
  assert.equal(client.emit('a'), true);
  assert.equal(client.volatile('v'), false);
  await assert.rejects(client.timeout(1).request('never sent'), { code: 'timeout' });
  assert.equal(client.emit('b'), true);
  const last = client.request('c');
  assert.equal(client.emit('d'), false);
  await assert.rejects(client.request('d'), { code: 'buffer_full' });
  await last;
  assert.equal(client.volatile('e'), true);
  await client.request('f');
  assert.deepEqual(got, ['a', 'b', 'c', 'e', 'f']);
});

test('what connect listeners emit is sent before what waited for the connection', async (t) => {
  const { io, url } = await serve(t);
  const got = [];
  io.on('connection', (socket) => socket.onAny((event, done) => { got.push(event); done?.(); }));
  const client = dial(t, url);
  client.on('connect', () => client.emit('join'));
  await client.request('a');
  client.once('disconnect', () => client.emit('b'));
  for (const socket of await io.fetchSockets()) socket.conn.close();
  await next(client, 'connect');
  await client.request('c');
  assert.deepEqual(got, ['join', 'a', 'join', 'b', 'c']);
});

test('listeners: once, off, reserved names, and one that throws', async (t) => {
  const { io, url } = await serve(t);
  io.on('connection', (socket) => socket.on('go', (done) => { socket.emit('x', 1); socket.emit('x', 2); done(); }));
  const client = dial(t, url, ways.polling);
  const got = [];
  const removed = () => got.push('removed');
  client.on('x', removed).off('x', removed).once('x', (n) => got.push(`once ${n}`)).on('x', (n) => got.push(n));
  client.once('x', () => { throw new Error('a listener fault'); });
  const fault = new Promise((resolve) => { globalThis.reportError = resolve; });
  t.after(() => { delete globalThis.reportError; });
  await client.request('go');
  assert.deepEqual(got, ['once 1', 1, 2]);
  assert.equal((await fault).message, 'a listener fault');
  assert.throws(() => client.emit('connect'), TypeError);
});

test('the server disconnects the client, which does not reconnect', async (t) => {
  const { io, url } = await serve(t);
  io.on('connection', (socket) => socket.on('bye', () => socket.disconnect()));
  const client = dial(t, url);
  await next(client, 'connect');
  client.emit('bye');
  assert.deepEqual(await next(client, 'disconnect'), ['io server disconnect', undefined]);
  assert.equal(client.state, 'closed');
});

test('polling keeps each POST within maxPayload; the client refuses larger packets', async (t) => {
  const { io, url } = await serve(t, { maxHttpBufferSize: 1000 });
  let sum = 0;
  io.on('connection', (socket) => {
    socket.on('part', (text, bytes) => { sum += text.length + bytes.length; });
    socket.on('sum', (done) => done(sum));
  });
  const client = dial(t, url, ways.polling);
  await next(client, 'connect');
  for (let i = 0; i < 50; i++) client.emit('part', 'é'.repeat(100), new Uint8Array(100));
  assert.equal(await client.request('sum'), 50 * 200);
  assert.equal(client.emit('part', 'é'.repeat(500)), false);
  await assert.rejects(client.request('part', new Uint8Array(750)), { code: 'too_large' });
  assert.equal(await client.request('sum'), 50 * 200, 'and the connection is whole');
});
