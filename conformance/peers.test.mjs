// Clients reach their session through any server of a cluster: the proxy in front has no sticky sessions.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { isDeepStrictEqual } from 'node:util';
import { io } from 'socket.io-client';
import { balancer, servers } from './balancer.mjs';
import * as talk from './conversation.mjs';
import { clusters, front, replace } from './front.mjs';
import { atEnd, client, connected, count, next, soak, test, upgraded, ways } from './harness.mjs';

const { WebSocket } = createRequire(new URL('../js/', import.meta.url))('ws');
const versions = { 'Socket.IO 2': (await import('client-2.5.0')).default, 'Socket.IO 4': io };

/** Checks that requests were passed on, and that nobody was refused. */
async function check(all, { refusals }, least) {
  assert.deepEqual(refusals, []);
  assert.equal(await all.total('NotForwarded'), 0);
  const forwarded = await all.total('Forwarded');
  assert.ok(forwarded >= least, `${forwarded} requests were passed on`);
}

/** Sends data in both directions, more than fits into one request. Resolves with the faults. */
async function echoes(one) {
  const cases = [['é😀'.repeat(10_000)], [{ deep: [Buffer.alloc(70_000, 7)] }, 1], [], ...count(10).map((i) => [i, 'x'.repeat(60_000)])];
  const answers = await Promise.all(cases.map((args) => talk.ask(one, 'message-with-ack', ...args)));
  return cases.filter((args, i) => !isDeepStrictEqual(answers[i], args)).map((args) => `echo of ${args.length} arguments`);
}

for (const n of [2, 3]) {
  for (const [version, connect] of Object.entries(versions)) {
    for (const [way, options] of Object.entries(ways)) {
      test(`${n} servers, ${version}: messages in both directions (${way})`, async (t) => {
        const all = await servers(t, n, '-legacy');
        const proxy = await balancer(t, all);
        const sockets = await Promise.all(count(4).map(() => connected(t, proxy.url, { ...options, connect })));
        if (way === 'upgrade') await Promise.all(sockets.map((socket) => upgraded(socket)));
        const lost = [];
        for (const socket of sockets) socket.on('disconnect', (why) => lost.push(why));
        const faults = await Promise.all(sockets.map(async (socket) => {
          const one = { socket };
          return [...await talk.traffic(one, 50), ...await echoes(one)];
        }));
        assert.deepEqual([faults.flat(), lost], [[], []]);
        for (const socket of sockets) socket.off('disconnect');
        await check(all, proxy, way === 'websocket' ? 0 : 4);
      });
    }
  }

  for (const kinds of [['sse'], ['sse', 'websocket'], ['polling', 'websocket'], ['polling']]) {
    test(`${n} servers, parley.js: ${kinds.join(', then ')}`, async (t) => {
      const all = await servers(t, n);
      const proxy = await balancer(t, all);
      const one = talk.dial({ client: 'own', url: proxy.url, kinds, upgrade: kinds.length > 1 }, { io, WebSocket });
      atEnd(t, () => one.close());
      const lost = [];
      await talk.next(one, 'connect');
      one.socket.on('disconnect', (why) => lost.push(why));
      const faults = await talk.traffic(one, 100);
      await talk.arrived(one, kinds.at(-1));
      faults.push(...await talk.converse(one));
      assert.deepEqual([faults, lost], [[], []]);
      await check(all, proxy, 1);
    });
  }

  test(`${n} servers: broadcasts reach clients of all servers, over each transport`, async (t) => {
    const all = await servers(t, n);
    const proxy = await balancer(t, all);
    const sockets = [];
    for (const options of Object.values(ways)) for (const _ of count(n)) sockets.push(await connected(t, proxy.url, options));
    const rooms = await Promise.all(sockets.map((socket) => socket.emitWithAck('join', 'everybody')));
    assert.equal(rooms.length, sockets.length);
    for (const from of sockets) {
      const heard = Promise.all(sockets.map((socket) => next(socket, 'hello')));
      await from.emitWithAck('broadcast', { to: ['everybody'], self: true }, 'hello', from.id);
      assert.deepEqual(await heard, sockets.map(() => from.id));
    }
    await check(all, proxy, 1);
  });
}

test('many polls to wrong servers are all answered', async (t) => {
  const all = await servers(t, 3);
  const proxy = await balancer(t, all);
  const polls = soak(1000, 10_000);
  const sockets = await Promise.all(count(20).map(() => connected(t, proxy.url, ways.polling)));
  for (let sent = 0; sent < polls; sent += sockets.length) {
    const answers = await Promise.all(sockets.map((socket, i) => socket.emitWithAck('message-with-ack', sent + i)));
    assert.deepEqual(answers.flat(), sockets.map((_, i) => sent + i));
  }
  await check(all, proxy, polls);
});

test('a session that nobody has: the client connects again', async (t) => {
  const all = await servers(t, 2);
  const proxy = await balancer(t, all);
  const socket = client(t, proxy.url, { ...ways.polling, reconnection: true });
  await next(socket, 'connect');
  const before = socket.id;
  socket.io.engine.transport.query.sid = 'abcdefghijklmnopqrst.none'; // as if its server were gone
  const gone = next(socket, 'disconnect');
  socket.emit('message');
  assert.equal(await gone, 'transport error');
  await next(socket, 'connect');
  assert.notEqual(socket.id, before);
  assert.match(proxy.refusals[0], /^\{"code":1,"message":"Session ID unknown: no server of this cluster has it/);
});

for (const [name, proxy] of Object.entries(clusters)) {
  for (const routed of [true, false]) {
    test(`${name}: ${routed ? 'each request goes to the server of its session' : 'without its rules, servers pass requests on'}`, async (t) => {
      const edit = routed ? (text) => text : (text) => text.replaceAll(/^.*(urlp\(sid\)|~\\\.).*\n/gm, '');
      const all = await servers(t, 2, '-legacy');
      const { http, https, ca } = await front(t, proxy, all[0].url, (text) => edit(replace(text, proxy.second, new URL(all[1].url).host)));
      for (const url of [http, https]) {
        for (const connect of Object.values(versions)) {
          for (const [way, options] of Object.entries(ways)) {
            const sockets = await Promise.all(count(2).map(() => connected(t, url, { ...options, connect, ca })));
            if (way === 'upgrade') await Promise.all(sockets.map((socket) => upgraded(socket)));
            assert.deepEqual((await Promise.all(sockets.map((socket) => echoes({ socket })))).flat(), [], `${url}, ${way}`);
            for (const socket of sockets) socket.disconnect();
          }
        }
      }
      for (const kinds of [['sse'], ['sse', 'websocket']]) {
        const ones = count(2).map(() => talk.dial({ client: 'own', url: http, kinds, upgrade: kinds.length > 1 }, { io, WebSocket }));
        atEnd(t, () => { for (const one of ones) one.close(); });
        for (const one of ones) {
          await talk.arrived(one, kinds.at(-1));
          assert.deepEqual(await talk.converse(one), []);
        }
      }
      const forwarded = await all.total('Forwarded');
      assert.equal(forwarded > 0, !routed, `${forwarded} requests were passed on`);
      assert.equal(await all.total('NotForwarded'), 0);
    });
  }
}
