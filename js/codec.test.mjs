import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Decoder, backoff, encode } from './parley.js';

const bytes = (...values) => new Uint8Array(values).buffer;

test('packets in their text form', () => {
  const cases = [
    [{ type: 0 }, '0'],
    [{ type: 0, nsp: '/adm', data: { token: 'x' } }, '0/adm,{"token":"x"}'],
    [{ type: 1, nsp: '/adm' }, '1/adm,'],
    [{ type: 2, data: ['a', 1, null] }, '2["a",1,null]'],
    [{ type: 2, nsp: '/adm', id: 12, data: ['a'] }, '2/adm,12["a"]'],
    [{ type: 3, id: 0, data: [] }, '30[]'],
  ];
  for (const [packet, text] of cases) {
    assert.deepEqual(encode(packet), [text]);
    assert.deepEqual(new Decoder().add(text), { nsp: '/', id: undefined, ...packet });
  }
});

test('binary becomes placeholders and comes back as ArrayBuffers', () => {
  const source = new Uint8Array([9, 1, 2, 9]);
  const data = ['up', { a: source.subarray(1, 3), b: [Buffer.from([3])] }, bytes()];
  const [text, ...attachments] = encode({ type: 2, nsp: '/f', id: 7, data });
  assert.equal(text, '53-/f,7["up",{"a":{"_placeholder":true,"num":0},"b":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":2}]');
  source.fill(0); // the caller's buffer is its own again
  assert.deepEqual(attachments, [bytes(1, 2), bytes(3), bytes()]);

  const decoder = new Decoder();
  assert.equal(decoder.add(text), null);
  assert.equal(decoder.add(attachments[0]), null);
  assert.equal(decoder.add(attachments[1]), null);
  assert.deepEqual(decoder.add(attachments[2]), {
    type: 2, nsp: '/f', id: 7, data: ['up', { a: bytes(1, 2), b: [bytes(3)] }, bytes()],
  });
});

test('toJSON is honoured, a Blob is refused', () => {
  assert.deepEqual(encode({ type: 2, data: ['at', new Date(0)] }), ['2["at","1970-01-01T00:00:00.000Z"]']);
  assert.throws(() => encode({ type: 2, data: ['f', new Blob(['x'])] }), TypeError);
});

test('invalid packets are refused', () => {
  for (const text of ['', '7', 'x', '2', '2{}', '2[]', '2[null]', '2["a"', '3["a"]', '31{}', '5["a"]', '2-["a"]', '01-{}']) {
    assert.throws(() => new Decoder().add(text), undefined, text);
  }
  for (const num of ['-1', '1', '0.5', '"0"', '"length"', 'null', '{}']) {
    const decoder = new Decoder();
    decoder.add(`51-["a",{"_placeholder":true,"num":${num}}]`);
    assert.throws(() => decoder.add(bytes(1)), undefined, num);
  }
  assert.throws(() => new Decoder().add(bytes(1)));
  const decoder = new Decoder();
  decoder.add('51-["a",{"_placeholder":true,"num":0}]');
  assert.throws(() => decoder.add('2["b"]'));
});

test('backoff doubles up to its maximum and is spread by the jitter', () => {
  const options = { delay: 1000, max: 5000, jitter: 0.5 };
  const range = (attempt) => [backoff(attempt, options, () => 0), backoff(attempt, options, () => 1)];
  assert.deepEqual(range(0), [500, 1500]);
  assert.deepEqual(range(1), [1000, 3000]);
  for (const attempt of [2, 10, 2000]) assert.deepEqual(range(attempt), [1667, 5000]);
  const waits = new Set(Array.from({ length: 200 }, () => backoff(9, options)));
  assert.ok(waits.size > 100, 'no two clients in step');
});
