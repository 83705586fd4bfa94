// The ends of connections: the reasons that client and server get, and which clients reconnect.
import assert from 'node:assert/strict';
import { client, collect, connected, count, each, next, serve, settled, soak, test } from './harness.mjs';
import { proxy } from './proxy.mjs';

/** Connects a client behind a proxy, and a watcher that gets the server's view of it. */
async function observed(t, way, ...flags) {
  const server = await serve(t, ...flags);
  const watcher = await connected(t, server.url, { transports: ['websocket'] });
  await watcher.emitWithAck('join', 'watchers');
  const between = await proxy(t, server.url);
  const socket = await connected(t, between.url, way);
  await settled(socket);
  const { id } = socket;
  const left = new Promise((resolve) => watcher.on('left', (who, why) => who === id && resolve(why)));
  return { socket, id, left, between, server };
}

each('the client disconnects', async (t, way) => {
  const { socket, left } = await observed(t, way);
  const lost = next(socket, 'disconnect');
  socket.disconnect();
  assert.equal(await lost, 'io client disconnect');
  assert.equal(await left, 'client namespace disconnect');
  assert.equal(socket.active, false);
});

for (const connection of [false, true]) {
  each(`the server disconnects ${connection ? 'the connection' : 'the socket'}: no reconnection`, async (t, way) => {
    const { socket, left, id } = await observed(t, way);
    const lost = next(socket, 'disconnect');
    socket.emit('disconnect-me', connection);
    assert.equal(await lost, 'io server disconnect');
    assert.equal(await left, 'server namespace disconnect');
    assert.equal(socket.active, false);
    socket.connect();
    await next(socket, 'connect');
    assert.notEqual(socket.id, id);
  });
}

each('the server closes the transport: the client reconnects', async (t, way) => {
  const { socket, left, id } = await observed(t, way);
  const lost = next(socket, 'disconnect');
  socket.emit('cut');
  assert.equal(await lost, 'transport close');
  assert.equal(await left, 'forced close');
  assert.equal(socket.active, true);
  await next(socket, 'connect');
  assert.notEqual(socket.id, id);
  assert.ok(!socket.recovered);
});

each('the client closes the transport', async (t, way) => {
  const { socket, left } = await observed(t, way);
  const lost = next(socket, 'disconnect');
  socket.io.engine.close();
  assert.equal(await lost, 'forced close');
  assert.equal(await left, 'transport close');
  await next(socket, 'connect');
});

each('the network breaks: the client reconnects', async (t, way) => {
  const { socket, left, between } = await observed(t, way, '-ping-interval', '300ms', '-ping-timeout', '5s');
  const lost = next(socket, 'disconnect');
  between.down();
  assert.match(await lost, /transport close|transport error/);
  assert.match(await left, /transport close|transport error|ping timeout/); // ping timeout if it was between two polls
  between.up();
  await next(socket, 'connect');
  await settled(socket);
});

each('the network is silent: the heartbeat tells both sides', async (t, way) => {
  const { socket, left, between } = await observed(t, way, '-ping-interval', '300ms', '-ping-timeout', '5s');
  const lost = next(socket, 'disconnect');
  between.stall();
  assert.deepEqual([await lost, await left], ['ping timeout', 'ping timeout']);
  between.up();
  await next(socket, 'connect');
  await settled(socket);
});

for (const signal of ['SIGTERM', 'SIGKILL']) {
  each(`the server ends by ${signal} and another one begins`, async (t, way) => {
    const { socket, id, between, server } = await observed(t, way);
    const lost = next(socket, 'disconnect');
    const exit = await server.stop(signal);
    assert.equal(exit, signal === 'SIGTERM' ? 0 : signal, server.log());
    assert.match(await lost, /transport close|transport error/);
    const refused = collect(socket.io, 'reconnect_error');
    await next(socket.io, 'reconnect_error');
    socket.emit('message', 'kept');
    const back = next(socket, 'message-back');
    between.target = (await serve(t)).url;
    await next(socket, 'connect');
    assert.notEqual(socket.id, id);
    assert.equal(await back, 'kept');
    assert.ok(refused.length > 0);
  });
}

each('a client without reconnection stays away', async (t, way) => {
  const { url } = await serve(t);
  const socket = client(t, url, { ...way, reconnection: false });
  await next(socket, 'connect');
  const lost = next(socket, 'disconnect');
  socket.emit('cut');
  assert.equal(await lost, 'transport close');
  assert.equal(socket.io.engine.readyState, 'closed');
});

// If the server disconnects a client during its upgrade, the client hangs until the ping timeout.
const impatient = ['-ping-interval', '1s', '-ping-timeout', '10s'];

test('the server closes while the client upgrades', async (t) => {
  const { url } = await serve(t, ...impatient);
  for (const [event, argument, reason] of [['cut', undefined, 'transport close'], ['disconnect-me', true, 'io server disconnect']]) {
    await Promise.all(count(50).map(async (i) => {
      const socket = client(t, url, { reconnection: false });
      await next(socket, i % 2 ? 'connect' : 'auth');
      const lost = next(socket, 'disconnect');
      socket.emit(event, argument);
      assert.equal(await lost, reason);
    }));
  }
});

test('the server shuts down while clients upgrade', async (t) => {
  for (let round = 0; round < soak(5, 200); round++) {
    const server = await serve(t, ...impatient);
    const sockets = count(20).map(() => client(t, server.url, { reconnection: false }));
    await next(sockets[19], 'connect');
    const lost = sockets.filter(({ connected }) => connected).map((socket) => next(socket, 'disconnect'));
    assert.equal(await server.stop('SIGTERM'), 0, server.log());
    for (const reason of await Promise.all(lost)) assert.match(reason, /transport close|transport error/);
  }
});
