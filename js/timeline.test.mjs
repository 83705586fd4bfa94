import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Timeline, content, draftId, drafts, links, personKey, plain } from '../web/timeline.js';

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

test('links in a text', () => {
  const found = (text) => links(text).map(({ text, href }) => (href ? [text] : text));
  assert.deepEqual(found('no link'), ['no link']);
  assert.deepEqual(found(''), []);
  assert.deepEqual(found('see https://a.example/b?c=d&e#f, (http://b.example:8080/x_(y)) and "https://c.example".'),
    ['see ', ['https://a.example/b?c=d&e#f'], ', (', ['http://b.example:8080/x_(y)'], ') and "', ['https://c.example'], '".']);
  assert.deepEqual(found('https://a.example/\u202Emoc.knab'), [['https://a.example/'], '\u202Emoc.knab']);
  for (const text of ['javascript:alert(1)', 'http://', 'https://.', 'xhttps://a.example', '//a.example', 'data:text/html,x', 'https://[']) assert.deepEqual(found(text), [text]);
  assert.deepEqual(links('HTTPS://A.example/<b>'), [{ text: 'HTTPS://A.example/', href: 'https://a.example/' }, { text: '<b>' }]);
  assert.equal(links('https://a.example@b.example/')[0].href, 'https://a.example@b.example/');
});

// Quadratic time would take hours.
test('links in long texts are found in linear time', { timeout: 300_000 }, () => {
  for (const char of '(!)') links(`https://a.example/${char.repeat(3_000_000)}/${'https://x.'.repeat(300_000)}`);
});

test('draft ids are UUIDs of version 7, ordered by time', () => {
  const ids = [1, 255, 256, 1_700_000_000_000].map((now) => draftId(now));
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual([...ids].sort(), ids);
  assert.equal(new Set(Array.from({ length: 1000 }, () => draftId(0))).size, 1000);
});

test('the content of any JSON', () => {
  assert.deepEqual(content('x'), { text: 'x' });
  assert.deepEqual(content({ text: 'x', name: 'n', more: 1 }), { text: 'x', name: 'n' });
  assert.deepEqual(content({ text: 'x', name: {} }), { text: 'x', name: undefined });
  assert.deepEqual(content({ text: 1, name: 'n' }), { json: '{"text":1,"name":"n"}', name: 'n' });
  for (const value of [null, 0, false, []]) assert.deepEqual(content(value), { json: JSON.stringify(value), name: undefined });
});

test('stored drafts among other data', () => {
  for (const json of [null, '', '{', 'null', '1', '{"length":1}', '[null,1,"a",[],{}]', '[{"clientId":""},{"clientId":1,"message":1},{"clientId":"a"}]']) assert.deepEqual(drafts(json), [], json);
  const kept = [{ clientId: 'a', message: { text: 'x' }, at: 1 }, { clientId: 'b', message: null, at: 2, error: 'why' }];
  assert.deepEqual(drafts(JSON.stringify(kept)), kept);
  const [{ at, ...draft }] = drafts('[{"clientId":"a","message":"x","at":"soon","error":{},"more":1}]');
  assert.deepEqual(draft, { clientId: 'a', message: 'x' });
  assert.ok(Math.abs(at - Date.now()) < 60_000);
});

test('keys of persons', () => {
  const keys = [{ id: '1', userId: 'u' }, { id: '2', userId: 'u', operatorId: 'o' }, { id: '3', operatorId: 'u' }, { id: 'u' }].map(personKey);
  assert.equal(new Set(keys).size, 4);
  assert.equal(personKey({ seq: 1, userId: 'u', name: 'n' }), keys[0]);
  assert.equal(plain('\u202Ea\u2066b\u2069\u200f\u05d0'), 'ab\u200f\u05d0');
});
