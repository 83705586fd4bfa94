// Values of every kind, sent both ways in events and acknowledgements, over every transport.
import msgpack from 'socket.io-msgpack-parser';
import { scenarios } from './twin.mjs';

const buffer = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]).buffer;

const values = {
  integer: 1, negative: -129, 'most exact': 9007199254740991, 'beyond exact': 9007199254740993, '1e21': 1e21, '1e300': 1e300,
  smallest: 5e-324, fraction: 0.1, 'long fraction': 1 / 3,
  '-0': -0, NaN: NaN, infinity: Infinity, null: null, undefined, true: true, false: false,
  'empty text': '', 'empty array': [], 'empty object': {}, nested: [[], [[]], {}, [{}, [null]]], date: new Date(0),
  'invalid date': [new Date(NaN)], regexp: /x/, map: new Map([[1, 2]]), set: new Set([1]),
  html: '<script>&amp;</script>', escapes: '\\"\n\t\b\f\r/\u001f\u007f', lines: '\u2028\u2029', nul: 'a\u0000b', astral: '😀𝒳',
  'last of the plane': '\uffff\ufffe', mark: '\ufeffx', combining: 'é\u0301', separator: 'a\u001eb',
  'keys': { '': 1, ' ': 2, ü: 3, 'a.b': 4, '\u0000': 5, 1: 6, '-1': 7 },
  proto: JSON.parse('{"__proto__":{"a":1},"constructor":1,"toString":2}'), toJSON: { toJSON: () => 'J' }, sparse: [1, , 3],
  'undefined within': { a: undefined, b: [undefined] },
  functions: [() => 1], symbols: { [Symbol('s')]: 1 }, error: new Error('e'), boxed: [new String('s'), new Number(1),
    new Boolean(false)], long: 'x'.repeat(100_000), 'long, not ASCII': 'é€😀'.repeat(20_000),
  'nearly a megabyte in all': ['y'.repeat(350_000)],
  'many keys': Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`k${i}`, i])),
  'long array': Array.from({ length: 70_000 }, (_, i) => i % 10),
  deep: JSON.parse(`${'['.repeat(60)}${']'.repeat(60)}`),
  buffer: Buffer.from('hi'), 'empty buffer': Buffer.alloc(0), 'byte 30': Buffer.from([0x1e, 30, 4, 0, 255, 98]),
  'large buffer': Buffer.alloc(300_000, 'é'), 'Uint8Array': new Uint8Array([9, 8]), 'Uint16Array': new Uint16Array([1, 256]),
  'Float64Array': new Float64Array([1.5]), 'ArrayBuffer': buffer,
  'view of a part': new Uint8Array(buffer, 2, 3), 'DataView of a part': new DataView(buffer, 1, 2),
  'empty ArrayBuffer': new ArrayBuffer(0), 'nested buffers': { a: [Buffer.from('x'), { b: Buffer.from('y') }],
    c: [[Buffer.alloc(0)]] }, 'the same buffer twice': (() => { const b = Buffer.from('z'); return [b, b]; })(),
  'five buffers': Array.from({ length: 5 }, (_, i) => Buffer.from([i])), 'keys and buffers': { 'a"b': Buffer.from('q'),
    '\u2028': Buffer.from('l') },
  placeholder: { _placeholder: true, num: 0 }, 'placeholder out of range': { _placeholder: true, num: 5 },
  'no placeholder': { _placeholder: 'x' },
};

/** Lone surrogates, which JavaScript strings may contain. */
const halves = ['a\ud83d', '\udc00b', 'x\ud83dy\ude00', { '\ud83d': 1 }];

/** Sends each value in both ways and records the results under its name. */
async function echo(c, a, all, prefix = '') {
  for (const [name, value] of Object.entries(all)) {
    const label = prefix + name;
    const back = new Promise((resolve) => { a.once('back', (...args) => resolve(args)).once('disconnect', resolve); });
    a.emit('back', value, 'and text', value);
    c.saw(label, await back);
    c.saw(label, await c.ask(a, 'echo', value));
  }
}

/** The events themselves are recorded as what came back. */
const quietly = (c, a) => a.offAny();

scenarios('values', {
  ...Object.fromEntries([['websocket'], ['polling']].map((transports) => [`over ${transports}`, async (c) => {
    const a = await c.up('a', '/', { transports });
    quietly(c, a);
    await echo(c, a, values);
  }])),

  'over an upgraded connection': async (c) => {
    const a = await c.up('a', '/', { transports: ['polling', 'websocket'] });
    quietly(c, a);
    await echo(c, a, { text: 'é😀\u2028', binary: { a: Buffer.from([0x1e, 4]) }, long: 'x'.repeat(200_000) });
  },

  'binary as base64': async (c) => {
    const a = await c.up('a', '/', { transports: ['polling'], forceBase64: true });
    quietly(c, a);
    await echo(c, a, { binary: { a: Buffer.from([0x1e, 4, 255]) }, empty: Buffer.alloc(0), one: Buffer.from([1]),
      long: Buffer.alloc(100_000, 'x') });
  },

  'halves of surrogate pairs': async (c) => {
    for (const transports of [['websocket'], ['polling']]) {
      const a = await c.up(transports.join(), '/', { transports });
      quietly(c, a);
      await echo(c, a, Object.fromEntries(halves.map((half) => [JSON.stringify(half), half])), `${transports} `);
    }
  },

  'more than ten buffers': async (c) => {
    const a = await c.up('a');
    a.emit('note', ...Array.from({ length: 11 }, (_, i) => Buffer.from([i])));
    await c.see('a', 'disconnect');
    const b = await c.up('b');
    await c.do(b, ['emit', 'eleven', ...Array.from({ length: 9 }, (_, i) => Buffer.from([i]))]);
    await c.settled(b);
  },

  'text beyond the limit': [{ maxPayload: 20_000 }, async (c) => {
    const a = await c.up('a');
    c.saw('below', (await c.ask(a, 'echo', 'x'.repeat(19_000)))[0].length);
    a.emit('note', 'x'.repeat(20_001));
    await c.see('a', 'disconnect');
    await c.see('server a', 'disconnect');
    const session = await c.polling();
    await c.exchange('by hand', session, ['40{"as":"by hand"}'], /^40/);
    c.saw('exact', (await session.post(`42["note","${'x'.repeat(19_987)}"]`)).status);
    await c.see('server by hand', 'note');
    const { status, headers, body } = await session.post(`42["note","${'x'.repeat(19_988)}"]`);
    c.saw('beyond', { status, type: headers['content-type'], body });
    await c.exchange('by hand', session, ['421["echo","alive"]'], /alive/);
  }],

  'nested beyond sixty': async (c) => {
    const a = c.client('a');
    a.emit('echo', JSON.parse(`${'['.repeat(100)}${']'.repeat(100)}`), () => c.saw('a', 'answered'));
    await c.until(() => c.seen('a').some((seen) => seen === 'answered' || seen[0] === 'disconnect'), 'an answer or the end');
  },

  ...Object.fromEntries([['websocket'], ['polling']].map((transports) => [`msgpack over ${transports}`, [{ msgpack: true }, async (c) => {
    const a = await c.up('a', '/', { transports, parser: msgpack });
    quietly(c, a);
    // The client's encoder mistakes a view of a part of a buffer for the whole buffer, and refuses functions.
    const { 'view of a part': one, 'DataView of a part': two, functions, ...rest } = values;
    await echo(c, a, rest);
    c.saw('no arguments', await c.ask(a, 'echo'));
  }]])),

  'msgpack: refusals and answers': [{ msgpack: true }, async (c) => {
    c.client('refused', '/', { parser: msgpack, auth: { use: [['fail', 'no', { code: 7, n: [null] }]] } });
    await c.see('refused', 'connect_error');
    const a = await c.up('a', '/chat', { parser: msgpack });
    c.saw('answer', await c.ask(a, 'do', [['ack', 1, 'two', [3], null, Buffer.from([5])]]));
    c.saw('answer', await c.ask(a, 'do', [['ack']]));
    a.on('q', (...args) => args.pop()({ answer: Buffer.from([1]) }));
    await c.do(a, ['ask', 'answer', 0, 'q', Buffer.from([2])]);
    await c.see('server a asks', 'answer');
    await c.do(a, ['send', {}, 'all', { b: Buffer.from([3]) }]);
    a.emit('do', [['disconnect', false]]);
    await c.see('a', 'disconnect');
    await c.see('server a', 'disconnect');
    // A client that speaks JSON.
    c.client('json');
    await c.until(() => c.seen('json').length, 'json');
  }],
});
