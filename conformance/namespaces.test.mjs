// Namespaces: static, dynamic, refused, and several on one connection.
import assert from 'node:assert/strict';
import { Manager } from 'socket.io-client';
import { atEnd, client, collect, connected, each, next, serve, settled, test, ways } from './harness.mjs';

const manager = (t, url, options) => {
  const it = new Manager(url, { reconnectionDelay: 20, reconnectionDelayMax: 100, ...options });
  atEnd(t, () => it._close());
  return it;
};

each('static and dynamic', async (t, way) => {
  const { url } = await serve(t);
  for (const name of ['/custom', '/dynamic-1', '/dynamic-20']) {
    const socket = client(t, `${url}${name}`, { ...way, auth: { name } });
    assert.deepEqual(await next(socket, 'auth'), { name });
    assert.equal(await socket.emitWithAck('message-with-ack', name), name);
    assert.deepEqual(await socket.emitWithAck('message-with-ack', Buffer.from(name)), Buffer.from(name));
    const back = next(socket, 'message-back');
    socket.emit('message', 1);
    assert.equal(await back, 1);
  }
});

each('unknown: connect_error, and no reconnection', async (t, way) => {
  const { url } = await serve(t);
  for (const name of ['/unknown', '/dynamic-', '/dynamic-1/x', '/x/dynamic-1', '/custom/', '/😀']) {
    const socket = client(t, `${url}${name}`, way);
    const error = await next(socket, 'connect_error');
    assert.equal(error.message, 'Invalid namespace', name);
    assert.equal(error.data, undefined);
    assert.equal(socket.active, false);
  }
});

each('refused by middleware: connect_error with message and data', async (t, way) => {
  const { url } = await serve(t);
  const socket = client(t, `${url}/refused`, way);
  const error = await next(socket, 'connect_error');
  assert.equal(error.message, 'Not authorized');
  assert.deepEqual(error.data, { code: 'E1', label: 'no token' });
  assert.deepEqual([socket.active, socket.connected], [false, false]);
});

each('refused, then let in, on the same connection', async (t, way) => {
  const { url } = await serve(t);
  const shared = manager(t, url, way);
  const other = shared.socket('/');
  await next(other, 'connect');
  const { id } = shared.engine;
  const socket = shared.socket('/token', { auth: { token: 'wrong' } });
  for (let i = 0; i < 3; i++) {
    assert.equal((await next(socket, 'connect_error')).message, 'Not authorized');
    if (i === 2) socket.auth = { token: 'secret' };
    socket.connect();
  }
  assert.deepEqual(await next(socket, 'auth'), { token: 'secret' });
  assert.equal(shared.engine.id, id);
});

each('several on one connection', async (t, way) => {
  const { url } = await serve(t);
  const shared = manager(t, url, way);
  const names = ['/', '/custom', '/dynamic-7', '/quiet'];
  const sockets = names.map((name) => shared.socket(name));
  await Promise.all(sockets.map((socket) => next(socket, 'connect')));
  assert.equal(new Set(sockets.map(({ id }) => id)).size, 4);
  const inboxes = sockets.map((socket) => collect(socket, 'news'));
  for (const socket of sockets) await socket.emitWithAck('broadcast', { self: true }, 'news', socket.nsp, Buffer.from(socket.nsp));
  await Promise.all(sockets.map(settled));
  assert.deepEqual(inboxes, names.map((name) => [[name, Buffer.from(name)]]));

  const refused = shared.socket('/refused');
  assert.equal((await next(refused, 'connect_error')).message, 'Not authorized');
  sockets[0].disconnect();
  assert.equal(await sockets[1].emitWithAck('message-with-ack', 1), 1);
  const gone = next(sockets[2], 'disconnect');
  sockets[2].emit('disconnect-me', false);
  assert.equal(await gone, 'io server disconnect');
  assert.equal(await sockets[1].emitWithAck('message-with-ack', 2), 2);
  sockets[0].connect(); // joins again
  await next(sockets[0], 'connect');
  assert.equal(await sockets[0].emitWithAck('message-with-ack', 3), 3);
  // They share one connection, so they disconnect and reconnect together.
  const back = [sockets[0], sockets[1], sockets[3]].map((socket) => next(socket, 'connect'));
  sockets[1].emit('cut');
  await Promise.all(back);
});

test('more namespaces than allowed on one connection', async (t) => {
  const { url } = await serve(t);
  const shared = manager(t, url, ways.websocket);
  for (let i = 0; i < 10; i++) await next(shared.socket(`/dynamic-${i}`), 'connect');
  assert.equal((await next(shared.socket('/dynamic-10'), 'connect_error')).message, 'Too many namespaces');
  assert.equal(await shared.socket('/dynamic-0').emitWithAck('message-with-ack', 1), 1);
});

test('rooms with the same name in two namespaces are separate', async (t) => {
  const { url } = await serve(t);
  const [a, b, other] = [await connected(t, url), await connected(t, url), await connected(t, `${url}/custom`)];
  for (const socket of [a, b, other]) await socket.emitWithAck('join', 'room');
  const [here, there] = [collect(b, 'news'), collect(other, 'news')];
  await a.emitWithAck('broadcast', { to: ['room'] }, 'news', 1);
  await Promise.all([settled(b), settled(other)]);
  assert.deepEqual([here, there], [[[1]], []]);
});
