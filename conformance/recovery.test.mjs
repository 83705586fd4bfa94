// Connection state recovery: clients that reconnect continue where they were.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import msgpack from 'socket.io-msgpack-parser';
import { client, collect, connected, count, each, next, serve, settled, soak, test, upgraded, ways } from './harness.mjs';
import { proxy } from './proxy.mjs';

/** Connects a client behind a proxy and joins a room, and connects another client that sends to it. */
async function pair(t, { way, namespace = '/', flags = ['-recovery', '1m'], ...options } = {}) {
  const { url } = await serve(t, ...flags);
  const between = await proxy(t, url);
  const socket = await connected(t, between.url + namespace, { ...way, ...options });
  const other = await connected(t, url + namespace, { transports: ['websocket'], ...options });
  await socket.emitWithAck('join', 'room');
  await socket.emitWithAck('set-data', { name: 'Ada' });
  const inbox = collect(socket, 'news');
  const send = (...args) => other.emitWithAck('broadcast', { to: ['room'] }, 'news', ...args);
  return { socket, other, between, url, inbox, send, id: socket.id };
}

/** Returns the arguments of events without their offset, which comes last. */
const contents = (inbox) => inbox.map((args) => args.slice(0, -1));

async function isRecovered(socket, id) {
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, id);
  const who = await socket.emitWithAck('whoami');
  assert.deepEqual({ ...who, transport: '', rooms: who.rooms.sort() }, { id, recovered: true, transport: '', data: { name: 'Ada' }, rooms: [id, 'room'].sort() });
}

each('id, rooms, data and missed events', async (t, way) => {
  const { socket, between, inbox, send, id } = await pair(t, { way });
  await send('before');
  await settled(socket);
  for (const round of count(3)) {
    const lost = next(socket, 'disconnect');
    between.down({ unnoticed: round === 1 }); // unnoticed: the server still sends to the old connection
    await send(round, 'one');
    for (const i of count(100)) await send(round, i, { binary: Buffer.from([i]) });
    await lost;
    const back = next(socket, 'connect');
    between.up();
    await back;
    await isRecovered(socket, id);
    await send(round, 'after');
    await settled(socket);
  }
  const wanted = count(3).flatMap((round) => [[round, 'one'], ...count(100).map((i) => [round, i, { binary: Buffer.from([i]) }]), [round, 'after']]);
  assert.deepEqual(contents(inbox), [['before'], ...wanted]);
});

each('by msgpack', async (t, way) => {
  const { socket, between, inbox, send, id } = await pair(t, { way, parser: msgpack, flags: ['-recovery', '1m', '-msgpack'] });
  const lost = next(socket, 'disconnect');
  between.down();
  await lost;
  for (const i of count(20)) await send(i, Buffer.from([i]));
  between.up();
  await next(socket, 'connect');
  await isRecovered(socket, id);
  assert.deepEqual(contents(inbox), count(20).map((i) => [i, Buffer.from([i])]));
});

each('the server closed the transport', async (t, way) => {
  const { socket, inbox, send, id } = await pair(t, { way });
  const lost = next(socket, 'disconnect');
  socket.emit('cut');
  await lost;
  const back = next(socket, 'connect');
  await send('missed');
  await back;
  await isRecovered(socket, id);
  assert.deepEqual(contents(inbox), [['missed']]);
});

each('events sent just before the server closes the transport come once', async (t, way) => {
  const { url } = await serve(t, '-recovery', '1m');
  const socket = await connected(t, url, way);
  const back = collect(socket, 'message-back');
  for (const i of count(10)) {
    const again = next(socket, 'connect');
    socket.emit('message', i, 'a');
    socket.emit('message', i, 'b');
    socket.emit('cut');
    await again;
    assert.equal(socket.recovered, true);
  }
  await settled(socket);
  assert.deepEqual(contents(back), count(10).flatMap((i) => [[i, 'a'], [i, 'b']]));
});

each('without an earlier event', async (t, way) => {
  const { socket, between, inbox, send, id } = await pair(t, { way, namespace: '/quiet' });
  for (let i = 0; i < 2; i++) {
    const lost = next(socket, 'disconnect');
    between.down();
    await lost;
    if (i === 1) await send('missed');
    between.up();
    await next(socket, 'connect');
    await isRecovered(socket, id);
  }
  assert.deepEqual(contents(inbox), [['missed']]);
});

test('only events for the client', async (t) => {
  const { socket, other, between, inbox, id } = await pair(t);
  const lost = next(socket, 'disconnect');
  between.down();
  await lost;
  const emit = (how, ...args) => other.emitWithAck('broadcast', how, 'news', ...args);
  await emit({ to: ['elsewhere'] }, 'another room');
  await emit({ except: ['room'] }, 'all but it');
  await emit({ to: [id] }, 'it alone');
  await emit({ to: ['room', id, 'elsewhere'] }, 'once');
  await emit({ to: ['room'], volatile: true }, 'volatile');
  await emit({}, 'all');
  between.up();
  await next(socket, 'connect');
  await isRecovered(socket, id);
  assert.deepEqual(contents(inbox), [['it alone'], ['once'], ['all']]);
});

each('a volatile event that ends in a string does not spoil the offset', async (t, way) => {
  const { socket, other, between, inbox, send, id } = await pair(t, { way });
  await send(1);
  await settled(socket);
  const volatile = collect(socket, 'hint');
  for (let tries = 0; volatile.length === 0; tries++) {
    assert.ok(tries < 100);
    await other.emitWithAck('broadcast', { to: ['room'], volatile: true }, 'hint', 'a string');
    await settled(socket);
  }
  assert.equal(volatile[0][0], 'a string');
  const lost = next(socket, 'disconnect');
  between.down();
  await lost;
  await send(2);
  between.up();
  await next(socket, 'connect');
  await isRecovered(socket, id);
  assert.deepEqual(contents(inbox), [[1], [2]]);
});

each('not after an intended disconnect', async (t, way) => {
  const { socket, other, id, send } = await pair(t, { way });
  await send(1);
  await settled(socket);
  socket.disconnect();
  await settled(other);
  socket.connect();
  await next(socket, 'connect');
  assert.ok(!socket.recovered);
  assert.notEqual(socket.id, id);
  assert.deepEqual((await socket.emitWithAck('whoami')).rooms, [socket.id]);
  const second = socket.id;
  const lost = next(socket, 'disconnect');
  socket.emit('disconnect-me', false);
  await lost;
  socket.connect();
  await next(socket, 'connect');
  assert.ok(!socket.recovered);
  assert.notEqual(socket.id, second);
});

test('not when it took too long', async (t) => {
  const { socket, between, inbox, send, id } = await pair(t, { flags: ['-recovery', '200ms'] });
  const lost = next(socket, 'disconnect');
  between.down();
  await lost;
  await send('missed');
  await pause(400);
  between.up();
  await next(socket, 'connect');
  assert.ok(!socket.recovered);
  assert.notEqual(socket.id, id);
  await settled(socket);
  assert.deepEqual(inbox, []);
});

test('not by another server', async (t) => {
  const { socket, between, id } = await pair(t);
  const lost = next(socket, 'disconnect');
  between.target = (await serve(t, '-recovery', '1m')).url;
  between.cut();
  await lost;
  await next(socket, 'connect');
  assert.ok(!socket.recovered);
  assert.notEqual(socket.id, id);
});

test('a private id serves one client at a time, and once', async (t) => {
  const { socket, url, other, send, id } = await pair(t, { way: ways.websocket, reconnection: false });
  await send(1);
  await settled(socket);
  const auth = { pid: socket._pid, offset: socket._lastOffset };
  const lost = next(socket, 'disconnect');
  const thief = client(t, url, { auth, reconnection: false });
  const inbox = collect(thief, 'news');
  await next(thief, 'connect');
  assert.equal(thief.id, id);
  assert.equal(await lost, 'transport close');
  await send(2);
  await settled(thief);
  assert.deepEqual(contents(inbox), [[2]]);
  thief.disconnect();
  await settled(other);
  const late = client(t, url, { auth });
  await next(late, 'connect');
  assert.notEqual(late.id, id);
  assert.equal((await late.emitWithAck('whoami')).recovered, false);
});

test('nonsense is not recovered and does no harm', async (t) => {
  const { url } = await serve(t, '-recovery', '1m');
  for (const auth of [{ pid: 'x' }, { pid: 1, offset: [] }, { pid: '', offset: '' }, { pid: 'x', offset: 'y'.repeat(10_000) }, { offset: '1' }]) {
    const socket = await connected(t, url, { auth });
    assert.equal((await socket.emitWithAck('whoami')).recovered, false);
  }
});

test('many cuts under traffic: nothing lost, nothing twice', async (t) => {
  const { socket, between, inbox, send } = await pair(t);
  const cuts = soak(20, 2000);
  const sending = (async () => { for (const i of count(cuts * 25)) await send(i); })();
  for (const i of count(cuts)) {
    if (i % 2) await upgraded(socket);
    const lost = next(socket, 'disconnect');
    between.down({ unnoticed: i % 3 === 0 });
    await lost;
    between.up();
    await next(socket, 'connect');
    assert.equal(socket.recovered, true);
  }
  await sending;
  await settled(socket);
  assert.deepEqual(contents(inbox).flat(), count(cuts * 25));
});
