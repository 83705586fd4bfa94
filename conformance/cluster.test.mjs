// Two servers on Node.js and two of ours are one cluster, on the wires of @socket.io/redis-adapter. Everything
// that a server can do beyond itself, each does with the sockets of all.
import assert from 'node:assert/strict';
import { count, PATIENCE, redisCluster, soak, test } from './harness.mjs';
import { four, isOurs, names, until } from './four.mjs';

// The servers on Node.js: versions of the adapter, and clients of Redis.
const old = { adapter: 'redis-adapter-7' };
const middle = { adapter: 'redis-adapter-8.0' };
const io = { client: 'ioredis' };

const version = (node) => node?.adapter;

const specific = { options: { publishOnSpecificResponseChannel: true }, flags: ['-specific'] };
const interest = { flags: ['-interest', 'rooms'] };
const sharded = (mode, more) => ({ wire: 'sharded', options: { subscriptionMode: mode }, flags: ['-mode', mode], ...more });

const spread = { cluster: true }; // a Redis Cluster, which does not keep the order of events to different rooms

const clusters = {
  classic: { nodes: [{}, old] },
  'classic, specific channels': { ...specific, nodes: [middle, io] },
  'classic, interest in rooms': { ...interest, nodes: [{}, io] },
  'sharded, dynamic': sharded('dynamic', { nodes: [{}, io] }),
  'sharded, dynamic-private': sharded('dynamic-private'),
  'sharded, dynamic, Redis Cluster': sharded('dynamic', { nodes: [{}, io], ...spread }),
  ...soak({}, {
    'classic, 8.0 and ioredis': { nodes: [middle, { ...middle, ...io }] },
    'classic, 7.2 and ioredis': { ...specific, nodes: [old, { ...old, ...io }] },
    'classic, Redis Cluster': { nodes: [{}, io], ...spread },
    'sharded, dynamic, ioredis': sharded('dynamic', { nodes: [io, io] }),
    'sharded, dynamic-private, ioredis': sharded('dynamic-private', { nodes: [{}, io] }),
    'sharded, static': sharded('static', { nodes: [{}, io] }),
    'sharded, dynamic-private, Redis Cluster': sharded('dynamic-private', { nodes: [{}, io], ...spread }),
  }),
};

const same = (...events) => () => events;
const next = (j) => (j + 1) % 4;
const text = 'é€😀\u2028\0';
const structure = [1.5, -7, 2 ** 40, { a: null, b: [true, {}] }];
const sorted = (list) => [...list].sort();

/** What each server does, beginning with sockets in the rooms "everybody", "room i", "three" and "42". */
const actions = {
  async 'emit to all'({ all, c, i, heard, nodes }) {
    // MessagePack of the adapter 7 does not know how later versions write a Date.
    const date = (j, iso, raw) => (version(nodes[j]) === old.adapter && nodes[i] && version(nodes[i]) !== old.adapter ? [-1, `binary ${raw}`] : iso);
    await c.do('emit', { event: 'all' }, i, text, structure);
    await c.do('emit', { event: 'binary' }, Buffer.from([0, 255, 7]), 'and text', Buffer.alloc(0));
    await c.do('exotic', {});
    await c.do('emit', { event: 'nobody', to: ['nowhere'] });
    await heard((j) => [
      ['all', i, text, structure], ['binary', 'binary 00ff07', 'and text', 'binary '],
      ['exotic', date(j, '2001-09-09T01:46:40.000Z', '3b9aca00'), null, { b: [date(j, '1970-01-01T00:00:00.005Z', '01312d0000000000'), 'binary 07'] }, 'binary 0102', 2 ** 53 - 1, -0.5],
    ]);
    await c.do('emit', { event: 'volatile', volatile: true }); // whoever still has something to send drops it
    await heard(same(['volatile']));
    await c.do('emit', { event: 'local', local: true });
    await heard((j) => (j === i ? [['local']] : []));
  },

  async 'emit to rooms'({ all, c, heard }) {
    for (const j of count(4)) {
      await c.do('emit', { event: 'one', to: [`room ${j}`] });
      await c.do('emit', { event: 'binary', to: [`room ${j}`] }, Buffer.from([j]));
      await c.do('emit', { event: 'id', to: [all[j].id] });
      await c.do('emit', { event: 'two', to: [`room ${j}`, `room ${next(j)}`] });
      await c.do('emit', { event: 'except', to: ['everybody'], except: [`room ${j}`, all[next(j)].id] });
    }
    await c.do('emit', { event: 'digits', to: ['42'] });
    await c.do('emit', { event: 'all except', except: ['everybody'] });
    await heard((k) => [...count(4).flatMap((j) => [
      ...(k === j ? [['one'], ['binary', `binary 0${j}`], ['id']] : []), ...(k === j || k === next(j) ? [['two']] : [['except']]),
    ]), ['digits']]);
  },

  async acknowledgements({ all, c }) {
    const ask = async (to, event = 'question', ...args) => {
      const { replies, failed } = await c.do('ack', { event, timeout: PATIENCE, to }, ...args);
      assert.equal(failed, false);
      return sorted(replies);
    };
    const answers = names.map((name) => `q${name}`);
    assert.deepEqual(await ask(['everybody'], 'question', 'q'), sorted(answers));
    assert.deepEqual(await ask(['three'], 'question', 'q'), sorted(answers.slice(1)));
    assert.deepEqual(await ask(['nowhere'], 'question', 'q'), []);
    assert.deepEqual(await ask(['everybody'], 'mute question'), [null, null, null, null]);
    for (const j of count(4)) {
      assert.deepEqual(await ask([`room ${j}`], 'question', 'q'), [answers[j]]);
      assert.deepEqual(await ask([all[j].id], 'question', Buffer.from([9])), [`binary 09${names[j]}`]);
      const { replies } = await c.do('remote ack', { event: 'question', to: [all[j].id], timeout: PATIENCE }, 'q');
      assert.deepEqual(replies, [answers[j]]);
    }
    const { failed } = await c.do('ack', { event: 'silence', timeout: 100 });
    assert(failed, 'nobody has answered, and it did not fail');
  },

  async 'describe sockets'({ all, c, wire }) {
    const found = (await c.do('fetch', {})).sort((a, b) => names.indexOf(a.query) - names.indexOf(b.query));
    const want = await Promise.all(all.map(async ({ id, do: ask }, j) => ({ id, rooms: sorted(await ask('rooms', {})), data: { of: names[j] }, query: names[j] })));
    assert.deepEqual(found.map((s) => ({ ...s, rooms: sorted(s.rooms) })), want);
    assert.equal((await c.do('fetch', { to: ['everybody'], except: [all[1].id] })).length, 3);
    assert.deepEqual(await c.do('fetch', { to: ['nowhere'] }), []);
    const rooms = await c.do('all rooms', {});
    if (wire === 'classic' || isOurs(all.indexOf(c))) {
      const ids = isOurs(all.indexOf(c)) ? [] : all.map(({ id }) => id);
      assert.deepEqual(sorted(rooms), sorted([...ids, 'everybody', 'three', '42', ...count(4).map((j) => `room ${j}`)]));
    }
  },

  async 'join and leave'({ all, c, i, clients, heard }) {
    const rooms = () => clients.do('rooms', {});
    const [whole, single, remote] = [`all of ${i}`, `one of ${i}`, `remote of ${i}`];
    await c.do('join', { rooms: [whole, 'too'] });
    for (const j of count(4)) {
      await c.do('join', { to: [all[j].id], rooms: [`${single} ${j}`] });
      await c.do('remote join', { to: [all[j].id], rooms: [`${remote} ${j}`] });
    }
    await until('the joins', async () => (await rooms()).every((in_, j) => [whole, 'too', `${single} ${j}`, `${remote} ${j}`].every((room) => in_.includes(room))));
    for (const [j, in_] of (await rooms()).entries()) assert.equal(in_.filter((room) => /^(one|remote) of/.test(room)).length, 2, `${names[j]} is in ${in_}`);
    await c.do('leave', { rooms: [whole, 'too'] });
    for (const j of count(4)) {
      await c.do('leave', { to: [all[j].id], rooms: [`${single} ${j}`] });
      await c.do('remote leave', { to: [all[j].id], rooms: [`${remote} ${j}`] });
    }
    await until('the leaves', async () => (await rooms()).every((in_) => in_.every((room) => !/ of |^too$/.test(room))));
    if (!isOurs(i)) return; // a server on Node.js loses what it sends right after socketsJoin
    for (const round of count(5)) await c.do('join and emit', { rooms: [`gathered ${i} ${round}`], event: 'gathered' }, round);
    await heard(same(...count(5).map((round) => ['gathered', round])));
    await c.do('leave', { rooms: count(5).map((round) => `gathered ${i} ${round}`) });
  },

  async 'a single socket, as one of any server'({ all, c, heard }) {
    for (const j of count(4)) await c.do('remote emit', { event: 'remote', to: [all[j].id] }, j);
    await heard((j) => [['remote', j]]);
  },

  async 'events between servers'({ c, i, clients }) {
    const before = (await clients.do('heard', {})).map(({ length }) => length);
    await c.do('note', {}, i, 'text', { a: [1] });
    await until('the event', async () => (await clients.do('heard', {})).every(({ length }, j) => j === i || length > before[j]));
    for (const [j, notes] of (await clients.do('heard', {})).entries()) assert.deepEqual(notes.slice(before[j]), j === i ? [] : [[i, 'text', { a: [1] }]]);
    const { replies, failed } = await c.do('ask', { timeout: PATIENCE }, ['why', i]);
    assert.deepEqual({ replies: sorted(replies.map(({ name }) => name)), failed }, { replies: names.filter((_, j) => j !== i), failed: false });
    for (const { question } of replies) assert.deepEqual(question, ['why', i]);
  },

  async emitters({ all, c, i, clients, heard, wire }) {
    // That of Node.js does not know the sharded wire: nobody hears it, here as there.
    const arrives = wire === 'classic' || isOurs(i);
    const before = (await clients.do('heard', {})).map(({ length }) => length);
    await c.do('emit', { event: 'all', outside: true }, i, Buffer.from([5]), text);
    for (const j of count(4)) await c.do('emit', { event: 'one', to: [`room ${j}`], outside: true }, j);
    await c.do('emit', { event: 'except', except: ['room 0', 'room 2'], outside: true });
    await c.do('emit', { event: 'id', to: [all[1].id], outside: true });
    await c.do('join', { to: ['three'], rooms: [`taken ${i}`], outside: true });
    await c.do('note', { outside: true }, 'from an emitter');
    await heard((j) => (arrives ? [['all', i, 'binary 05', text], ['one', j], ...(j % 2 ? [['except']] : []), ...(j === 1 ? [['id']] : [])] : []));
    const taken = async () => (await clients.do('rooms', {})).map((rooms) => rooms.includes(`taken ${i}`));
    if (arrives) {
      await until('the joins', async () => (await taken()).every((in_, j) => in_ === (j > 0)));
      await until('the event for servers', async () => (await clients.do('heard', {})).every(({ length }, j) => length === before[j] + 1));
      await c.do('leave', { rooms: [`taken ${i}`], outside: true });
      await until('the leave', async () => (await taken()).every((in_) => !in_));
    } else {
      assert.deepEqual(await taken(), [false, false, false, false]);
    }
  },

  async disconnects({ c, i, visit, wire }) {
    for (const j of count(4)) {
      for (const [op, close, outside] of [['disconnect', false], ['disconnect', true], ['remote disconnect', true], ['disconnect', true, true]]) {
        if (outside && wire !== 'classic' && !isOurs(i)) continue;
        const visitor = await visit(j);
        const { engine } = visitor.socket.io;
        const gone = new Promise((resolve) => visitor.socket.once('disconnect', resolve));
        const closed = close && new Promise((resolve) => engine.once('close', resolve));
        await c.do(op, { to: [visitor.id], close, outside });
        assert.equal(await gone, 'io server disconnect');
        await closed;
        visitor.socket.disconnect();
      }
    }
  },
};

for (const [name, cluster] of Object.entries(clusters)) {
  test(`cluster (${name})`, async (t) => {
    const { clients, visit, of } = await four(t, { ...cluster, ...(cluster.cluster ? { addresses: await redisCluster(t) } : {}) });
    const { all } = clients;
    await clients.enter((i) => ['everybody', `room ${i}`, '42', ...(i > 0 ? ['three'] : [])]);
    await clients.reach(all.map(({ id }) => id));
    for (const [what, act] of Object.entries(actions)) {
      for (const [i, c] of all.entries()) {
        await t.test(`${what}, by ${names[i]}`, () => act({ clients, all, c, i, visit, wire: cluster.wire ?? 'classic', nodes: cluster.nodes ?? [], heard: (want) => clients.heard(want, what, { ordered: !cluster.cluster }) }));
      }
    }
    await t.test('a namespace that clients create', async () => {
      const others = await of('/dynamic-é*');
      for (const [i, c] of others.all.entries()) {
        await c.do('emit', { event: 'here' }, i);
        await others.heard(same(['here', i]), 'in the namespace');
      }
      await clients.heard(same(), 'in the main namespace');
    });
  });
}

for (const wire of ['classic', 'sharded']) {
  test(`cluster (${wire}): a server that dies ends what waits for it`, async (t) => {
    const { servers, clients: { all } } = await four(t, { wire });
    for (const gone of [1, 3]) {
      await servers[gone].stop('SIGKILL');
      const sockets = await all[2].order('fetch');
      assert(Array.isArray(sockets) || /without a name/.test(sockets.error), JSON.stringify(sockets));
      const rest = await until('a complete answer', async () => {
        const found = await all[2].order('fetch');
        return Array.isArray(found) && found;
      });
      assert.equal(rest.length, gone === 1 ? 3 : 2);
    }
  });
}
