import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test as bare } from 'node:test';
import { SSETransport } from './parley.js';

const test = (name, run) => bare(name, { timeout: 300_000 }, run);
const open = '0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000}';
const bytes = (text) => new TextEncoder().encode(text);
const until = async (condition) => { while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2)); };

/** A stream that the test writes to. It ends when the client aborts it. */
class Stream {
  constructor({ status = 200, type = 'text/event-stream' } = {}) {
    this.given = false; // given up: true once the client has aborted it
    const body = new ReadableStream({ start: (controller) => { this.controller = controller; } });
    this.response = new Response(body, { status, headers: { 'Content-Type': type } });
  }
  say(text) { this.controller.enqueue(typeof text === 'string' ? bytes(text) : text); return this; }
  end() { this.controller.close(); return this; }
  cut() { this.controller.error(new TypeError('cut')); return this; }
}

/** Makes a transport without a server. answers has a Stream or an error to throw for each GET, in order. */
function make(t, answers, { handshake = null } = {}) {
  const log = [], asked = [], posts = [];
  const context = {
    handshake, maxPayload: 100, options: {},
    url: () => 'https://chat.example/socket.io/?EIO=4&transport=sse',
    fetch: async (url, { method, body, signal }) => {
      if (method === 'POST') return new Promise((resolve) => posts.push({ body, answer: (status = 200) => resolve(new Response('ok', { status })) }));
      asked.push(new URL(url).searchParams.get('lastEventId'));
      const answer = answers.shift();
      if (!(answer instanceof Stream)) throw answer ?? new TypeError('no connection');
      signal.addEventListener('abort', () => { answer.given = true; try { answer.controller.error(signal.reason); } catch { /* ended */ } });
      return answer.response;
    },
  };
  const transport = new SSETransport(context, {
    open() {},
    packet: (packet) => {
      if (packet[0] === '0') context.handshake = JSON.parse(packet.slice(1));
      log.push(packet);
    },
    drain: () => log.push('drain'),
    close: (reason, error) => log.push(`${reason}: ${error.message}`),
  });
  t.after(() => transport.close(false));
  transport.open();
  return { transport, log, asked, posts, context };
}

test('events in any notation and cut at any byte', async (t) => {
  const text = `\ufeff:\n\nid: 0\ndata: ${open}\n\ndata:4é😀\r\nid:1\r\nretry: 5\r\n\r\n: a comment\revent: json\rdata: "4a\\r\\nb\u2028"\rid: 2\r\r`
    + 'id: 3\ndata: bAAEC\n\nid: 9\n\ndata\nid: 4\n\ndata: 4x\ndata:  y\nid: 5\n\nid: 6\ndata: 4not complete\n';
  const expected = [open, '4é😀', '4a\r\nb\u2028', new Uint8Array([0, 1, 2]).buffer, '', '4x\n y'];
  const all = bytes(text);
  for (let at = 1; at < all.length; at++) {
    const stream = new Stream().say(all.subarray(0, at)).say(all.subarray(at)).end();
    const { transport, log, asked } = make(t, [stream]);
    await until(() => log.length === expected.length);
    assert.deepEqual(log, expected, `cut at ${at}`);
    transport.close(false);
    assert.deepEqual(asked, [null]);
  }
});

test('resumes after the last complete event', async (t) => {
  const second = new Stream();
  const { log, asked } = make(t, [
    new Stream().say(`id: 0\ndata: ${open}\n\nid: 1\ndata: 4a\n\nid: 2\ndata: 4b\n`).end(),
    new TypeError('no connection'),
    new Stream({ status: 502, type: 'text/html' }).end(),
    new Stream({ type: 'text/html' }).say('<h1>Log in</h1>').end(),
    second,
  ]);
  second.say('id: 2\ndata: 4b\n\n');
  await until(() => log.includes('4b'));
  assert.deepEqual(log, [open, '4a', '4b']);
  assert.deepEqual(asked, [null, '1', '1', '1', '1']);
});

for (const [status, said] of [[204, 'HTTP 204'], [400, 'HTTP 400: Session ID unknown']]) {
  test(`${status} ends the session`, async (t) => {
    const last = new Stream({ status: 200 });
    last.response = new Response(status === 204 ? null : '{"code":1,"message":"Session ID unknown"}', { status });
    const { log, asked, transport } = make(t, [new Stream().say(`id: 0\ndata: ${open}\n\n`).end(), last]);
    await until(() => log.length === 2);
    assert.deepEqual(log, [open, `transport error: ${said}`]);
    assert.deepEqual([asked.length, transport.closed], [2, true]);
  });
}

test('before there is a session, any failure means that it cannot open', async (t) => {
  for (const [answer, said] of [
    [new TypeError('refused'), 'refused'],
    [new Stream({ status: 503 }).say('no').end(), 'HTTP 503'],
    [new Stream({ type: 'text/html' }).end(), 'no event stream'],
    [new Stream().say(':\n\n').end(), 'the stream has no OPEN packet'],
    [new Stream().say('id: 0\ndata: 0{').cut(), 'cut'],
  ]) {
    const { log, asked } = make(t, [answer]);
    await until(() => log.length === 1);
    assert.deepEqual([log, asked.length], [[`transport error: ${said}`], 1]);
  }
});

test('a long session keeps nothing of its earlier streams', async (t) => {
  const streams = Array.from({ length: 6 }, (_, i) => new Stream().say(`id: ${i}\ndata: ${i ? '4a' : open}\n\n`));
  for (const stream of streams.slice(0, -1)) stream.end();
  const { transport, log } = make(t, streams);
  await until(() => log.length === 6);
  assert.equal(getEventListeners(transport.signal, 'abort').length, 1, 'that of the present stream');
});

test('five streams in a row without an event end the session', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const empty = () => new Stream().say(':\n\nid: 1\nda').end();
  const full = (id) => new Stream().say(`id: ${id}\ndata: 4${id}\n\nid`).end();
  const { log, asked } = make(t, [
    new Stream().say(`id: 0\ndata: ${open}\n\n`).end(), empty(), empty(), empty(), empty(), full(1), new TypeError('no connection'), empty(), empty(), empty(), empty(), empty(), full(2),
  ]);
  for (let i = 0; i < 400 && log.length < 3; i++) {
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    t.mock.timers.tick(100);
  }
  assert.deepEqual(log, [open, '41', 'transport error: each stream is cut before its first event']);
  assert.deepEqual(asked, [null, '0', '0', '0', '0', '0', '1', '1', '1', '1', '1', '1']);
});

test('pausing waits for the last event and for POSTs, and then drops the stream', async (t) => {
  const first = new Stream().say(`id: 0\ndata: ${open}\n\n`), second = new Stream(), third = new Stream();
  const { transport, log, asked, posts } = make(t, [first, second, third]);
  await until(() => log.length === 1);
  transport.send(['4up']);
  let paused = false;
  const pausing = transport.pause().then(() => { paused = true; });
  first.say('id: 1\ndata: 4a\n\n').cut();
  await until(() => asked.length === 2);
  second.say('id: 2\ndata: 4b\n\nid: 3\ndata: 6\n\n');
  await until(() => second.given);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(paused, false, 'before the POST is answered');
  posts[0].answer();
  await pausing;
  assert.deepEqual(log, [open, '4a', '4b', '6', 'drain']);
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(asked.length, 2, 'it is not asked for again');

  transport.resume();
  await until(() => asked.length === 3);
  third.say('id: 4\ndata: 4c\n\n');
  await until(() => log.includes('4c'));
  assert.deepEqual(asked, [null, '1', '3']);
});

test('pausing after the last event has come', async (t) => {
  const first = new Stream().say(`id: 0\ndata: ${open}\n\nid: 1\ndata: 6\n\n`);
  const { transport, log } = make(t, [first]);
  await until(() => log.length === 2);
  await transport.pause();
  assert.equal(first.given, true);
});

test('a stream continues after a last event without a pause, and after an abandoned pause', async (t) => {
  const first = new Stream().say(`id: 0\ndata: ${open}\n\nid: 1\ndata: 6\n\nid: 2\ndata: 4a\n\n`);
  const { transport, log, asked } = make(t, [first]);
  await until(() => log.length === 3);
  let paused = false;
  transport.pause().then(() => { paused = true; });
  transport.resume();
  first.say('id: 3\ndata: 6\n\nid: 4\ndata: 4b\n\n');
  await until(() => log.length === 5);
  assert.deepEqual([log, asked, first.given, paused], [[open, '6', '4a', '6', '4b'], [null], false, false]);
});

test('a stream that falls silent or does not come is requested again', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const turn = async () => { for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve)); };
  const silent = new Stream().say(`id: 0\ndata: ${open}\n\n`), late = new Stream(), third = new Stream();
  const { log, asked } = make(t, [silent, late, third]);
  await turn();
  t.mock.timers.tick(34_900); // the client gives up after 35 s: a ping is due after 25 s
  await turn();
  assert.equal(silent.given, false);
  t.mock.timers.tick(100);
  await turn();
  assert.equal(silent.given, true);
  t.mock.timers.tick(150); // the wait before the next attempt
  await turn();
  assert.equal(asked.length, 2);
  t.mock.timers.tick(5000);
  await turn();
  assert.equal(late.given, true);
  t.mock.timers.tick(300);
  await turn();
  third.say('id: 1\ndata: 4a\n\n');
  await turn();
  assert.deepEqual([log, asked], [[open, '4a'], [null, '0', '0']]);
});

test('a POST that fails ends the session and is not repeated', async (t) => {
  const stream = new Stream().say(`id: 0\ndata: ${open}\n\n`);
  const { transport, log, posts } = make(t, [stream]);
  await until(() => log.length === 1);
  transport.send(['4a']);
  await until(() => posts.length === 1);
  posts[0].answer(502);
  await until(() => log.length === 2);
  assert.deepEqual([log[1], posts.length, stream.given], ['transport error: HTTP 502', 1, true]);
});

test('an unreadable packet ends the session', async (t) => {
  const { log } = make(t, [new Stream().say(`id: 0\ndata: ${open}\n\nid: 1\nevent: json\ndata: "4\n\n`)]);
  await until(() => log.length === 2);
  assert.match(log[1], /^transport error: .*JSON/);
});

test('closing: at once, or politely after the last packets and the CLOSE', async (t) => {
  const stream = new Stream().say(`id: 0\ndata: ${open}\n\n`);
  const { transport, log, posts } = make(t, [stream]);
  await until(() => log.length === 1);
  transport.send(['4last']);
  transport.close(true);
  await until(() => posts.length === 1);
  posts[0].answer();
  await until(() => posts.length === 2);
  assert.deepEqual([posts.map(({ body }) => body), stream.given], [['4last', '1'], false]);
  posts[1].answer();
  await until(() => stream.given);

  const other = new Stream().say(`id: 0\ndata: ${open}\n\n`);
  const second = make(t, [other]);
  await until(() => second.log.length === 1);
  second.transport.close(false);
  assert.deepEqual([other.given, second.posts.length, second.log], [true, 0, [open]]);
});
