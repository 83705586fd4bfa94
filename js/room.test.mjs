import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ParleyError } from './parley.js';
import { Room } from './room.js';
import { FakeClient } from './testdata/client.mjs';

const ada = { id: 's1', userId: 'ada' }, bob = { id: 's2', userId: 'bob' };
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => ({ roomId: 'r', seq: from + i }));
const page = (from, to, more) => ({ roomId: 'r', epoch: 'e1', messages: range(from, to), hasMore: to < more?.lastSeq, lastSeq: to, member: ada, members: [ada], count: 1, ...more });

async function enter(options) {
  const client = new FakeClient();
  const got = [], states = [];
  const names = (messages) => messages.map(({ seq, rev }) => (rev ? `${seq}@${rev}` : `${seq}`));
  const room = new Room(client, {
    roomId: 'r', userId: 'ada', name: 'Ada', limit: 50, ...options,
    onmessages: (messages, { reset, live, hasMore }) => got.push(`${names(messages)}${reset ? ' reset' : ''}${live ? ' live' : ''}${hasMore ? ' more' : ''}`),
    onchanges: (messages, { live }) => got.push(`changed ${names(messages)}${live ? ' live' : ''}`),
    onstate: (state) => states.push(state),
  });
  await null;
  client.connect();
  return { client, room, got, states, next: () => client.asked.shift(), take: () => got.splice(0) };
}

test('the page comes first, even if events follow it at once; then live messages', async () => {
  const { client, room, states, next, take } = await enter();
  const join = next();
  assert.deepEqual([join.event, join.payload], ['joinRoom', { roomId: 'r', userId: 'ada', name: 'Ada', limit: 50 }]);
  client.say(7); // comes before the answer: the page will contain it
  client.say(1, 'another room');
  join.answer(page(5, 8, { hasMore: true }));
  client.say(9);
  client.say(9);
  client.fire('presence', { roomId: 'r', type: 'join', member: bob, count: 2 });
  assert.deepEqual(take(), ['5,6,7,8 reset more', '9 live']);
  assert.deepEqual([room.lastSeq, room.epoch, room.member, [...room.members.values()], room.count, states], [9, 'e1', ada, [ada, bob], 2, ['joining', 'joined']]);
  client.fire('presence', { roomId: 'r', type: 'leave', member: ada, count: 1 });
  client.fire('presence', { roomId: 'r', type: 'count', count: 7 });
  assert.deepEqual([[...room.members.values()], room.count], [[bob], 7]);
  client.fire('presence', { roomId: 'r', type: 'join', member: ada }); // as the user of a conversation gets it
  assert.deepEqual([[...room.members.values()], room.count], [[bob, ada], 2]);
});

test('after a disconnect it continues where it was; live messages wait for missing ones', async () => {
  const { client, room, states, next, take } = await enter();
  next().answer(page(1, 3));
  client.disconnect();
  assert.deepEqual([room.members.size, room.count], [0, 0]);
  client.connect();
  const join = next();
  assert.deepEqual([join.payload.after, join.payload.epoch], [3, 'e1']);
  join.answer(page(4, 5, { hasMore: true, lastSeq: 9 }));
  client.say(10);
  const more = next();
  assert.deepEqual([more.event, more.payload], ['history', { roomId: 'r', after: 5, limit: 50 }]);
  more.answer(page(6, 8, { lastSeq: 10 }));
  client.say(11);
  next().answer(page(9, 11));
  client.say(12);
  assert.deepEqual(take(), ['1,2,3 reset', '4,5', '6,7,8', '9,10,11', '12 live']);
  assert.deepEqual(states, ['joining', 'joined', 'waiting', 'joining', 'joined']);
});

test('of live messages, at most 500 wait for missing ones; it requests the others when it has those', async () => {
  const { client, room, next, take } = await enter();
  next().answer(page(1, 3));
  client.disconnect();
  client.connect();
  next().answer(page(4, 5, { hasMore: true, lastSeq: 9 }));
  for (let seq = 10; seq <= 510; seq++) client.say(seq); // too many
  client.say(511);
  next().answer(page(6, 9, { lastSeq: 511 }));
  const more = next();
  assert.deepEqual([more.event, more.payload, room.state], ['history', { roomId: 'r', after: 9, limit: 50 }, 'joining']);
  more.answer(page(10, 509, { lastSeq: 511 }));
  next().answer(page(510, 510, { lastSeq: 511 }));
  client.say(512);
  assert.equal(room.state, 'joined');
  assert.deepEqual(take().filter((_, i) => i !== 3), ['1,2,3 reset', '4,5', '6,7,8,9', '510', '511 live', '512 live']);
  assert.equal(client.asked.length, 0);
});

test('a disconnect while messages are missing', async () => {
  const { client, next, take } = await enter();
  next().answer(page(1, 3));
  client.disconnect();
  client.connect();
  next().answer(page(4, 5, { lastSeq: 9 }));
  const late = next();
  client.say(10);
  client.disconnect();
  late.answer(page(6, 9)); // ignored
  client.connect();
  const join = next();
  assert.equal(join.payload.after, 5);
  join.answer(page(6, 10));
  assert.deepEqual(take(), ['1,2,3 reset', '4,5', '6,7,8,9,10']);
});

test('another history', async () => {
  const { client, room, next, take } = await enter();
  next().answer(page(1, 3));
  for (const other of [{ reset: true }, { epoch: 'e2' }]) {
    client.disconnect();
    client.connect();
    next().answer(page(1, 2, other));
    client.say(3);
  }
  next();
  assert.deepEqual(take(), ['1,2,3 reset', '1,2 reset', '3 live', '1,2 reset', '3 live']);
  client.disconnect();
  client.connect();
  next().answer(page(1, 0, { epoch: 'e3', lastSeq: 0 }));
  assert.deepEqual([take(), room.lastSeq], [[' reset'], 0]);
});

test('joining again under another identity loses and repeats nothing', async () => {
  const { client, room, next, take } = await enter();
  next().answer(page(1, 3));
  room.join({ name: 'Lovelace' });
  const join = next();
  assert.deepEqual([join.payload.name, join.payload.userId, join.payload.after], ['Lovelace', 'ada', 3]);
  client.say(4);
  join.answer(page(4, 5));
  client.say(6);
  assert.deepEqual(take(), ['1,2,3 reset', '4 live', '5', '6 live']);
});

test('changes come in the order of numbers, each once, and apart from new messages', async () => {
  const { client, room, next, take } = await enter();
  const changed = (seq, rev) => ({ roomId: 'r', seq, rev });
  next().answer(page(2, 3, { messages: [changed(2, 5), ...range(3, 3)], lastSeq: 6, hasMore: true })); // 1 was changed by 6
  client.change(3, 7);
  client.change(3, 7);
  client.change(2, 5); // is in the page
  client.change(3, 8, 'another room');
  client.say(8);
  assert.deepEqual([take(), room.lastSeq], [['2@5,3 reset more', 'changed 3@7 live', '8 live'], 8]);

  client.disconnect();
  client.connect();
  const join = next();
  assert.equal(join.payload.after, 8);
  // 9 was changed by 13, 10 by 12, 11 was superseded.
  join.answer(page(0, 0, { messages: [changed(10, 12), changed(9, 13)], lastSeq: 16, hasMore: true }));
  client.change(10, 17);
  const more = next();
  assert.deepEqual([more.event, more.payload.after, room.lastSeq], ['history', 13, 13]);
  more.answer(page(0, 0, { messages: [...range(14, 14), changed(3, 15), changed(10, 17), changed(9, 18)], lastSeq: 18, hasMore: false }));
  client.change(10, 19);
  assert.deepEqual(take(), ['9@13,10@12', '14', 'changed 3@15,10@17,9@18', 'changed 10@19 live']);
  assert.deepEqual([room.lastSeq, room.state], [19, 'joined']);

  // A client that was slow lacks numbers that were superseded: 20 is a message that was changed by 22.
  client.say(21);
  client.change(20, 22);
  client.change(20, 23);
  assert.deepEqual(take(), ['21 live', '20@22 live', 'changed 20@23 live']);

  // Only superseded changes are missing.
  client.disconnect();
  client.connect();
  next().answer(page(0, 0, { messages: [changed(1, 40)], lastSeq: 40, hasMore: false }));
  client.say(41);
  assert.deepEqual([take(), room.lastSeq, client.asked], [['changed 1@40', '41 live'], 41, []]);
});

test('a refusal is reported, and joining can be retried', async () => {
  const { client, room, states, next, take } = await enter();
  next().refuse(new ParleyError('unavailable', 'later'));
  assert.deepEqual([room.state, room.error.code, room.error.message], ['refused', 'unavailable', 'later']);
  client.say(1);
  room.join();
  next().answer(page(1, 1));
  assert.deepEqual([take(), states, room.error], [['1 reset'], ['joining', 'refused', 'joining', 'joined'], null]);
});

test('leaving', async () => {
  const { client, room, states, next, take } = await enter();
  const join = next();
  room.leave();
  room.leave();
  join.answer(page(1, 1));
  client.say(2);
  client.disconnect();
  client.connect();
  room.join();
  assert.deepEqual([take(), states, client.asked, client.emitted], [[], ['joining'], [], [['leaveRoom', { roomId: 'r' }]]]);
});

test('a handler that throws stops nothing', async (t) => {
  const faults = [];
  const caught = (error) => faults.push(error.message);
  t.mock.method(globalThis, 'queueMicrotask', (run) => { try { run(); } catch (error) { caught(error); } });
  const { room, next } = await enter({ onmembers() { throw new Error('a fault'); } });
  next().answer(page(1, 3));
  assert.deepEqual([room.state, room.lastSeq, faults], ['joined', 3, ['a fault']]);
});

test('a conversation: what is known of it, what was read, and its notes', async () => {
  const told = [];
  const { client, room, next } = await enter({
    notes: true, onconversation: () => told.push(room.conversation), ongone: () => told.push('gone'),
    onnotes: (notes, { reset }) => told.push(`notes ${notes.map(({ seq }) => seq)}${reset ? ' reset' : ''}`),
  });
  const join = next();
  assert.equal(join.payload.notes, true);
  client.fire('newNote', { roomId: 'r', seq: 1 }); // the answer will have it
  const row = { roomId: 'r', status: 'open', userId: 'ada', subject: 'Shoes', waitingSince: 'now', change: 5 };
  join.answer(page(1, 2, { room: row, read: { operators: 1, user: 2 }, operatorNames: { anna: 'Anna' }, notes: { messages: [{ seq: 1 }], operatorNames: { ben: 'Ben' } } }));
  assert.deepEqual(Object.fromEntries(room.operatorNames), { anna: 'Anna', ben: 'Ben' });
  assert.deepEqual(told.splice(0), [row, 'notes 1 reset']);
  client.fire('newNote', { roomId: 'r', seq: 2 });
  client.fire('noteChanged', { roomId: 'r', seq: 1, rev: 3 });
  client.fire('newNote', { roomId: 'another', seq: 9 });
  assert.deepEqual(told.splice(0), ['notes 2', 'notes 1']);

  const later = { roomId: 'r', status: 'open', userId: 'ada', operatorId: 'anna', operator: { name: 'Anna', online: true }, change: 7 };
  client.fire('roomChanged', { room: later, position: 7 }); // no subject and nobody waits any more
  client.fire('roomChanged', { room: { ...row, change: 6 } });
  client.fire('roomChanged', { room: { ...later, roomId: 'another' } });
  assert.deepEqual(told.splice(0), [later]);
  client.fire('roomChanged', { room: { roomId: 'r', status: 'closed' } }); // as a user gets it: nobody has it
  assert.deepEqual(told.splice(0), [{ roomId: 'r', status: 'closed', userId: 'ada', change: 7 }]);

  client.fire('read', { roomId: 'r', seq: 2, by: 'operators', operatorId: 'anna' });
  client.fire('read', { roomId: 'r', seq: 1, by: 'user' });
  client.fire('read', { roomId: 'another', seq: 9, by: 'user' });
  assert.deepEqual(room.read, { operators: 2, user: 2 });
  told.length = 0;
  client.fire('roomGone', { roomId: 'another' });
  client.fire('roomGone', { roomId: 'r' });
  assert.deepEqual(told, ['gone']);
});
