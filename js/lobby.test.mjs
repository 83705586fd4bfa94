import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lobby } from './lobby.js';
import { ParleyError } from './parley.js';
import { FakeClient } from './testdata/client.mjs';

/** A row whose newest message is the user's and has the number seq. */
const row = (roomId, change, seq, more) => ({
  roomId, change, status: 'open', userId: `user of ${roomId}`, user: { verified: false, online: false }, labels: [], lastSeq: seq,
  lastMessage: { seq, by: 'user', excerpt: `${seq}`, timestamp: '' }, lastAt: `2026-01-01T00:00:${String(change).padStart(2, '0')}.000Z`, createdAt: `2026-01-01T00:00:00.000Z`,
  operatorsReadSeq: 0, userReadSeq: 0, ...more,
});
const own = (unread, readSeq = 0) => ({ unread, readSeq });
const watched = (position, rooms, more) => ({ rooms, position, epoch: 'e1', operators: [], counts: { open: rooms.length, waiting: 0, unassigned: 0, mine: 0 }, ...more });

async function enter(options) {
  const client = new FakeClient();
  const states = [];
  let changes = 0;
  const lobby = new Lobby(client, { operatorId: 'anna', onchange: () => { changes++; }, onstate: (state) => states.push(state), ...options });
  await null;
  client.connect();
  const shown = () => lobby.rooms().map(({ roomId, unread }) => `${roomId}:${unread}`).join(' ');
  return { client, lobby, states, next: () => client.asked.shift(), shown, changes: async () => { await null; await null; const n = changes; changes = 0; return n; } };
}

test('the list begins with a page and follows changes; newer rows stay', async () => {
  const { client, lobby, states, next, shown, changes } = await enter({ limit: 20 });
  client.fire('roomChanged', { room: row('a', 9, 9), position: 9 }); // before the answer, which will have it
  const watch = next();
  assert.deepEqual([watch.event, watch.payload], ['watchRooms', { filter: {}, sort: 'activity', limit: 20 }]);
  watch.answer(watched(3, [row('b', 3, 1, own(1)), row('a', 2, 1, own(0, 1))]));
  assert.equal(shown(), 'b:1 a:0');
  client.fire('roomChanged', { room: row('a', 4, 3), position: 4 });
  client.fire('roomChanged', { room: row('c', 5, 1), position: 6 });
  assert.equal(shown(), 'c:1 a:2 b:1');
  client.fire('roomChanged', { room: row('a', 3, 2) }); // of the room itself, late
  client.fire('roomChanged', { room: row('a', 4, 3) });
  client.fire('roomChanged', { room: { roomId: 'a', status: 'closed' } }); // not for operators
  assert.equal(shown(), 'c:1 a:2 b:1');
  client.fire('roomGone', { roomId: 'b' });
  assert.equal(shown(), 'c:1 a:2');
  assert.deepEqual([lobby.position, lobby.epoch, lobby.counts.open, states, await changes()], [6, 'e1', 2, ['joining', 'joined'], 1]);
});

test('after a break it goes on from its position; reset drops what it had', async () => {
  const { client, lobby, next, shown } = await enter();
  next().answer(watched(3, [row('b', 3, 1, own(1)), row('a', 2, 1, own(1))], { operators: [{ operatorId: 'bob', name: 'Bob', status: 'online', open: 0 }] }));
  client.fire('roomChanged', { room: row('a', 5, 2), position: 7 });
  client.disconnect();
  assert.deepEqual([lobby.state, lobby.operators.size, shown()], ['waiting', 0, 'a:2 b:1']);
  client.connect();
  const again = next();
  assert.deepEqual([again.payload.after, again.payload.epoch], [7, 'e1']);
  client.disconnect();
  client.connect();
  again.answer(watched(99, [])); // of an earlier attempt
  next().answer(watched(8, [row('b', 8, 4, own(3, 1))]));
  assert.deepEqual([shown(), lobby.position], ['b:3 a:2', 8]);
  client.fire('error', { event: 'joinRoom', code: 'gone' });
  assert.equal(client.asked.length, 0);
  client.fire('error', { event: 'watchRooms', code: 'gone' });
  next().answer(watched(12, [row('c', 11, 1, own(1))], { reset: true, epoch: 'e2' }));
  assert.deepEqual([shown(), lobby.position, lobby.epoch], ['c:1', 12, 'e2']);
});

test('pages: what follows the last loaded row is not shown until it is loaded', async () => {
  const { client, lobby, next, shown } = await enter();
  next().answer(watched(9, [row('e', 9, 1, own(1)), row('d', 8, 1, own(1))], { next: 'two' }));
  client.fire('roomChanged', { room: row('a', 10, 2), position: 10 }); // comes to the top
  client.fire('roomChanged', { room: row('z', 11, 2, { lastAt: '2026-01-01T00:00:01.000Z' }), position: 11 }); // a label, far below
  assert.deepEqual([shown(), lobby.hasMore], ['a:1 e:1 d:1', true]);
  const first = lobby.more(), second = lobby.more();
  const { event, payload, answer } = next();
  assert.deepEqual([event, payload], ['listRooms', { filter: {}, sort: 'activity', cursor: 'two' }]);
  answer({ rooms: [row('c', 7, 1, own(1)), row('a', 1, 1, own(1))] }); // a is as it was
  next().answer({ rooms: [], next: 'never' });
  await Promise.all([first, second]);
  assert.deepEqual([shown(), lobby.hasMore], ['a:1 e:1 d:1 c:1 z:1', false]);
  await lobby.more();
  assert.equal(client.asked.length, 0);
});

test('another list begins with what is known', async () => {
  const { client, lobby, next, shown } = await enter();
  const waits = (at) => ({ waitingSince: `2026-01-01T00:00:${at}.000Z` });
  next().answer(watched(5, [
    row('a', 5, 1, { ...own(1), ...waits('20'), labels: ['vip'] }), row('b', 4, 1, { ...own(0), operatorId: 'anna' }),
    row('c', 3, 1, { ...own(2), ...waits('10'), operatorId: 'bob' }), row('d', 2, 1, { ...own(0), status: 'closed' }),
  ]));
  for (const [filter, want] of [
    [{}, 'a b c'], [{ status: 'all' }, 'a b c d'], [{ status: 'closed' }, 'd'], [{ assignee: 'me' }, 'b'], [{ assignee: 'others' }, 'c'], [{ assignee: 'none' }, 'a'],
    [{ assignee: { operatorId: 'bob' } }, 'c'], [{ waiting: true }, 'a c'], [{ unread: true }, 'a c'], [{ label: 'vip' }, 'a'], [{ userId: 'user of c' }, 'c'],
  ]) {
    const shows = lobby.show({ filter });
    assert.equal(lobby.rooms().map(({ roomId }) => roomId).join(' '), want, JSON.stringify(filter));
    const { payload, answer } = next();
    assert.deepEqual(payload.filter, filter);
    answer({ rooms: [], counts: { open: 7, waiting: 0, unassigned: 0, mine: 0 } });
    await shows;
  }
  const late = lobby.show({ sort: 'waiting', filter: {} });
  const shows = lobby.show({ sort: 'waiting', filter: { waiting: true } });
  const [old, current] = [next(), next()];
  old.answer({ rooms: [row('x', 9, 1, own(1))], next: 'old' });
  current.answer({ rooms: [row('e', 6, 1, { ...own(1), ...waits('15') })] });
  await Promise.all([late, shows]);
  assert.deepEqual([shown(), lobby.counts.open, lobby.hasMore], ['c:2 e:1 a:1', 7, false]);
  const refused = lobby.show({});
  next().refuse(new ParleyError('unavailable', ''));
  await assert.rejects(refused, { code: 'unavailable' });
});

test('people: operators, visitors, and who has read', async () => {
  const { client, lobby, next, shown } = await enter();
  next().answer(watched(5, [row('a', 5, 4, { ...own(3, 1), operatorId: 'bob', operator: { name: 'Bob', online: false } })]));
  client.fire('operatorChanged', { operatorId: 'bob', name: 'Bobby', status: 'online', open: 1 });
  client.fire('visitorChanged', { userId: 'user of a', online: true, page: { url: '/x' } });
  client.fire('visitorChanged', { userId: 'somebody', online: true });
  const { operator, user, page } = lobby.room('a');
  assert.deepEqual([operator, user.online, page.url, lobby.operators.get('bob').open], [{ name: 'Bobby', online: true }, true, '/x', 1]);
  client.fire('operatorChanged', { operatorId: 'bob', name: 'Bobby', status: 'offline', open: 1 });
  assert.deepEqual([lobby.operators.size, lobby.room('a').operator.online], [0, false]);
  client.fire('read', { roomId: 'a', seq: 4, by: 'operators', operatorId: 'bob' });
  client.fire('read', { roomId: 'a', seq: 2, by: 'user' });
  assert.deepEqual([shown(), lobby.room('a').operatorsReadSeq, lobby.room('a').userReadSeq], ['a:3', 4, 2]);
  client.fire('read', { roomId: 'a', seq: 4, by: 'operators', operatorId: 'anna' });
  assert.deepEqual([shown(), lobby.room('a').readSeq], ['a:0', 4]);
  client.fire('read', { roomId: 'a', seq: 1, by: 'operators', operatorId: 'anna' }); // marked as unread
  assert.equal(shown(), 'a:1');
});

test('a refusal is told, and watch tries again; after leave nothing is', async () => {
  const { client, lobby, states, next, changes } = await enter();
  next().refuse(new ParleyError('forbidden', 'only operators'));
  assert.deepEqual([lobby.state, lobby.error.code], ['refused', 'forbidden']);
  lobby.watch();
  next().answer(watched(1, []));
  assert.deepEqual([lobby.error, states], [null, ['joining', 'refused', 'joining', 'joined']]);
  await changes();
  lobby.leave();
  client.fire('roomChanged', { room: row('a', 5, 1), position: 5 });
  client.disconnect();
  client.connect();
  assert.deepEqual([client.emitted, client.asked.length, states.length, await changes()], [[['unwatchRooms', {}]], 0, 4, 0]);
});
