// The clients' side of the tests of transports. It runs in Node.js and in pages, so it uses nothing of
// Node.js. "official" is the official client with our transport classes, "stock" is the official client
// with its own, and "own" is parley.js.
import { connect, PollingTransport, SSETransport, WebSocketTransport } from '../js/parley.js';
import { allForSocketIO, JSONPTransport, WebTransportTransport } from '../js/transports.js';

const classes = {
  webtransport: WebTransportTransport, websocket: WebSocketTransport, sse: SSETransport, polling: PollingTransport, jsonp: JSONPTransport,
};

const PATIENCE = 120_000; // the same as in harness.mjs

/**
 * Begins to connect. kinds lists the transports in order. Each has PATIENCE to open, or the ms that
 * `brief` has for its kind. hash is the hash of WebTransport's certificate, in base64. more has further
 * options for the client. io is the official client.
 */
export function dial({ client, url, kinds, brief = {}, upgrade = false, hash, more = {} }, { io = globalThis.io, WebSocket } = {}) {
  const timeout = (kind) => brief[kind] ?? PATIENCE;
  const options = hash ? { serverCertificateHashes: [{ algorithm: 'sha-256', value: Uint8Array.from(atob(hash), (c) => c.charCodeAt(0)) }] } : {};
  if (client === 'own') {
    const socket = connect(url, {
      transports: kinds.map((kind) => ({ transport: classes[kind], timeout: timeout(kind), options })),
      upgrade, reconnection: { delay: 20, max: 100 }, ...WebSocket && { WebSocket }, ...more,
    });
    return { socket, transport: () => socket.transport, close: () => socket.close() };
  }
  const ours = client === 'official' && {
    transportImplementations: allForSocketIO(kinds.map((kind) => [classes[kind], { timeout: timeout(kind), ...WebSocket && { WebSocket }, ...options }])),
    tryAllTransports: true, upgrade,
  };
  const socket = io(url, { forceNew: true, timeout: kinds ? kinds.length * PATIENCE : PATIENCE, reconnectionDelay: 20, reconnectionDelayMax: 100, ...ours, ...more });
  return { socket, transport: () => socket.io.engine.transport.name, close: () => socket.disconnect() };
}

const within = (ms, what, promise) => {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`no ${what} within ${ms} ms`)), ms); });
  timer.unref?.(); // so that Node.js can exit while the timer runs
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

/** Resolves with the arguments of the next such event. */
export const next = ({ socket }, event) => within(PATIENCE, event, new Promise((resolve) => { socket.once(event, (...args) => resolve(args)); }));

/** Resolves with the arguments of the acknowledgement. */
export const ask = ({ socket }, event, ...args) => within(PATIENCE, `answer to ${event}`, new Promise((resolve) => { socket.emit(event, ...args, (...answer) => resolve(answer)); }));

/** Resolves when the transport is of this kind. */
export async function arrived(client, kind) {
  const end = Date.now() + PATIENCE;
  while (!client.socket.connected || client.transport() !== kind) {
    if (Date.now() > end) throw new Error(`${client.transport()} and not ${kind} after ${PATIENCE} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// Replaces bytes by numbers, so that the tests can compare data as JSON.
const plain = (value) => {
  if (value instanceof ArrayBuffer) return ['bytes', ...new Uint8Array(value)];
  if (ArrayBuffer.isView(value)) return ['bytes', ...new Uint8Array(value.buffer, value.byteOffset, value.byteLength)];
  if (Array.isArray(value)) return value.map(plain);
  return value && typeof value === 'object' ? Object.fromEntries(Object.entries(value).map(([key, v]) => [key, plain(v)])) : value;
};
const same = (a, b) => JSON.stringify(plain(a)) === JSON.stringify(plain(b));

// Clients of Socket.IO 2 treat a view as binary only if there is also an ArrayBuffer. So this returns an ArrayBuffer.
const bytes = (...values) => new Uint8Array(values).buffer;

const text = 'é€😀𝒳\u2028\u2029\r\n\r\\n\\\\n\n\n"</script>&+%\u0000\ufeff ';

/**
 * Sends events, acknowledgements and binary in both directions. Resolves with the faults. much: also send more
 * than fits in one POST, which older clients cannot do. empty: also send empty binary data; see docs/proxies.md.
 */
export async function converse(client, { much = true, empty = true } = {}) {
  const faults = [];
  const check = (what, ok) => { if (!ok) faults.push(what); };
  const large = Uint8Array.from({ length: 70_000 }, (_, i) => i * 7);
  const cases = [
    [text], [text.repeat(700)], [], [1, null, true, { a: [text] }],
    [bytes(0, 4, 30, 255)], [empty ? bytes() : bytes(1), 'empty'], [large, text, { deep: [large.buffer] }],
  ];
  for (const [i, args] of cases.entries()) {
    const back = next(client, 'message-back');
    client.socket.emit('message', ...args);
    check(`echo of case ${i}`, same(await back, args));
    check(`acknowledgement of case ${i}`, same(await ask(client, 'message-with-ack', ...args), args));
  }
  client.socket.once('question', (q, answer) => answer(q, text));
  check('question', same(await ask(client, 'ask', PATIENCE, bytes(9)), [bytes(9), text]));
  if (globalThis.Blob && client.socket.io) { // parley.js does not accept Blobs
    check('blob', same(await ask(client, 'message-with-ack', new Blob(['é'])), [bytes(0xc3, 0xa9)]));
  }
  if (!much) return faults;
  // Send 3 MB; maxPayload is 1 MB.
  const part = `${Math.random()}`.padEnd(100_000, 'x');
  const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => ask(client, 'nth', 1, part + i)));
  check('large', answers.every(([times]) => times === 1));
  return faults;
}

/**
 * Sends `count` messages in each direction, one every `every` ms. Resolves with the faults: lost, duplicate
 * or reordered messages.
 */
export async function traffic(client, count = 200, every = 2) {
  const faults = [];
  const ticks = [], backs = [];
  const tick = (n) => ticks.push(n);
  const back = (n, data) => { backs.push(n); if (n % 5 === 0 && !same(data, bytes(n & 255))) faults.push(`bytes of ${n}`); };
  client.socket.on('tick', tick).on('message-back', back);
  const streamed = ask(client, 'stream', { count, every: every * 1000 });
  for (let n = 0; n < count; n++) {
    if (n % 5 === 0) client.socket.emit('message', n, bytes(n & 255));
    else client.socket.emit('message', n);
    if (every) await new Promise((resolve) => setTimeout(resolve, every));
  }
  await within(PATIENCE, 'end of the traffic', Promise.all([streamed, ask(client, 'message-with-ack')]));
  const all = JSON.stringify(Array.from({ length: count }, (_, n) => n));
  if (JSON.stringify(ticks) !== all) faults.push(`down: ${ticks.length} of ${count}: ${ticks}`);
  if (JSON.stringify(backs) !== all) faults.push(`up and down: ${backs.length} of ${count}: ${backs}`);
  client.socket.off('tick', tick).off('message-back', back);
  return faults;
}

/** Does all of that with an official client of any generation. It must end up with this kind of transport. */
export async function generation({ dial, arrived, converse, traffic, ask }, { kind, empty, ...options }) {
  const client = dial({ client: 'stock', ...options });
  await arrived(client, kind);
  const faults = [...await converse(client, { much: false, empty }), ...await traffic(client, 100)];
  const [{ transport }] = await ask(client, 'whoami');
  if (transport !== kind) faults.push(`the server says ${transport}`);
  client.close();
  return faults;
}
