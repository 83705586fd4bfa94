// Events and their data, over JSON and over msgpack.
import assert from 'node:assert/strict';
import msgpack from 'socket.io-msgpack-parser';
import { collect, connected, count, each, next, serve, settled, test, upgraded } from './harness.mjs';
import { proxy } from './proxy.mjs';

const values = {
  'no arguments': [],
  'an empty string': [''],
  string: ['hello'],
  'several arguments': [1, 'two', null, [3], { four: 4 }],
  'beyond the BMP': ['😀 𝒳 🏳️‍🌈 é \u0000 \u2028 \ufeff'],
  'keys that are not ASCII': [{ 'ключ': 1, '😀': { '': 2 } }],
  numbers: [0, -1, 1.5, -2.25e-10, 255, 256, 65536, -129, -32769, 2 ** 32, 2 ** 53 - 1, -(2 ** 53) + 1],
  booleans: [true, false, null],
  'nested arrays': [[[], [[1]], [null, [{}]]]],
  'nested objects': [{ a: { b: { c: [{ d: {} }] } } }],
  'what looks like a placeholder': [{ _placeholder: false, num: 0 }, { num: 0 }],
  'HTML and quotes': ['<script>"\'\\/</script>&'],
  'a string like a packet': ['42["x"]', '\u001e', '\n'],
  'a long array': [count(1000)],
  'a long string': ['x'.repeat(100_000) + '😀'],
};
const bytes = (...all) => Buffer.from(all);
const binary = {
  Buffer: [bytes(0, 1, 127, 128, 255)],
  'empty Buffer': [bytes()],
  Uint8Array: [new Uint8Array([1, 2, 3])],
  ArrayBuffer: [new Uint8Array([4, 5]).buffer],
  nested: [{ a: [bytes(1), { b: bytes(2) }], text: '😀' }, bytes(3), 'end'],
  'ten attachments': count(10).map((i) => bytes(i, i)),
  'a large one': [Buffer.alloc(300_000, 7)],
};

/** Values that the msgpack client encodes wrongly. */
const jsonOnly = {
  'numbers beyond 64 bits': [1e21, -1e300],
  'a part of an ArrayBuffer': [new Uint8Array([1, 2, 3, 4]).subarray(1, 3)],
};

/** Converts a sent value to what arrives: all binary data arrives as Buffers. */
function received(value) {
  if (value instanceof ArrayBuffer) return Buffer.from(value);
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (Array.isArray(value)) return value.map(received);
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, received(inner)]));
  return value;
}

async function echoes(t, flags, options) {
  const { url } = await serve(t, ...flags);
  const socket = await connected(t, url, options);
  const back = collect(socket, 'message-back');
  for (const [what, args] of Object.entries({ ...values, ...binary, ...(!options.parser && jsonOnly) })) {
    const answer = new Promise((resolve) => socket.emit('message-with-ack', ...args, (...got) => resolve(got)));
    socket.emit('message', ...args);
    assert.deepEqual(received(await answer), received(args), `${what}: acknowledged`);
    await settled(socket);
    assert.deepEqual(received(back.pop()), received(args), `${what}: as an event`);
    assert.deepEqual(back, [], what);
  }
}

each('all kinds of values', (t, way) => echoes(t, [], way));
each('all kinds of values by msgpack', (t, way) => echoes(t, ['-msgpack'], { ...way, parser: msgpack }));
each('all kinds of values, binary as base64', (t, way) => echoes(t, [], { ...way, forceBase64: true }));
each('all kinds of values, compressed', (t, way) => echoes(t, ['-compression'], way));

each('event names', async (t, way) => {
  const { url } = await serve(t);
  const socket = await connected(t, url, way);
  for (const name of ['a b', '', '😀', '__proto__', 'toString', '42["x"]', '"', ',', 'x'.repeat(1000)]) {
    const came = next(socket, name);
    await socket.emitWithAck('broadcast', { to: [socket.id], self: true }, name, name);
    assert.equal(await came, name);
  }
});

each('many events keep their order', async (t, way) => {
  const { url } = await serve(t);
  const socket = await connected(t, url, way);
  const back = collect(socket, 'message-back');
  for (const i of count(1000)) socket.emit('message', i, i % 7 === 0 ? Buffer.from([i]) : null);
  await settled(socket);
  assert.deepEqual(back.map(([i]) => i), count(1000));
});

each('a message as large as allowed, and one larger', async (t, way) => {
  const { url } = await serve(t);
  const socket = await connected(t, url, way);
  if (way.transports?.[0] !== 'polling') await upgraded(socket);
  const largest = 'x'.repeat(1_000_000 - '42["message",""]'.length);
  const back = next(socket, 'message-back');
  socket.emit('message', largest);
  assert.equal((await back).length, largest.length);

  const lost = next(socket, 'disconnect');
  const again = next(socket, 'connect');
  socket.emit('message', `${largest}x`);
  assert.equal(await lost, way.transports?.[0] === 'polling' ? 'transport error' : 'transport close');
  await again;
  await settled(socket);
});

test('compression is negotiated by default when the server allows it, and saves bytes', async (t) => {
  const sizes = [];
  for (const flags of [[], ['-compression']]) {
    const { url } = await serve(t, ...flags);
    const between = await proxy(t, url);
    const socket = await connected(t, between.url, { transports: ['websocket'] });
    assert.equal(socket.io.engine.transport.ws.extensions, flags.length ? 'permessage-deflate' : '');
    const text = 'all work and no play '.repeat(5000);
    for (let i = 0; i < 3; i++) assert.equal(await socket.emitWithAck('message-with-ack', text), text);
    assert.equal(await socket.emitWithAck('message-with-ack', 'short'), 'short');
    assert.equal(await socket.compress(false).emitWithAck('message-with-ack', text), text);
    sizes.push(between.received);
  }
  assert.ok(sizes[1] < sizes[0] / 20, `${sizes}`);
});
