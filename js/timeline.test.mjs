import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Timeline, draftId, drafts, personKey } from './timeline.js';

test('a timeline keeps its order, takes each message once and drops stored drafts', () => {
  const timeline = new Timeline();
  timeline.drafts = [{ clientId: 'c1' }, { clientId: 'c2' }];
  const added = [3, 1, 2, 3, 7, 5, 1].map((seq) => timeline.add({ seq, clientId: seq === 5 ? 'c1' : undefined }));
  assert.deepEqual(added, [true, true, true, false, true, true, false]);
  assert.deepEqual(timeline.messages.map(({ seq }) => seq), [1, 2, 3, 5, 7]);
  assert.equal(timeline.oldest, 1);
  assert.deepEqual(timeline.drafts, [{ clientId: 'c2' }]);
  timeline.reset('e2');
  assert.deepEqual([timeline.messages, timeline.oldest, timeline.epoch, timeline.drafts.length], [[], undefined, 'e2', 1]);
});

test('a resent message that is older than the loaded ones leaves no hole', () => {
  const timeline = new Timeline();
  timeline.drafts = [{ clientId: 'c1' }];
  timeline.hasOlder = true;
  timeline.add({ seq: 50 });
  assert.equal(timeline.add({ seq: 7, clientId: 'c1' }, { live: true }), false);
  assert.deepEqual([timeline.oldest, timeline.drafts], [50, []]);
  assert.equal(timeline.add({ seq: 49 }), true); // comes from scrolling up
  timeline.hasOlder = false;
  assert.equal(timeline.add({ seq: 7, clientId: 'c1' }, { live: true }), true);
});

test('the newer version of a message stays, whatever comes first', () => {
  const timeline = new Timeline();
  const shown = () => timeline.messages.map(({ seq, rev }) => (rev ? `${seq}@${rev}` : `${seq}`)).join();
  timeline.hasOlder = true;
  for (const seq of [10, 11, 12]) timeline.add({ seq }, { live: true });
  timeline.change({ seq: 11, rev: 14 });
  timeline.change({ seq: 11, rev: 13 });
  timeline.change({ seq: 9, rev: 15 }); // is not here
  timeline.change({ seq: 9, rev: 16 });
  assert.equal(shown(), '10,11@14,12');
  // Pages that were read before and after the changes.
  assert.equal(timeline.add({ seq: 9 }), true);
  assert.equal(timeline.add({ seq: 11 }), false);
  assert.equal(timeline.add({ seq: 10, rev: 17 }), false);
  assert.equal(shown(), '9@16,10@17,11@14,12');
  for (let seq = 1; seq <= 502; seq++) timeline.change({ seq: 1000 + seq, rev: 9000 }); // it remembers the last 500
  for (const seq of [1001, 1002, 1003]) timeline.add({ seq });
  assert.equal(shown(), '9@16,10@17,11@14,12,1001,1002,1003@9000');
  timeline.change({ seq: 8, rev: 18 });
  timeline.reset('e2');
  timeline.add({ seq: 8 });
  assert.equal(shown(), '8');
});

test('a timeline keeps a bounded part of a long room, around what is shown', () => {
  const timeline = new Timeline();
  const add = (from, to, live, message = 'x') => { for (let seq = from; seq <= to; seq++) timeline.add({ seq, message }, { live }); };
  const all = () => [timeline.hasOlder, timeline.oldest, timeline.newest, timeline.hasNewer];
  add(1, 700, true);
  timeline.trim(650, 700); // at the end: it forgets the oldest
  assert.deepEqual(all(), [true, 201, 700, false]);
  add(151, 200);
  timeline.trim(151, 350); // scrolled up: it forgets the newest
  assert.deepEqual(all(), [true, 151, 650, true]);
  assert.equal(timeline.add({ seq: 701, message: 'x' }, { live: true }), false, 'there would be a hole');
  assert.equal(timeline.add({ seq: 651, message: 'x' }), true, 'a page that follows');
  timeline.trim(1, 1000);
  assert.deepEqual(all(), [true, 151, 651, true], 'what is shown stays');
  timeline.reset('e');
  assert.deepEqual(all(), [false, undefined, undefined, false]);

  add(1, 100, true, 'x'.repeat(65_536));
  timeline.trim(95, 100);
  assert.ok(timeline.messages.length < 62 && timeline.newest === 100, `${timeline.messages.length} long messages`);
  add(101, 101, true);
  timeline.trim(95, 101);
  assert.ok(timeline.messages.length > 55 && timeline.newest === 101);
});

test('draft ids are UUIDs of version 7, ordered by time', () => {
  const ids = [1, 255, 256, 1_700_000_000_000].map((now) => draftId(now));
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual([...ids].sort(), ids);
  assert.equal(new Set(Array.from({ length: 1000 }, () => draftId(0))).size, 1000);
});

test('stored drafts among other data', () => {
  const other = [null, '', '{', 'null', '1', '{"length":1}', '[null,1,"a",[],{}]', '['.repeat(1_000_000),
    '[{"clientId":""},{"clientId":1,"message":{"text":"x"}},{"clientId":"a"},{"clientId":"a","message":null},{"clientId":"a","message":"x"}]',
    '[{"clientId":"a b","message":{"text":"x"}},{"clientId":"a","message":{"text":1}}]', JSON.stringify([{ clientId: 'x'.repeat(129), message: { text: 'x' } }])];
  for (const json of other) assert.deepEqual(drafts(json), [], json?.slice(0, 100));
  const kept = [{ clientId: draftId(), message: { text: 'x', name: 'n' }, at: 1 }, { clientId: 'b', message: { text: '' }, at: 2, error: 'why' }];
  assert.deepEqual(drafts(JSON.stringify(kept)), kept);
  const [{ at, ...draft }] = drafts('[{"clientId":"a","message":{"text":"x","name":{},"more":1},"at":"soon","error":{},"more":1}]');
  assert.deepEqual(draft, { clientId: 'a', message: { text: 'x' } });
  assert.ok(Math.abs(at - Date.now()) < 60_000);
  assert.equal(drafts(JSON.stringify(Array(5000).fill(kept[0]))).length, 1000);
});

test('keys of persons', () => {
  const keys = [{ id: '1', userId: 'u' }, { id: '2', userId: 'u', operatorId: 'o' }, { id: '3', operatorId: 'u' }, { id: 'u' }].map(personKey);
  assert.equal(new Set(keys).size, 4);
  assert.equal(personKey({ seq: 1, userId: 'u', name: 'n' }), keys[0]);
});
