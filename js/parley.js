/**
 * A Socket.IO v5 client in one file: no dependencies, no build step, for browsers and Node 20+.
 *
 *   import { connect } from '/parley.js';
 *   const client = connect('https://chat.example', { auth: { token } });
 *   client.on('news', (item) => …);
 *   const sum = await client.request('sum', { a: 1, b: 2 }); // rejects if the server refuses
 *
 * It has three layers, from the bottom up. Transports carry Engine.IO packets: a string that starts
 * with its type digit, or an ArrayBuffer. A Session is one Engine.IO session. It opens the first
 * transport that works, upgrades it and watches the heartbeat. A Client is one Socket.IO namespace. It
 * outlives its sessions: it reconnects, buffers and acknowledges. The types are in parley.d.ts. To
 * join the rooms of a Parley server, use room.js.
 */

/**
 * Every error of this module. `code` is timeout, disconnected, closed, buffer_full, too_large, transport or refused.
 * If the server refuses an event, `code` is the server's own.
 */
export class ParleyError extends Error {
  constructor(code, message, data) {
    super(message);
    this.name = 'ParleyError';
    this.code = code;
    this.data = data;
  }
}

/** Converts an acknowledgement to an error if it is {error: {code, message, data}} and nothing else. Returns undefined for a result. */
function refusedWith([answer, ...more]) {
  const error = answer?.error;
  if (more.length > 0 || typeof error?.code !== 'string' || typeof error.message !== 'string' || Object.keys(answer).length !== 1) return undefined;
  return new ParleyError(error.code, error.message, error.data);
}

// ---------------------------------------------------------------- Socket.IO packets

const CONNECT = 0, DISCONNECT = 1, EVENT = 2, ACK = 3, CONNECT_ERROR = 4, BINARY_EVENT = 5, BINARY_ACK = 6;

const RESERVED = new Set(['connect', 'connect_error', 'disconnect', 'disconnecting', 'reconnecting', 'newListener', 'removeListener']);

/** Returns the packet's parts: its text, then copies of its attachments. The caller may reuse its buffers. */
export function encode({ type, nsp = '/', id, data }) {
  const attachments = [];
  const json = data === undefined ? '' : JSON.stringify(data, function (key, value) {
    const raw = this[key]; // value is already the result of toJSON, which Node's Buffer has
    if (typeof Blob === 'function' && raw instanceof Blob) throw new TypeError('send await blob.arrayBuffer() instead of a Blob');
    if (ArrayBuffer.isView(raw)) attachments.push(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength));
    else if (raw instanceof ArrayBuffer) attachments.push(raw.slice(0));
    else return value;
    return { _placeholder: true, num: attachments.length - 1 };
  });
  const count = attachments.length;
  const kind = count === 0 ? type : type === EVENT ? BINARY_EVENT : BINARY_ACK;
  return [`${kind}${count ? `${count}-` : ''}${nsp === '/' ? '' : `${nsp},`}${id ?? ''}${json}`, ...attachments];
}

const HEADER = /^([0-6])(?:(\d+)-)?(?:(\/[^,]*)(?:,|$))?(\d+)?/;

/** Reassembles packets. `add` takes a part and returns the packet that it completes, or null. It throws if it cannot read the part. */
export class Decoder {
  #header = null;
  #json = '';
  #missing = 0;
  #attachments = [];

  add(part) {
    if (typeof part === 'string') {
      if (this.#missing > 0) throw new Error('text while attachments are awaited');
      const match = HEADER.exec(part);
      if (!match) throw new Error('unknown packet type');
      const [head, type, count, nsp = '/', id] = match;
      if ((Number(type) >= BINARY_EVENT) !== (count !== undefined)) throw new Error('bad attachment count');
      this.#header = { type: Number(type), nsp, id: id === undefined ? undefined : Number(id) };
      this.#json = part.slice(head.length);
      this.#missing = Number(count ?? 0);
      this.#attachments = [];
    } else {
      if (this.#missing === 0) throw new Error('unexpected attachment');
      this.#attachments.push(part);
      this.#missing--;
    }
    return this.#missing > 0 ? null : this.#finish();
  }

  #finish() {
    const packet = this.#header;
    const attachments = this.#attachments;
    const revive = (key, value) => {
      if (value?._placeholder !== true) return value;
      if (!Number.isInteger(value.num) || !(value.num in attachments)) throw new Error('no such attachment');
      return attachments[value.num];
    };
    if (this.#json) packet.data = JSON.parse(this.#json, attachments.length ? revive : undefined);
    if (packet.type >= BINARY_EVENT) packet.type -= 3;
    const { type, data } = packet;
    const valid = type === EVENT ? Array.isArray(data) && /string|number/.test(typeof data[0])
      : type === ACK ? Array.isArray(data) && packet.id !== undefined
      : type === CONNECT ? data === undefined || (data !== null && typeof data === 'object')
      : true;
    if (!valid) throw new Error('bad packet');
    return packet;
  }
}

// ---------------------------------------------------------------- Engine.IO transports

// A transport is a class. Its static `kind` is its name in URLs and in the `transports` option. Its
// static `base64` is true if it writes binary packets as base64. The session calls `new T(context, events)`:
//   context  {url(protocol), handshake, maxPayload, WebSocket, fetch, options}. url() adds the session id
//            once there is one. handshake is the content of the server's OPEN packet, and null before it
//   events   {open(), packet(packet), drain(), close(reason, error)}. The transport calls none of them after
//            close. error.clean is true if the server closed the transport properly
// and these members of the instance:
//   open()          begins to open. It throws, or calls events.close, if it cannot. A transport that others
//                   can upgrade to calls events.open once it is writable
//   send(packets)   is called while `writable`, and once before a polite close. The transport calls
//                   events.drain when it is writable again
//   close(polite)   releases everything. If polite, it first finishes sending and tells the server
//   congested       optional: true if the client should drop volatile events
//   pause(), resume()  only for transports that can be upgraded from. pause resolves once nothing is in
//                   flight in either direction and the transport has reported all packets that came

/** Engine.IO packets as WebSocket messages. */
export class WebSocketTransport {
  static kind = 'websocket';
  writable = false;
  #context;
  #events;
  #socket = null;

  constructor(context, events) {
    this.#context = context;
    this.#events = events;
  }

  open() {
    const { WebSocket } = this.#context;
    if (!WebSocket) throw new Error('no WebSocket here');
    const socket = this.#socket = new WebSocket(this.#context.url('ws'));
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => { this.writable = true; this.#events.open(); };
    socket.onmessage = (event) => this.#events.packet(event.data);
    socket.onerror = (event) => this.#end('transport error', event.message || 'connection failed');
    socket.onclose = (event) => this.#end('transport close', `closed, code ${event.code}`, event.wasClean);
  }

  get congested() {
    return this.#socket.bufferedAmount > 65536;
  }

  send(packets) {
    for (const packet of packets) this.#socket.send(packet);
    this.#events.drain();
  }

  close() {
    const socket = this.#socket;
    if (!socket) return;
    this.writable = false;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {}; // without a listener, npm's ws throws the error
    socket.close();
  }

  #end(reason, message, clean = false) {
    this.close();
    this.#events.close(reason, Object.assign(new Error(message), { clean }));
  }
}

const SEPARATOR = '\x1e';

const toBase64 = (buffer) => {
  const bytes = new Uint8Array(buffer);
  let text = '';
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
};
export const fromBase64 = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer;

/** The size of a packet in bytes, in a POST (base64) or in a WebSocket message. */
const packetBytes = (packet, base64) => typeof packet !== 'string'
  ? (base64 ? 1 + 4 * Math.ceil(packet.byteLength / 3) : packet.byteLength)
  : new TextEncoder().encode(packet).length;

/**
 * The common part of transports over HTTP. It sends the client's packets in one POST at a time. A
 * subclass implements receive(), which reports the server's packets until `paused` or `closed`.
 */
export class HTTPTransport {
  static base64 = true;
  writable = false;
  paused = false;
  closed = false;
  context;
  events;
  #abort = new AbortController();
  #receiving = null;
  #posting = Promise.resolve();

  constructor(context, events) {
    this.context = context;
    this.events = events;
  }

  get signal() { return this.#abort.signal; }

  open() {
    if (!this.context.fetch) throw new Error('no fetch here');
    this.begin();
  }

  begin() {
    this.writable = true; // a POST needs the session id, but the session sends nothing before it has one
    this.resume();
  }

  resume() {
    this.paused = false;
    // A second GET during the first one would end the session.
    this.#receiving ??= this.receive().catch((error) => this.#fail(error)).then(() => {
      this.#receiving = null;
      if (!this.paused && !this.closed) this.resume();
    });
  }

  pause() {
    this.paused = true;
    return Promise.all([this.#receiving, this.#posting]);
  }

  send(packets) {
    this.writable = false;
    this.#posting = this.#posting.then(() => this.#post(packets)).then(() => {
      if (this.closed) return;
      this.writable = true;
      this.events.drain();
    }, (error) => this.#fail(error));
  }

  close(polite) {
    if (this.closed) return;
    this.closed = true;
    this.writable = false;
    if (!polite) return this.#abort.abort();
    // Aborting the GET first would end the session before the server reads the last POST.
    const timer = setTimeout(() => this.#abort.abort(), 2000);
    this.#posting.then(() => this.#post(['1'])).catch(() => {}).then(() => {
      clearTimeout(timer);
      this.#abort.abort();
    });
  }

  /** Decodes a packet from its HTTP form and reports it. */
  packet(text) {
    this.events.packet(text[0] === 'b' ? fromBase64(text.slice(1)) : text);
  }

  /** Makes a request and resolves with the response, whatever its status. */
  fetch(method, { url = this.context.url('http'), signal = this.signal, body } = {}) {
    return this.context.fetch(url, {
      method, body, cache: 'no-store', signal,
      headers: body === undefined ? {} : { 'Content-Type': 'text/plain;charset=UTF-8' },
    });
  }

  /** Makes a request and resolves with the response's text. Rejects unless the status is 200. */
  async request(method, body) {
    const response = await this.fetch(method, { body });
    if (response.status !== 200) throw await refusal(response);
    return response.text();
  }

  async #post(packets) {
    let batch = [], size = 0;
    for (const packet of packets) {
      const bytes = packetBytes(packet, true) + 1; // with the separator
      if (batch.length > 0 && size + bytes > this.context.maxPayload) {
        await this.request('POST', batch.join(SEPARATOR));
        batch = [];
        size = 0;
      }
      batch.push(typeof packet === 'string' ? packet : `b${toBase64(packet)}`);
      size += bytes;
    }
    await this.request('POST', batch.join(SEPARATOR));
  }

  #fail(error) {
    if (this.closed) return;
    this.close(false);
    this.events.close('transport error', error);
  }
}

/** Makes an error from a response with a bad status. */
async function refusal(response) {
  let said = '';
  try { said = `: ${JSON.parse(await response.text()).message}`; } catch { /* not Engine.IO's JSON; from a proxy, for example */ }
  return new Error(`HTTP ${response.status}${said}`);
}

/** Engine.IO packets in HTTP requests. One GET hangs until the server has packets to send. */
export class PollingTransport extends HTTPTransport {
  static kind = 'polling';

  async receive() {
    while (!this.paused && !this.closed) {
      const payload = await this.request('GET');
      for (const packet of payload.split(SEPARATOR)) {
        if (this.closed) return;
        this.packet(packet);
      }
    }
  }
}

/** Yields the events of an event stream. It parses them as the HTML Standard says, but ignores retry. */
async function* eventsOf(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = '', id = '', name = '', data = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return; // drops an incomplete event
    const lines = (text + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/);
    text = lines.pop();
    for (const line of lines) {
      const [, field, value] = /^([^:]*)(?:: ?)?(.*)$/s.exec(line);
      if (line === '') {
        if (data.length > 0) yield { id, name, data: data.join('\n') };
        name = '';
        data = [];
      } else if (field === 'data') data.push(value);
      else if (field === 'event') name = value;
      else if (field === 'id' && !value.includes('\0')) id = value;
    }
  }
}

/** Resolves after ms, or as soon as the signal aborts. */
const sleep = (ms, signal) => new Promise((resolve) => {
  const end = () => {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
    resolve();
  };
  const timer = setTimeout(end, ms);
  signal.addEventListener('abort', end);
});

/**
 * Engine.IO packets in an event stream. If the stream is cut, ends or falls silent, the transport
 * requests another one that continues after the last event received. It does so until the session ends.
 *
 * It uses fetch, not EventSource. Node 20 has no EventSource. And EventSource hides the response's
 * status, so the end of a session would look like a temporary failure of a proxy.
 */
export class SSETransport extends HTTPTransport {
  static kind = 'sse';
  #stream; // an AbortController
  #lastId = '';
  #complete = false; // the server has said that this stream contains nothing more
  #attempt = 0; // attempts to get a stream since the last event
  #fruitless = 0; // streams opened since the last event

  pause() {
    const paused = super.pause();
    if (this.#complete) this.#stream.abort();
    return paused;
  }

  get #done() { return this.closed || (this.paused && this.#complete); }

  async receive() {
    do {
      try {
        await this.#read();
        if (!this.context.handshake) throw new Error('the stream has no OPEN packet');
      } catch (error) {
        if (error.final || !this.context.handshake) throw error;
      }
      if (this.#done) return;
      if (this.#fruitless === FRUITLESS) throw new Error('each stream is cut before its first event');
      await sleep(backoff(this.#attempt++, { delay: 100, max: 3000 }), this.signal);
    } while (!this.closed);
  }

  async #read() {
    const stream = this.#stream = new AbortController();
    const abort = () => stream.abort();
    this.signal.addEventListener('abort', abort, { once: true });
    let timer;
    const watch = (ms) => { clearTimeout(timer); timer = setTimeout(abort, ms); };
    try {
      this.#complete = false;
      const url = new URL(this.context.url('http'));
      if (this.#lastId) url.searchParams.set('lastEventId', this.#lastId); // the header would cost a preflight
      if (this.context.handshake) watch(REOPEN_MS);
      const response = await this.fetch('GET', { url: url.href, signal: stream.signal });
      if (response.status !== 200) throw Object.assign(await refusal(response), { final: response.status < 500 && response.status !== 429 });
      if (!response.headers.get('Content-Type')?.startsWith('text/event-stream')) throw new Error('no event stream');
      this.#fruitless++;
      for await (const { id, name, data } of eventsOf(response.body)) {
        try {
          const packet = name === 'json' ? JSON.parse(data) : data;
          this.#complete = packet === '6';
          this.packet(packet);
        } catch (error) {
          throw Object.assign(error, { final: true }); // another stream would repeat the same event
        }
        this.#lastId = id;
        this.#attempt = this.#fruitless = 0;
        if (this.#done) return;
        const { pingInterval, pingTimeout } = this.context.handshake;
        watch(pingInterval + pingTimeout / 2); // a connection can die silently
      }
    } finally {
      clearTimeout(timer);
      this.signal.removeEventListener('abort', abort);
      abort();
    }
  }
}

/** How long to wait for the first event after requesting another stream. */
const REOPEN_MS = 5000;

/** After so many streams in a row without an event, the transport gives up. */
const FRUITLESS = 5;

const BUILT_IN = { websocket: WebSocketTransport, sse: SSETransport, polling: PollingTransport };

// ---------------------------------------------------------------- Engine.IO session

/** One Engine.IO v4 session. After close() or events.close() it is dead and calls nothing. */
class Session {
  sid = '';
  maxPayload = Infinity;
  #config; // {url, query, transports: [{Transport, timeout, options, avoided}], upgrade, WebSocket, fetch}
  #handshake = null;
  #events; // {open(), message(part), close(reason, error)}
  #transport = null; // the one in use; while opening, the one being tried
  #probe = null; // the transport to upgrade to
  #opened = 0; // the time when the session opened
  #closed = false;
  #upgrading = false; // true from the probe's answer to the switch; nothing is sent meanwhile
  #queue = [];
  #openTimer;
  #probeTimer;
  #pingTimer;
  #patience = Infinity;
  #deadline = Infinity;

  constructor(config, events) {
    this.#config = config;
    this.#events = events;
  }

  get kind() { return this.#transport.constructor.kind; }
  /** How long the session has been open, in ms; undefined if it has not opened. */
  get age() { return this.#opened ? Date.now() - this.#opened : undefined; }
  get congested() {
    return this.#queue.length > 0 || this.#upgrading || (this.#transport.congested ?? !this.#transport.writable);
  }

  /** Tries the transports in order. A transport is open once the server's OPEN packet has come. */
  open(untried = this.#config.transports, failures = []) {
    const [entry, ...rest] = untried;
    if (!entry) return this.#end('transport error', new ParleyError('transport', `no transport could open (${failures.join('; ')})`));
    const fail = (reason, error) => {
      if (this.#closed || this.#transport !== transport) return;
      clearTimeout(this.#openTimer);
      transport.close(false);
      this.open(rest, [...failures, `${entry.Transport.kind}: ${error.message}`]);
    };
    const [transport, events] = this.#make(entry);
    this.#transport = transport;
    this.#openTimer = setTimeout(() => fail('', new Error('timeout')), entry.timeout);
    events.close = fail;
    events.packet = (packet) => {
      let handshake;
      try {
        if (packet[0] !== '0') throw new Error('no OPEN packet');
        handshake = JSON.parse(packet.slice(1));
        this.#patience = handshake.pingInterval + handshake.pingTimeout;
        if (!handshake.sid || !(this.#patience > 0)) throw new Error('bad OPEN packet');
      } catch (error) {
        return fail('', error);
      }
      clearTimeout(this.#openTimer);
      this.#handshake = handshake;
      this.sid = handshake.sid;
      this.maxPayload = handshake.maxPayload ?? Infinity;
      this.#opened = Date.now();
      this.#use(transport, events);
      this.#expectPing();
      this.#events.open();
      // The transports before this one in the list have just failed, so only later ones are upgrades.
      const better = this.#config.upgrade && transport.pause && rest.find((e) => !e.avoided && handshake.upgrades?.includes(e.Transport.kind));
      if (better && !this.#closed) this.#upgrade(better);
    };
    try { transport.open(); } catch (error) { fail('', error); }
  }

  /** Queues one packet's parts and returns null. Otherwise it returns 'too_large', or 'expired' if the peer has been silent too long. */
  send(parts) {
    // Timers stop while the machine sleeps. After it wakes, this may run before the ping timer fires.
    if (Date.now() > this.#deadline) {
      setTimeout(() => this.#end('ping timeout'));
      return 'expired';
    }
    const packets = parts.map((part) => (typeof part === 'string' ? `4${part}` : part));
    const { base64 } = this.#transport.constructor;
    const tooLarge = (packet) => (packet.length ?? packet.byteLength) * 3 > this.maxPayload && packetBytes(packet, base64) > this.maxPayload;
    if (packets.some(tooLarge)) return 'too_large';
    this.#queue.push(...packets);
    this.#flush();
    return null;
  }

  close() {
    if (this.#closed) return;
    this.#silence();
    const polite = this.#opened > 0;
    if (polite && this.#queue.length) this.#transport.send(this.#queue);
    this.#transport?.close(polite);
  }

  #make({ Transport, options = {} }) {
    const session = this, { WebSocket, fetch } = this.#config;
    const context = {
      WebSocket, fetch, options,
      get handshake() { return session.#handshake; },
      get maxPayload() { return session.maxPayload; },
      url(protocol) {
        const url = new URL(session.#config.url);
        url.protocol = protocol + (/^(https|wss):$/.test(url.protocol) ? 's' : '');
        const params = { ...session.#config.query, EIO: '4', transport: Transport.kind, ...(session.sid && { sid: session.sid }) };
        for (const [key, value] of Object.entries(params)) url.searchParams.set(key, value);
        return url.href;
      },
    };
    const events = { open() {}, packet() {}, drain() {}, close() {} };
    return [new Transport(context, events), events];
  }

  #use(transport, events) {
    this.#transport = transport;
    events.packet = (packet) => this.#receive(packet);
    events.drain = () => this.#flush();
    events.close = (reason, error) => this.#end(reason, error);
  }

  #receive(packet) {
    if (this.#closed) return;
    if (typeof packet !== 'string') return this.#events.message(packet);
    switch (packet[0]) {
      case '4': return this.#events.message(packet.slice(1));
      case '2': this.#expectPing(); this.#queue.push('3'); return this.#flush();
      case '1': return this.#end('transport close', Object.assign(new Error('closed by the server'), { clean: true }));
    }
  }

  #flush() {
    if (this.#closed || this.#upgrading || !this.#transport.writable || this.#queue.length === 0) return;
    const packets = this.#queue;
    this.#queue = [];
    this.#transport.send(packets);
  }

  #expectPing() {
    clearTimeout(this.#pingTimer);
    this.#pingTimer = setTimeout(() => this.#end('ping timeout'), this.#patience);
    this.#deadline = Date.now() + this.#patience;
  }

  // Upgrades to another transport. The client sends 2probe over it, and the server answers 3probe. Then
  // the client pauses the old transport, and the server answers the hanging GET with a noop. Then the
  // client sends 5, and the server switches to the new transport. Until then, both sides keep new packets
  // in their queues, so that none is lost or reordered.
  #upgrade({ timeout, ...entry }) {
    const old = this.#transport;
    const [probe, events] = this.#make(entry);
    this.#probe = probe;
    const abandon = () => {
      if (this.#probe !== probe) return;
      this.#probe = null;
      clearTimeout(this.#probeTimer);
      probe.close(false);
      if (!this.#upgrading) return;
      this.#upgrading = false;
      old.resume();
      this.#flush();
    };
    this.#probeTimer = setTimeout(abandon, timeout);
    events.open = () => probe.send(['2probe']);
    events.close = abandon;
    events.packet = async (packet) => {
      if (packet !== '3probe' || this.#upgrading) return abandon();
      this.#upgrading = true;
      await old.pause();
      if (this.#probe !== probe) return;
      clearTimeout(this.#probeTimer);
      this.#probe = null;
      this.#use(probe, events);
      probe.send(['5']);
      this.#upgrading = false;
      this.#flush();
    };
    try { probe.open(); } catch { abandon(); }
  }

  #silence() {
    this.#closed = true;
    for (const timer of [this.#openTimer, this.#probeTimer, this.#pingTimer]) clearTimeout(timer);
    this.#probe?.close(false);
    this.#probe = null;
  }

  #end(reason, error) {
    if (this.#closed) return;
    this.#silence();
    this.#transport?.close(false);
    this.#events.close(reason, error);
  }
}

// ---------------------------------------------------------------- Socket.IO client

/**
 * The wait before attempt n (from 0), in ms: exponential, spread by ±jitter, and never above max. The
 * base stays below max, so that max does not cut the spread. So the clients of a lost server do not
 * all come back at the same time.
 */
export function backoff(attempt, { delay = 1000, max = 5000, jitter = 0.5 } = {}, random = Math.random) {
  const base = Math.min(max / (1 + jitter), delay * 2 ** attempt);
  return Math.round(base * (1 + jitter * (2 * random() - 1)));
}

/** Calls the application's listener. If it throws, the error is reported as uncaught and the client goes on. */
function call(listener, args) {
  try {
    listener(...args);
  } catch (error) {
    if (globalThis.reportError) reportError(error);
    else setTimeout(() => { throw error; }); // Node
  }
}

/** How long the client tries the transport that worked first, and those that were cut last. */
const REMEMBERED_MS = 600_000;

/** The client tries a transport last if it opens and is cut before this age, twice in a row. */
const BRIEF_MS = 10_000;

/** One namespace of one server. It lives until the application closes it. connect() makes one. */
export class Client {
  #options;
  #state = 'closed';
  #session = null;
  #decoder = null;
  #listeners = new Map();
  #acks = new Map(); // id → {done(args), fail(error)}
  #nextId = 0;
  #buffer = []; // {parts, id} waiting for a connection
  #early = []; // events that came before the answer to CONNECT, as on a recovered connection
  #attempt = 0;
  #retryAt = null;
  #retryTimer;
  #joinTimer;
  #preferred = null; // the transport that worked last
  #avoided = new Set(); // transports that open and are cut
  #brief = null; // the transport that was cut last
  #learned = 0; // the time when the client began to learn these three
  #id;
  #pid;
  #offset;
  #recovered = false;

  constructor(url, {
    path = '/socket.io/', namespace = '/', auth, query = {}, transports = ['websocket', 'sse', 'polling'], upgrade = false,
    timeouts, reconnection = true, bufferSize = 1000, WebSocket = globalThis.WebSocket,
    fetch = globalThis.fetch && ((...args) => globalThis.fetch(...args)),
  } = {}) {
    this.#options = {
      url: new URL(path, url || globalThis.location?.href),
      namespace: namespace.startsWith('/') ? namespace : `/${namespace}`,
      timeouts: { open: 5000, connect: 20000, ack: 10000, ...timeouts },
      reconnection: { attempts: reconnection ? Infinity : 0, ...reconnection },
      transports: transports.map((entry) => {
        const { transport, timeout, options } = entry.transport ? entry : { transport: entry };
        const Transport = typeof transport === 'string' ? BUILT_IN[transport] : transport;
        if (!Transport) throw new TypeError(`unknown transport "${transport}"`);
        return { Transport, timeout, options };
      }),
      auth, query, upgrade, bufferSize, WebSocket, fetch,
    };
  }

  /** connecting, connected, reconnecting or closed. A closed client does nothing until you call connect(). */
  get state() { return this.#state; }
  get connected() { return this.#state === 'connected'; }
  /** While reconnecting: the time of the next attempt (as Date.now()), or null during an attempt. */
  get retryAt() { return this.#retryAt; }
  /** The kind of the transport in use, null when not connected. */
  get transport() { return this.connected ? this.#session.kind : null; }
  /** The socket id, undefined when not connected. */
  get id() { return this.#id; }
  /** True if this connection continues the last one, so that the client missed no event. */
  get recovered() { return this.#recovered; }

  on(event, listener) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, []);
    this.#listeners.get(event).push({ listener, once: false });
    return this;
  }

  once(event, listener) {
    this.on(event, listener);
    this.#listeners.get(event).at(-1).once = true;
    return this;
  }

  off(event, listener) {
    const rest = listener ? (this.#listeners.get(event) ?? []).filter((entry) => entry.listener !== listener) : [];
    this.#listeners.set(event, rest);
    return this;
  }

  /** Opens a closed client again. If the client waits for its next attempt, it makes that attempt now. */
  connect() {
    if (this.#state === 'closed') {
      this.#state = 'connecting';
      this.#attempt = 0;
      globalThis.addEventListener?.('online', this.#online);
      globalThis.addEventListener?.('offline', this.#offline);
      this.#open();
    } else if (this.#retryAt !== null) {
      clearTimeout(this.#retryTimer);
      this.#open();
    }
    return this;
  }

  /** Closes the client without reconnecting. It first sends what the connection has queued. Requests that wait for an acknowledgement fail. */
  close() {
    if (this.#state === 'closed') return this;
    if (this.connected) this.#session.send(encode({ type: DISCONNECT, nsp: this.#options.namespace }));
    this.#session?.close();
    this.#lost('io client disconnect', { final: true });
    return this;
  }

  /**
   * Sends an event. If the last argument is a function, it gets the arguments of the acknowledgement.
   * It is never called if the connection is lost; use request to learn of that. While there is no
   * connection, the event waits. Returns false if the client dropped the event, because the client is
   * closed, the buffer is full or the packet is too large.
   */
  emit(event, ...args) {
    const done = typeof args.at(-1) === 'function' ? args.pop() : null;
    return this.#send(event, args, done && { done: (answer) => call(done, answer), fail() {} }) === null;
  }

  /** Sends an event only if that is possible now. Drops it while disconnected or congested. */
  volatile(event, ...args) {
    return this.connected && !this.#session.congested && this.#send(event, args) === null;
  }

  /** Sends an event and resolves with the first argument of its acknowledgement. Rejects with a ParleyError on timeout, if the connection is lost, and if the server refuses the event. */
  request(event, ...args) {
    return this.timeout(this.#options.timeouts.ack).request(event, ...args);
  }

  /**
   * client.timeout(ms).request(…) is request with another timeout; Infinity means none.
   * client.timeout(ms).emit(…, (error, answer) => …) calls back instead. It does so before any listener
   * gets an event that the server sent after the answer. Code that awaits a request may run later.
   */
  timeout(ms) {
    const emit = (event, ...args) => {
      const back = args.pop();
      let timer;
      const ack = {
        done: (answer) => {
          clearTimeout(timer);
          const refused = refusedWith(answer);
          call(back, refused ? [refused] : [null, answer[0]]);
        },
        fail: (error) => { clearTimeout(timer); call(back, [error]); },
      };
      const refusal = this.#send(event, args, ack);
      if (refusal) return call(back, [new ParleyError(refusal, `${event} was not sent: ${refusal.replace('_', ' ')}`)]);
      if (ms === Infinity) return;
      timer = setTimeout(() => {
        this.#acks.delete(ack.id);
        this.#buffer = this.#buffer.filter(({ id }) => id !== ack.id);
        call(back, [new ParleyError('timeout', `no answer to ${event} within ${ms} ms`)]);
      }, ms);
    };
    const request = (event, ...args) => new Promise((resolve, reject) => emit(event, ...args, (error, answer) => (error ? reject(error) : resolve(answer))));
    return { emit, request };
  }

  #send(event, args, ack) {
    if (RESERVED.has(event)) throw new TypeError(`"${event}" is a reserved event name`);
    if (this.#state === 'closed') return 'closed';
    const id = ack ? this.#nextId++ : undefined;
    const parts = encode({ type: EVENT, nsp: this.#options.namespace, id, data: [event, ...args] });
    let refusal = this.connected ? this.#session.send(parts) : 'expired';
    if (refusal === 'expired') {
      refusal = this.#buffer.length < this.#options.bufferSize ? null : 'buffer_full';
      if (refusal === null) this.#buffer.push({ parts, id });
    }
    if (ack && refusal === null) {
      ack.id = id;
      this.#acks.set(id, ack);
    }
    return refusal;
  }

  #open() {
    const { timeouts, transports, url, query, upgrade, WebSocket, fetch } = this.#options;
    this.#retryAt = null;
    this.#decoder = new Decoder();
    const nothing = this.#preferred === null && this.#brief === null && this.#avoided.size === 0;
    if (nothing || Date.now() - this.#learned > REMEMBERED_MS) {
      this.#forget();
      this.#learned = Date.now();
    }
    const rank = ({ kind }) => (kind === this.#preferred ? 0 : this.#avoided.has(kind) ? 2 : 1);
    const ordered = [...transports].sort((a, b) => rank(a.Transport) - rank(b.Transport));
    // A blocked transport should fail soon, but after the last one there is no other to try.
    const timed = ordered.map(({ timeout, ...entry }, i) => ({
      ...entry, avoided: this.#avoided.has(entry.Transport.kind), timeout: timeout ?? (i < ordered.length - 1 ? timeouts.open : timeouts.connect),
    }));
    const session = this.#session = new Session({ url, query, upgrade, WebSocket, fetch, transports: timed }, {
      open: () => this.#join(session),
      message: (part) => this.#message(part),
      close: (reason, error) => {
        this.#judge(session, reason, error);
        this.#lost(reason, { error });
      },
    });
    session.open();
  }

  /** Learns from the end of a session whether the network cuts its transport. */
  #judge({ kind, age }, reason, error) {
    if (age === undefined) return;
    const brief = age < BRIEF_MS && reason !== 'ping timeout' && !error?.clean;
    if (brief && this.#brief === kind) this.#avoided.add(kind);
    this.#brief = brief ? kind : null;
  }

  #forget() {
    this.#preferred = this.#brief = null;
    this.#avoided.clear();
  }

  async #join(session) {
    const { auth, namespace, timeouts } = this.#options;
    this.#joinTimer = setTimeout(() => this.#abandon(new ParleyError('timeout', 'no answer to CONNECT')), timeouts.connect);
    try {
      const given = typeof auth === 'function' ? await auth() : auth;
      if (this.#session !== session) return;
      const data = this.#pid ? { pid: this.#pid, offset: this.#offset, ...given } : given;
      session.send(encode({ type: CONNECT, nsp: namespace, data: data ?? undefined }));
    } catch (error) {
      if (this.#session === session) this.#abandon(error);
    }
  }

  #abandon(error, reason = 'transport close') {
    this.#session.close();
    this.#lost(reason, { error });
  }

  #message(part) {
    let packet;
    try {
      packet = this.#decoder.add(part);
    } catch (error) {
      return this.#abandon(error, 'parse error');
    }
    if (packet === null || packet.nsp !== this.#options.namespace) return;
    const { type, id, data } = packet;
    switch (type) {
      case CONNECT: return this.#joined(data);
      case EVENT: return this.connected ? this.#event(data, id) : void this.#early.push([data, id]);
      case ACK: {
        const ack = this.#acks.get(id);
        this.#acks.delete(id);
        return ack?.done(data);
      }
      case DISCONNECT:
        this.#session.close();
        return this.#lost('io server disconnect', { final: true });
      case CONNECT_ERROR:
        this.#session.close();
        return this.#lost('', { final: true, error: new ParleyError('refused', data?.message ?? 'refused', data?.data) });
    }
  }

  #joined({ sid, pid } = {}) {
    if (this.connected) return;
    clearTimeout(this.#joinTimer);
    this.#id = sid;
    this.#recovered = pid !== undefined && pid === this.#pid;
    if (!this.#recovered) this.#offset = undefined; // it belongs to the earlier session
    this.#pid = pid;
    this.#state = 'connected';
    this.#attempt = 0;
    for (const [data, id] of this.#early.splice(0)) {
      this.#event(data, id);
      if (!this.connected) return; // a listener closed it
    }
    this.#fire('connect'); // first, so that what waits finds the rooms that listeners join
    if (!this.connected) return; // a listener closed it
    for (const { parts, id } of this.#buffer.splice(0)) {
      const refusal = this.#session.send(parts);
      if (refusal) this.#failAck(id, new ParleyError(refusal, refusal.replace('_', ' ')));
    }
  }

  #event([event, ...args], id) {
    if (RESERVED.has(event)) return;
    if (id !== undefined) {
      const session = this.#session;
      let answered = false;
      args.push((...answer) => {
        if (answered || this.#session !== session) return;
        answered = true;
        session.send(encode({ type: ACK, nsp: this.#options.namespace, id, data: answer }));
      });
    }
    this.#fire(event, ...args);
    if (this.#pid && typeof args.at(-1) === 'string') this.#offset = args.at(-1);
  }

  /** Handles the end of a session. final: do not reconnect. */
  #lost(reason, { error, final = false }) {
    const was = this.#state;
    clearTimeout(this.#joinTimer);
    clearTimeout(this.#retryTimer);
    if (was === 'connected') this.#preferred = this.#session.kind;
    if (this.#avoided.has(this.#preferred)) this.#preferred = null;
    this.#session = null;
    this.#id = undefined;
    this.#early = [];
    if (final) this.#pid = this.#offset = undefined; // do not resume a session that was ended on purpose
    const { reconnection } = this.#options;
    const retry = !final && this.#attempt < reconnection.attempts;
    this.#state = retry ? 'reconnecting' : 'closed';
    this.#retryAt = null;
    const wait = retry ? backoff(this.#attempt++, reconnection) : 0;
    if (retry) {
      this.#retryAt = Date.now() + wait;
      this.#retryTimer = setTimeout(() => this.#open(), wait);
    } else {
      globalThis.removeEventListener?.('online', this.#online);
      globalThis.removeEventListener?.('offline', this.#offline);
    }
    const waiting = new Set(this.#buffer.map(({ id }) => id));
    for (const id of [...this.#acks.keys()]) {
      if (!waiting.has(id)) this.#failAck(id, new ParleyError('disconnected', `the connection was lost: ${reason}`));
    }
    if (was === 'connected') this.#fire('disconnect', reason, error);
    else if (reason !== 'io client disconnect') this.#fire('connect_error', error ?? new ParleyError('transport', reason));
    if (this.#state === 'reconnecting' && this.#retryAt !== null) {
      this.#fire('reconnecting', { attempt: this.#attempt, delay: wait, at: this.#retryAt });
    } else if (this.#state === 'closed') { // no listener has called connect()
      this.#buffer = [];
      for (const id of [...this.#acks.keys()]) this.#failAck(id, new ParleyError('closed', 'the client is closed'));
    }
  }

  #failAck(id, error) {
    const ack = this.#acks.get(id);
    this.#acks.delete(id);
    ack?.fail(error);
  }

  // Another network may pass other transports. Connect now instead of waiting longer.
  #online = () => {
    this.#forget();
    this.connect();
  };

  #offline = () => {
    if (this.#session) this.#abandon(new ParleyError('transport', 'the network is gone'));
  };

  #fire(event, ...args) {
    const entries = this.#listeners.get(event) ?? [];
    this.#listeners.set(event, entries.filter(({ once }) => !once));
    for (const { listener } of entries) call(listener, args);
  }
}

/** Makes a client and opens it. url is the server's origin; the default is the page's. */
export function connect(url, options) {
  return new Client(url, options).connect();
}
