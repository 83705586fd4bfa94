// Clients of every generation: Socket.IO 2 speaks Engine.IO 3, Socket.IO 3 and 4 speak 4.
import assert from 'node:assert/strict';
import { atEnd, client, collect, connected, count, each, next, parley, PATIENCE, serve, take, test, upgraded, ways } from './harness.mjs';

const versions = ['2.0.4', '2.5.0', '3.0.5', '3.1.3', '4.0.2', '4.5.4', '4.7.5', '4.8.4'];
const clients = Object.fromEntries(await Promise.all(versions.map(async (version) => {
  const module = await import(version === '4.8.4' ? 'socket.io-client' : `client-${version}`);
  return [version, module.io ?? module.default];
})));

/** Defines one test for each client and each way. */
function every(name, run) {
  for (const version of versions) {
    each(`${name}, ${version}`, (t, way, how) => run(t, { ...way, connect: clients[version] }, { version, how, old: version.startsWith('2.') }));
  }
}

/** Emits with an acknowledgement callback, because older clients have no emitWithAck. */
const ask = (socket, event, ...args) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no answer to ${event}`)), PATIENCE);
  socket.emit(event, ...args, (...answer) => { clearTimeout(timer); resolve(answer); });
});

/** Resolves with all arguments of the next such event. */
const all = (socket, event) => new Promise((resolve) => socket.once(event, (...args) => resolve(args)));

const legacy = (t, ...flags) => serve(t, '-legacy', ...flags);

/** Text with escapes and with characters beyond the basic plane. */
const text = 'é€😀𝒳\u2028\n"\\n\u0000';

every('messages, acknowledgements and binary in both directions', async (t, options, { how, old }) => {
  const { url } = await legacy(t);
  const socket = await connected(t, url, options);
  if (how !== 'polling') await upgraded(socket);

  const large = Buffer.alloc(70_000, 'é😀');
  for (const args of [
    [text], [text.repeat(2000)], [1, null, true, { a: [text] }], [],
    [Buffer.from([0, 1, 4, 0x1e, 255])], [large, text, { deep: [large] }], [Buffer.alloc(0)],
  ]) {
    const back = all(socket, 'message-back');
    socket.emit('message', ...args);
    assert.deepEqual(await back, args);
    assert.deepEqual(await ask(socket, 'message-with-ack', ...args), args);
  }

  socket.on('question', (q, answer) => answer({ q, text, binary: Buffer.from([4, 3]) }));
  const [answer] = await ask(socket, 'ask', 5000, Buffer.from([9]));
  assert.deepEqual(answer, { q: Buffer.from([9]), text, binary: Buffer.from([4, 3]) });

  const [who] = await ask(socket, 'whoami');
  assert.equal(who.id, socket.id);
  assert.equal(who.transport, how === 'polling' ? 'polling' : 'websocket');
  assert.equal(socket.id === socket.io.engine.id, old);
});

every('namespaces and refusals', async (t, options, { old }) => {
  const { url } = await legacy(t);
  const main = await connected(t, url, options);
  const of = (name, token) => {
    const sign = old ? { query: { token } } : { auth: { token } };
    const socket = main.io.socket(name, token ? sign : {});
    atEnd(t, () => socket.disconnect());
    return socket;
  };
  const custom = of('/custom', 'é &=');
  assert.deepEqual(await next(custom, 'auth'), { token: 'é &=' });
  const [who] = await ask(custom, 'whoami');
  assert.equal(who.id, custom.id);
  assert.equal(custom.id === `/custom#${main.io.engine.id}`, old);
  const back = next(custom, 'message-back');
  custom.emit('message', Buffer.from([1]));
  assert.deepEqual(await back, Buffer.from([1]));

  assert.deepEqual(await next(of('/token', 'secret'), 'auth'), { token: 'secret' });
  const refused = async (socket) => {
    const e = await next(socket, old ? 'error' : 'connect_error');
    return old ? e : { message: e.message, data: e.data };
  };
  assert.deepEqual(await refused(of('/refused')), old ? { code: 'E1', label: 'no token' } : { message: 'Not authorized', data: { code: 'E1', label: 'no token' } });
  assert.deepEqual(await refused(of('/dynamic-x')), old ? { message: 'Invalid namespace' } : { message: 'Invalid namespace', data: undefined });
  await next(of('/dynamic-12'), 'connect');
  custom.disconnect();
  assert.deepEqual(await ask(main, 'message-with-ack', 1), [1]); // the connection is still open
});

every('the server disconnects, and the client reconnects', async (t, options) => {
  const { url } = await legacy(t);
  const socket = await connected(t, url, options);
  const reasons = collect(socket, 'disconnect');
  const again = next(socket, 'connect');
  socket.emit('cut');
  await again;
  const gone = next(socket, 'disconnect');
  socket.emit('disconnect-me', true);
  await gone;
  assert.deepEqual(reasons.map(([reason]) => reason), ['transport close', 'io server disconnect']);
});

every('upgrading under traffic loses and reorders nothing', async (t, options, { how }) => {
  const { url } = await legacy(t);
  const n = 200;
  for (let round = 0; round < (how === 'upgrade' ? 3 : 1); round++) {
    const socket = client(t, url, options);
    const back = collect(socket, 'message-back');
    const ticks = collect(socket, 'tick');
    await next(socket, 'connect');
    const streamed = ask(socket, 'stream', { count: n, every: 100 });
    for (const i of count(n)) {
      socket.emit('message', i, i % 20 ? text : Buffer.from(text));
      if (i % 10 === round * 3) await new Promise(setImmediate);
    }
    if (how === 'upgrade') await upgraded(socket);
    await streamed;
    await ask(socket, 'message-with-ack');
    assert.deepEqual(back.map(([i]) => i), count(n));
    assert.deepEqual(ticks.flat(), count(n));
    socket.disconnect();
  }
});

/** Connects a client of each version in each way. */
const everybody = (t, url) => Promise.all(versions.flatMap((version) => Object.values(ways).map((way) => connected(t, url, { ...way, connect: clients[version] }))));

test('heartbeats', async (t) => {
  const { url } = await legacy(t, '-ping-interval', '1s', '-ping-timeout', '6s');
  const sockets = await everybody(t, url);
  const gone = sockets.map((socket) => collect(socket, 'disconnect'));
  await new Promise((resolve) => setTimeout(resolve, 15_000)); // without heartbeats, none of them would live so long
  assert.deepEqual(gone.flat(), []);
  for (const [i, socket] of sockets.entries()) assert.deepEqual(await ask(socket, 'message-with-ack', i), [i]);
});

test('one broadcast reaches all of them', async (t) => {
  const { url } = await legacy(t);
  const sockets = await everybody(t, url);
  await Promise.all(sockets.map((socket) => ask(socket, 'join', 'room')));
  const sent = [text, Buffer.from([4, 0, 255]), { deep: [Buffer.from(text)] }];
  const news = sockets.map((socket) => take(socket, 'news', 3));
  const rest = sockets.map((socket) => all(socket, 'last'));
  for (const [i, what] of sent.entries()) await ask(sockets[i * 5], 'broadcast', { to: ['room'], self: true }, 'news', what);
  await ask(sockets[0], 'broadcast', { to: ['room'], self: true }, 'last', ...sent);
  for (const got of [...await Promise.all(news), ...await Promise.all(rest)]) assert.deepEqual(got, sent);
});

test('a server that does not allow clients of Socket.IO 2 refuses them', async (t) => {
  const { url } = await serve(t);
  for (const transports of [['polling'], ['websocket']]) {
    const socket = client(t, url, { transports, connect: clients['2.5.0'], reconnection: false });
    await next(socket, 'connect_error');
    assert.equal(socket.connected, false);
  }
});

test('all join one conversation of the parley binary', async (t) => {
  const { url } = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory');
  const sockets = await everybody(t, url);
  const heard = sockets.map((socket) => take(socket, 'newMessage', sockets.length));
  for (const [i, socket] of sockets.entries()) {
    const [{ member, count: n }] = await ask(socket, 'joinRoom', { roomId: 'r', userId: `u${i}` });
    assert.equal(n, i + 1);
    assert.notEqual(member.id, socket.io.engine.id);
  }
  for (const [i, socket] of sockets.entries()) await ask(socket, 'sendMessage', { roomId: 'r', message: text + i });
  for (const messages of await Promise.all(heard)) {
    assert.deepEqual(messages.map(({ seq, message }) => [seq, message]), sockets.map((_, i) => [i + 1, text + i]));
  }
});
