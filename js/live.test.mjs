import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LiveRoom, NOTHING } from './live.js';
import { ParleyError } from './parley.js';
import { FakeClient } from './testdata/client.mjs';

const ada = { id: 's1', userId: 'ada' };
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => ({ roomId: 'r', seq: from + i }));
const page = (from, to, more) => ({ roomId: 'r', epoch: 'e1', messages: range(from, to), hasMore: from > 1, lastSeq: to, member: ada, members: [ada], count: 1, ...more });
const seqs = ({ messages }) => messages.map(({ seq, rev }) => (rev ? `${seq}@${rev}` : seq)).join();

async function enter(joined = page(11, 13), options = {}) {
  const client = new FakeClient();
  // LiveRoom also uses timeout().request, which the fake lacks.
  const timeout = client.timeout.bind(client);
  client.timeout = () => ({ ...timeout(), request: (event, payload) => new Promise((resolve, reject) => timeout().emit(event, payload, (error, answer) => (error ? reject(error) : resolve(answer)))) });
  const live = new LiveRoom(client, { roomId: 'r', userId: 'ada', limit: 10, storage: null, ...options });
  const seen = [];
  const stop = live.subscribe((snapshot) => seen.push(snapshot));
  await null;
  client.connect();
  client.asked.shift().answer(joined);
  await null;
  return { client, live, seen, stop, next: () => client.asked.shift() };
}

test('each change makes one new snapshot; nothing in an old one changes', async () => {
  const { client, live, seen, stop } = await enter();
  const first = live.snapshot;
  assert.equal(live.snapshot, first);
  assert.deepEqual([first.state, seqs(first), first.members, first.count, first.hasOlder, first.loading, first.error], ['joined', '11,12,13', [ada], 1, true, false, null]);
  assert.deepEqual([seen[0].state, seen.at(-1)], ['waiting', first]);
  const before = seen.length;
  client.say(14);
  client.say(15);
  client.change(12, 16);
  await null;
  assert.equal(seen.length, before + 1);
  assert.equal(seqs(live.snapshot), '11,12@16,13,14,15');
  assert.equal(seqs(first), '11,12,13');
  stop();
  client.say(17);
  await null;
  assert.equal(seen.length, before + 1);
  assert.equal(seqs(live.snapshot), '11,12@16,13,14,15,17');
});

test('older pages come one at a time, and a change that came before them counts', async () => {
  const { client, live, next } = await enter();
  client.change(5, 14);
  const loading = live.loadOlder();
  assert.equal(live.loadOlder(), loading);
  assert.equal(live.snapshot.loading, true);
  const asked = next();
  assert.deepEqual([asked.event, asked.payload, client.asked.length], ['history', { roomId: 'r', before: 11, limit: 10 }, 0]);
  asked.answer(page(1, 10, { hasMore: false }));
  await loading;
  assert.deepEqual([seqs(live.snapshot), live.snapshot.hasOlder, live.snapshot.loading], ['1,2,3,4,5@14,6,7,8,9,10,11,12,13', false, false]);
  await live.loadOlder();
  assert.equal(client.asked.length, 0);
});

test('an older page that belongs to another history is dropped; a refused one rejects', async () => {
  const { client, live, next } = await enter();
  const loading = live.loadOlder();
  const late = next();
  client.disconnect();
  client.connect();
  next().answer(page(1, 2, { epoch: 'e2', reset: true }));
  late.answer(page(1, 10));
  await loading;
  assert.deepEqual([seqs(live.snapshot), live.snapshot.hasOlder], ['1,2', false]);

  const other = await enter();
  const refused = other.live.loadOlder();
  other.next().refuse(new ParleyError('unavailable', ''));
  await assert.rejects(refused, { code: 'unavailable' });
  assert.equal(other.live.snapshot.loading, false);
});

test('drafts come before and after the join; a message that was stored long ago takes its place', async () => {
  const { client, live, next } = await enter(page(3, 4, { hasMore: true }));
  const one = live.send('one');
  await null;
  assert.deepEqual(live.snapshot.drafts.map(({ clientId, message }) => [clientId, message]), [[one, 'one']]);
  client.say(5);
  next().answer({ roomId: 'r', seq: 4, clientId: one, message: 'one' });
  await null;
  assert.deepEqual([live.snapshot.drafts, seqs(live.snapshot)], [[], '3,4,5']);
  const two = live.send('two');
  next().refuse(new ParleyError('forbidden', ''));
  assert.equal(live.snapshot.drafts[0].error.code, 'forbidden');
  live.retry(two);
  next().refuse(new ParleyError('forbidden', ''));
  live.discard(two);
  assert.deepEqual(live.snapshot.drafts, []);
});

test('it keeps 500 messages, and those that were loaded', async () => {
  const { client, live, next } = await enter(page(101, 110));
  const loading = live.loadOlder();
  next().answer(page(91, 100, { hasMore: true }));
  await loading;
  for (let seq = 111; seq <= 700; seq++) client.say(seq);
  assert.deepEqual([live.snapshot.messages.length, live.snapshot.messages[0].seq, live.snapshot.messages.at(-1).seq, live.snapshot.hasOlder], [510, 191, 700, true]);
});

test('a refused join, and the end', async () => {
  const client = new FakeClient();
  const live = new LiveRoom(client, { roomId: 'r', storage: null });
  await null;
  client.connect();
  client.asked.shift().refuse(new ParleyError('banned', ''));
  assert.deepEqual([live.snapshot.state, live.snapshot.error.code], ['refused', 'banned']);
  live.leave();
  assert.equal(live.snapshot.state, 'left');
  assert.deepEqual(client.emitted, [['leaveRoom', { roomId: 'r' }]]);
  assert.ok(Object.isFrozen(NOTHING));
});
