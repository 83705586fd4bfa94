import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ParleyError } from './parley.js';
import { Outbox } from './outbox.js';
import { Room } from './room.js';
import { FakeClient } from './testdata/client.mjs';
import { MemoryStorage } from './testdata/storage.mjs';

const ada = { id: 's1', userId: 'ada' };
const empty = { roomId: 'r', epoch: 'e1', messages: [], hasMore: false, lastSeq: 0, member: ada, members: [ada], count: 1 };
const texts = (outbox) => outbox.drafts.map(({ message, error }) => (error ? `${message} (${error.code})` : message));

/** A tab: a client that is not connected yet, a room, and its outbox. */
async function open(storage, { who = { userId: 'ada' }, roomId = 'r', ...options } = {}) {
  const client = new FakeClient();
  const room = new Room(client, { roomId, ...who });
  const sent = [];
  const outbox = new Outbox(room, { storage, onsent: ({ seq }) => sent.push(seq), ...options });
  await null;
  let seq = 0;
  return {
    client, room, outbox, sent, send: (text) => outbox.send(text),
    join(page = {}) {
      if (!client.connected) client.connect();
      seq = page.lastSeq ?? seq;
      client.asked.shift().answer({ ...empty, lastSeq: seq, ...page });
    },
    /** Takes the message that is being sent. Fails if there is none, or more than one. */
    next() {
      assert.deepEqual(client.asked.map(({ event }) => event), ['sendMessage']);
      const { payload, answer, refuse } = client.asked.shift();
      const stored = { ...payload, seq: ++seq, userId: 'ada' };
      return {
        text: payload.message, clientId: payload.clientId, stored,
        store() { client.fire('newMessage', stored); answer(stored); },
        answer: () => answer(stored),
        refuse: (code, data) => { seq--; refuse(new ParleyError(code, `because of ${code}`, data)); },
      };
    },
    idle: () => client.asked.length === 0,
  };
}

test('what is written before the first join is sent after it, in order, one after the other', async () => {
  const storage = new MemoryStorage();
  const tab = await open(storage);
  const ids = ['one', 'two', 'three'].map(tab.send);
  assert.deepEqual([texts(tab.outbox), storage.length, tab.idle()], [['one', 'two', 'three'], 3, true]);
  tab.join();
  for (const [i, text] of ['one', 'two', 'three'].entries()) {
    const message = tab.next();
    assert.deepEqual([message.text, message.clientId], [text, ids[i]]);
    message.store();
    assert.equal(storage.length, 2 - i);
  }
  assert.deepEqual([texts(tab.outbox), tab.sent, tab.idle()], [[], [1, 2, 3], true]);
  tab.send('four');
  assert.equal(tab.next().text, 'four');
});

test('drafts survive a reload, with their ids and their order, and nothing that was acknowledged does', async () => {
  const storage = new MemoryStorage();
  const before = await open(storage);
  before.join();
  const ids = ['one', 'two', { any: ['JSON', null] }].map(before.send);
  before.next().store();
  const lost = before.next(); // is stored, but the answer comes too late
  const after = await open(storage);
  assert.deepEqual(texts(after.outbox), ['two', { any: ['JSON', null] }]);
  after.join({ lastSeq: 2 });
  const again = after.next();
  assert.deepEqual([again.clientId, again.clientId], [ids[1], lost.clientId]);
  again.store();
  assert.equal(after.next().clientId, ids[2]);
});

test('a draft that the room delivers is no longer one, whether the answer comes or not', async () => {
  const storage = new MemoryStorage();
  const tab = await open(storage);
  tab.join();
  tab.send('one');
  tab.client.fire('newMessage', tab.next().stored);
  assert.deepEqual([texts(tab.outbox), storage.length], [[], 0]);

  const other = await open(storage);
  other.send('two');
  other.join({ messages: [{ roomId: 'r', seq: 2, clientId: other.outbox.drafts[0].clientId }], lastSeq: 2 });
  assert.deepEqual([texts(other.outbox), storage.length, other.idle()], [[], 0, true]);
});

test('an acknowledged message stays a draft until the room delivers it, but not in the storage', async () => {
  const storage = new MemoryStorage();
  const tab = await open(storage);
  tab.join();
  tab.send('one');
  const message = tab.next();
  message.answer();
  assert.deepEqual([texts(tab.outbox), storage.length, tab.idle()], [['one'], 0, true]);
  tab.client.fire('newMessage', message.stored);
  assert.deepEqual(texts(tab.outbox), []);

  tab.send('two');
  tab.next().answer();
  tab.client.disconnect();
  assert.deepEqual(texts(tab.outbox), ['two']);
  tab.join({ lastSeq: 200, reset: true }); // a page of newer ones
  assert.deepEqual([texts(tab.outbox), tab.idle()], [[], true]);
});

test('after a break the same draft is sent again, after the next join', async () => {
  const tab = await open(new MemoryStorage());
  tab.join();
  tab.send('one');
  const first = tab.next();
  tab.client.disconnect();
  first.refuse('disconnected');
  tab.send('two');
  assert.ok(tab.idle());
  tab.client.connect();
  assert.deepEqual(tab.client.asked.map(({ event }) => event), ['joinRoom']);
  tab.join();
  const again = tab.next();
  assert.equal(again.clientId, first.clientId);
  again.store();
  assert.equal(tab.next().text, 'two');
});

for (const code of ['timeout', 'unavailable', 'unknown_outcome', 'rate_limited', 'not_ready']) {
  test(`${code}: the same draft is sent again later, before the others`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const tab = await open(new MemoryStorage());
    tab.join();
    const id = tab.send('one');
    tab.send('two');
    tab.next().refuse(code, { retryAfter: 40 });
    assert.ok(tab.idle());
    if (code === 'rate_limited') t.mock.timers.tick(39_999);
    assert.ok(tab.idle());
    t.mock.timers.tick(30_000);
    if (code !== 'rate_limited') t.mock.timers.tick(20_000);
    const again = tab.next();
    assert.equal(again.clientId, id);
    again.store();
    assert.equal(tab.next().text, 'two');
  });
}

test('a join does not wait for the next attempt, and a client that is no longer in the room joins first', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const tab = await open(new MemoryStorage());
  tab.join();
  tab.send('one');
  tab.next().refuse('unavailable');
  tab.client.disconnect();
  tab.join();
  tab.next().refuse('not_joined');
  t.mock.timers.tick(30_000);
  tab.join();
  assert.equal(tab.next().text, 'one');
});

test('a refused draft waits, also across a reload, until you retry or discard it; the others go on', async () => {
  const storage = new MemoryStorage();
  const tab = await open(storage);
  tab.join();
  const id = tab.send('one');
  tab.send('two');
  tab.next().refuse('forbidden');
  tab.next().store();
  assert.deepEqual([texts(tab.outbox), tab.idle()], [['one (forbidden)'], true]);
  const after = await open(storage);
  after.join({ lastSeq: 1 });
  assert.deepEqual([texts(after.outbox), after.outbox.drafts[0].error, after.idle()], [['one (forbidden)'], { code: 'forbidden', message: 'because of forbidden' }, true]);
  after.outbox.retry(id);
  const again = after.next();
  assert.equal(again.clientId, id);
  again.refuse('forbidden');
  after.outbox.discard(id);
  assert.deepEqual([texts(after.outbox), storage.length], [[], 0]);
});

test('nobody sees or sends the drafts of another user or of another room', async () => {
  const storage = new MemoryStorage();
  (await open(storage)).send('of ada');
  const names = (tab) => texts(tab.outbox);
  const bob = { id: 's2', userId: 'bob' };
  const others = [
    await open(storage, { who: { userId: 'bob' } }), await open(storage, { who: { operatorId: 'ada' } }), await open(storage, { who: {} }), await open(storage, { roomId: 'r2' }),
  ];
  assert.deepEqual(others.map(names), [[], [], [], []]);
  const switched = await open(storage);
  assert.deepEqual(names(switched), ['of ada']);
  switched.room.join({ userId: 'bob' });
  switched.send('of bob');
  assert.deepEqual(names(switched), ['of bob']);
  switched.join({ member: bob });
  assert.equal(switched.next().text, 'of bob');
  assert.ok(switched.idle());
  assert.deepEqual(names(await open(storage)), ['of ada']);
});

test('the server says who you are if you do not, and guests leave nothing behind', async () => {
  const storage = new MemoryStorage();
  const guest = await open(storage, { who: {} });
  guest.send('one');
  assert.equal(storage.length, 0);
  guest.join({ member: { id: 's1', userId: 'guest-12345678' } });
  guest.client.disconnect();
  guest.join({ member: { id: 's2', userId: 'guest-abcdefgh' } });
  assert.deepEqual([guest.next().text, storage.length], ['one', 0]);

  const known = await open(storage, { who: {} });
  known.send('two');
  known.join();
  assert.deepEqual([known.next().text, storage.length], ['two', 1]);
  const after = await open(storage, { who: {} });
  assert.deepEqual(texts(after.outbox), []);
  after.join();
  assert.equal(after.next().text, 'two');

  const token = await open(storage, { who: { userId: 'ada' } });
  assert.deepEqual(texts(token.outbox), ['two']);
  token.join({ member: { id: 's3', userId: 'bob' } }); // the token says otherwise
  assert.deepEqual([texts(token.outbox), token.idle()], [[], true]);
});

test('drafts are bounded in number and age', async (t) => {
  const storage = new MemoryStorage();
  const tab = await open(storage, { limit: 2 });
  tab.send('one');
  tab.send('two');
  assert.throws(() => tab.send('three'), (error) => error instanceof ParleyError && error.code === 'buffer_full');
  assert.deepEqual([texts(tab.outbox), storage.length], [['one', 'two'], 2]);

  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 86_400_000 - 60_000 });
  assert.deepEqual(texts((await open(storage)).outbox), ['one', 'two']);
  t.mock.timers.tick(60_001);
  assert.deepEqual([texts((await open(storage, { roomId: 'another' })).outbox), storage.length], [[], 0]); // whichever room is opened
});

test('what others have written into the storage does no harm', async () => {
  const storage = new MemoryStorage();
  const tab = await open(storage);
  const id = tab.send('good');
  const [key] = storage.keys();
  const good = JSON.parse(storage.getItem(key));
  const bad = ['', '[', 'null', '1', '{}', { ...good, clientId: 1 }, { ...good, clientId: '<b>' }, { ...good, at: 'now' }, { ...good, until: undefined }, { ...good, error: 1 }, { ...good, message: undefined }];
  bad.forEach((value, i) => storage.setItem(key.replace(id, `bad-${i}`), typeof value === 'string' ? value : JSON.stringify({ ...value, ...(value.clientId === id && { clientId: `bad-${i}` }) })));
  storage.setItem(key.replace(id, 'copy'), JSON.stringify(good));
  storage.setItem('of another program', 'stays');
  assert.deepEqual(texts((await open(storage)).outbox), ['good']);
  assert.deepEqual(storage.keys(), [key, 'of another program']);
  Outbox.clear(storage);
  assert.deepEqual(storage.keys(), ['of another program']);
});

test('a storage that is missing, blocked or full keeps nothing, and everything else works', async () => {
  const refuse = () => { throw new Error('QuotaExceededError'); };
  for (const storage of [null, undefined, { get length() { return refuse(); }, setItem: refuse, removeItem: refuse, key: refuse, getItem: refuse }]) {
    const tab = await open(storage);
    tab.send('one');
    tab.join();
    tab.next().store();
    assert.deepEqual([texts(tab.outbox), tab.sent], [[], [1]]);
  }
});

test('binary messages are not kept, and what cannot be sent is refused at once', async () => {
  const storage = new MemoryStorage();
  const tab = await open(storage);
  tab.send({ bytes: new Uint8Array(3) });
  assert.deepEqual([tab.outbox.drafts.length, storage.length], [1, 0]);
  assert.throws(() => tab.send({ blob: new Blob([]) }), TypeError);
  assert.equal(tab.outbox.drafts.length, 1);
});

test('after close and leave nothing is sent', async () => {
  const storage = new MemoryStorage();
  const tab = await open(storage);
  tab.join();
  tab.send('one');
  tab.send('two');
  const message = tab.next();
  tab.outbox.close();
  tab.room.leave();
  message.answer();
  assert.ok(tab.idle());
  const after = await open(storage);
  after.join();
  after.next().store(); // the same id again
  assert.equal(after.next().text, 'two');
});

test('an error in a handler ends nothing', async (t) => {
  const errors = [];
  t.mock.method(globalThis, 'queueMicrotask', (f) => { try { f(); } catch (error) { errors.push(error.message); } });
  const tab = await open(new MemoryStorage(), { onchange() { throw new Error('change'); }, onsent() { throw new Error('sent'); } });
  tab.join();
  tab.send('one');
  tab.send('two');
  tab.next().store();
  assert.equal(tab.next().text, 'two');
  assert.ok(errors.includes('change') && errors.includes('sent'));
});
