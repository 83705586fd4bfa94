// Two servers on Node.js and two of ours are one cluster, on the wire of @socket.io/redis-adapter.
import assert from 'node:assert/strict';
import { createClient } from 'redis';
import { Emitter } from '@socket.io/redis-emitter';
import { atEnd, connected, count, member, nodeMember, PATIENCE, redis, test } from './harness.mjs';

const names = ['node 8', 'node 7', 'ours 1', 'ours 2'];
const ours = [2, 3];

/** Resolves when ok returns something true. */
async function until(what, ok) {
  for (const end = Date.now() + PATIENCE; ;) {
    const found = await ok();
    if (found) return found;
    assert(Date.now() < end, `waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Makes plain data of what a client has received. */
const plain = (v) => (Buffer.isBuffer(v) ? `binary ${v.toString('hex')}` : v);

/** Starts the four servers, with a client each that writes down what it hears. */
async function four(t, { specific = false, nsp = '/' } = {}) {
  const address = await redis(t);
  const options = JSON.stringify({ publishOnSpecificResponseChannel: specific });
  const servers = await Promise.all([
    nodeMember(t, address, names[0], '@socket.io/redis-adapter', options),
    nodeMember(t, address, names[1], 'redis-adapter-7', options),
    ...ours.map((i) => member(t, '-redis', address, '-name', names[i], ...(specific ? ['-specific'] : []))),
  ]);
  const clients = await Promise.all(servers.map(async ({ url }, i) => {
    const socket = await connected(t, url + nsp, { transports: ['websocket'], query: { who: names[i] } });
    const heard = [];
    socket.onAny((event, ...args) => {
      if (event === 'question') args.pop()(plain(args[0]) + names[i]);
      else if (event !== 'marker' && event !== 'silence') heard.push([event, ...args.map(plain)]);
    });
    const markers = new Set();
    socket.on('marker', (marker) => markers.add(marker));
    const order = (op, more, ...args) => socket.timeout(PATIENCE).emitWithAck('do', { op, ...more }, ...args);
    return { socket, heard, markers, order, id: socket.id, /** Resolves with an order's result. */ do: async (...args) => {
      const answer = await order(...args);
      assert(!answer?.error, answer?.error);
      return answer;
    } };
  }));
  let made = 0;
  /** Waits until each has received what the others have sent. */
  const flush = async () => {
    for (const from of clients) {
      const marker = ++made;
      await until('a marker', async () => {
        await from.do('emit', { event: 'marker' }, marker);
        await new Promise((resolve) => setTimeout(resolve, 20));
        return clients.every((c) => !c.socket.connected || c.markers.has(marker));
      });
    }
  };
  await flush();
  return { address, servers, clients, flush };
}

/** Compares what the clients have heard, and forgets it. */
function heard(clients, want, what) {
  assert.deepEqual(clients.map((c) => c.heard.splice(0)), want, what);
}

const all = (...events) => count(4).map(() => events);

test('cluster: broadcasts reach the sockets of all servers', async (t) => {
  const { clients, flush } = await four(t);
  for (const [i, c] of clients.entries()) await c.do('enter', { rooms: ['everybody', `room ${i}`, '42'] });
  for (const [i, c] of clients.entries()) {
    const what = `sent by ${names[i]}`;
    await c.do('emit', { event: 'all' }, i, 'é€😀\u2028\0', [1.5, -7, 2 ** 40, { a: null, b: [true, {}] }]);
    await flush();
    heard(clients, all(['all', i, 'é€😀\u2028\0', [1.5, -7, 2 ** 40, { a: null, b: [true, {}] }]]), what);
    await c.do('emit', { event: 'binary' }, Buffer.from([0, 255, 7]), 'and text', Buffer.alloc(0));
    await c.do('emit', { event: 'room', to: ['everybody'] });
    await c.do('emit', { event: 'digits', to: ['42'] });
    await c.do('emit', { event: 'nobody', to: ['nowhere'] });
    await flush();
    heard(clients, all(['binary', 'binary 00ff07', 'and text', 'binary '], ['room'], ['digits']), what);
    for (const j of count(4)) {
      await c.do('emit', { event: 'one', to: [`room ${j}`] });
      await c.do('emit', { event: 'id', to: [clients[j].id] });
      await c.do('emit', { event: 'two', to: [`room ${j}`, `room ${(j + 1) % 4}`] });
      await c.do('emit', { event: 'except', to: ['everybody'], except: [`room ${j}`, clients[(j + 1) % 4].id] });
      await c.do('emit', { event: 'all except', except: ['everybody'] });
      await flush();
      const want = count(4).map((k) => [
        ...(k === j ? [['one'], ['id']] : []), ...(k === j || k === (j + 1) % 4 ? [['two']] : [['except']]),
      ]);
      heard(clients, want, `${what}, about ${names[j]}`);
    }
    await c.do('emit', { event: 'volatile', volatile: true });
    await c.do('emit', { event: 'local', local: true });
    await flush();
    heard(clients, count(4).map((k) => [['volatile'], ...(k === i ? [['local']] : [])]), what);
  }
});

for (const specific of [false, true]) {
  test(`cluster: acknowledgements come from all servers (specific channels: ${specific})`, async (t) => {
    const { clients } = await four(t, { specific });
    for (const [i, c] of clients.entries()) await c.do('enter', { rooms: [`room ${i}`, 'everybody'] });
    const answers = names.map((name) => `q${name}`).sort();
    for (const [i, c] of clients.entries()) {
      const what = `asked by ${names[i]}`;
      const ask = async (more, ...args) => {
        const { replies, failed } = await c.do('ack', { event: 'question', timeout: PATIENCE, ...more }, ...args);
        return { replies: replies.sort(), failed };
      };
      assert.deepEqual(await ask({}, 'q'), { replies: answers, failed: false }, what);
      assert.deepEqual(await ask({ to: ['everybody'] }, 'q'), { replies: answers, failed: false }, what);
      for (const j of count(4)) assert.deepEqual(await ask({ to: [`room ${j}`] }, 'q'), { replies: [`q${names[j]}`], failed: false }, what);
      assert.deepEqual(await ask({ to: ['room 0', 'room 3'] }, Buffer.from([9])), { replies: ['binary 09node 8', 'binary 09ours 2'], failed: false }, what);
      assert.deepEqual(await ask({ to: ['nowhere'] }, 'q'), { replies: [], failed: false }, what);
      const { failed } = await c.do('ack', { event: 'silence', timeout: 200 });
      assert(failed, 'nobody has answered, and it did not fail');
    }
  });

  test(`cluster: sockets of all servers are described and changed (specific channels: ${specific})`, async (t) => {
    const { clients, flush } = await four(t, { specific });
    for (const [i, c] of clients.entries()) {
      const what = `asked by ${names[i]}`;
      const sockets = (await c.do('fetch')).sort((a, b) => names.indexOf(a.query) - names.indexOf(b.query));
      assert.deepEqual(sockets, clients.map(({ id }, j) => ({ id, rooms: [id], data: { of: names[j] }, query: names[j] })), what);

      await c.do('join', { rooms: ['joined', 'too'] });
      await flush();
      for (const other of clients) assert.deepEqual((await other.do('rooms')).sort(), ['joined', 'too', other.id].sort(), what);
      assert.equal((await c.do('fetch', { to: ['joined'], except: [clients[1].id] })).length, 3, what);
      await c.do('leave', { to: [clients[(i + 1) % 4].id], rooms: ['joined'] });
      await c.do('leave', { rooms: ['too'] });
      await flush();
      assert.deepEqual((await clients[(i + 1) % 4].do('rooms')), [clients[(i + 1) % 4].id], what);
      await c.do('leave', { rooms: ['joined'] });
      await flush();
    }
    // What is sent to a room after socketsJoin arrives, if one of ours sends it.
    for (const i of ours) {
      for (const round of count(10)) await clients[i].do('join and emit', { rooms: [`gathered ${i} ${round}`], event: 'gathered' }, round);
      await flush();
      heard(clients, all(...count(10).map((round) => ['gathered', round])), names[i]);
    }
    for (const [asker, target, close] of [[0, 3, true], [2, 1, false]]) {
      const { socket, id } = clients[target];
      const { engine } = socket.io;
      const gone = new Promise((resolve) => socket.once('disconnect', resolve));
      const closed = close && new Promise((resolve) => engine.once('close', resolve));
      await clients[asker].do('disconnect', { to: [id], close });
      assert.equal(await gone, 'io server disconnect');
      await closed;
    }
  });
}

test('cluster: events between servers', async (t) => {
  const { clients, flush } = await four(t);
  for (const [i, c] of clients.entries()) {
    await c.do('note', {}, i, 'text', { a: [1] });
    await flush();
    const { replies, failed } = await c.do('ask', { timeout: PATIENCE }, ['why', i]);
    assert.deepEqual({ replies: replies.map(({ name }) => name).sort(), failed }, { replies: names.filter((name) => name !== names[i]).sort(), failed: false });
    for (const { question } of replies) assert.deepEqual(question, ['why', i]);
  }
  for (const [i, c] of clients.entries()) {
    const want = count(4).filter((j) => j !== i).map((j) => [j, 'text', { a: [1] }]);
    await until(`the events at ${names[i]}`, async () => (await c.do('heard')).length === want.length);
    assert.deepEqual(await c.do('heard'), want);
  }
});

test('cluster: all rooms, as servers on Node.js ask for them', async (t) => {
  const { clients } = await four(t);
  for (const [i, c] of clients.entries()) await c.do('enter', { rooms: [`room ${i}`] });
  const want = [...clients.map(({ id }) => id), ...count(4).map((i) => `room ${i}`)].sort();
  assert.deepEqual((await clients[0].do('all rooms')).sort(), want);
});

test('cluster: namespaces that clients create', async (t) => {
  const { clients, flush } = await four(t, { nsp: '/dynamic-é*' });
  for (const [i, c] of clients.entries()) {
    await c.do('emit', { event: 'here' }, i);
    await flush();
  }
  heard(clients, all(...count(4).map((i) => ['here', i])));
});

test('cluster: what emitters send', async (t) => {
  const { address, clients, flush } = await four(t);
  const publisher = await createClient({ url: `redis://${address}` }).connect();
  atEnd(t, () => publisher.destroy());
  const emitter = new Emitter(publisher);
  for (const [i, c] of clients.entries()) await c.do('enter', { rooms: [`room ${i}`] });
  emitter.emit('all', 1, Buffer.from([5]));
  for (const i of count(4)) emitter.to(`room ${i}`).emit('one', i);
  emitter.except(['room 0', 'room 2']).emit('except');
  emitter.serverSideEmit('note', 'from an emitter');
  emitter.socketsJoin('gathered');
  const heardAt = (i) => [['all', 1, 'binary 05'], ['one', i], ...(i % 2 ? [['except']] : [])];
  await until('the events', () => clients.every((c, i) => c.heard.length >= heardAt(i).length));
  await flush();
  heard(clients, count(4).map(heardAt));
  await until('the rooms', async () => (await Promise.all(clients.map((c) => c.do('rooms')))).every((rooms) => rooms.includes('gathered')));
  for (const c of clients) await until('the note', async () => JSON.stringify(await c.do('heard')) === '[["from an emitter"]]');
  emitter.in('room 3').socketsLeave('gathered');
  await until('the leave', async () => !(await clients[3].do('rooms')).includes('gathered'));
  emitter.in('room 2').disconnectSockets();
  await until('the end', () => !clients[2].socket.connected);
});

test('cluster: a server that dies ends what waits for it', async (t) => {
  const { servers, clients } = await four(t);
  for (const gone of [1, 3]) {
    await servers[gone].stop('SIGKILL');
    const sockets = await clients[2].order('fetch');
    assert(Array.isArray(sockets) || /without a name/.test(sockets.error), JSON.stringify(sockets));
    const rest = await until('a complete answer', async () => {
      const found = await clients[2].order('fetch');
      return Array.isArray(found) && found;
    });
    assert.equal(rest.length, gone === 1 ? 3 : 2);
  }
});
