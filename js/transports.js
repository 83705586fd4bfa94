/**
 * More transports: WebTransport and JSONP for parley.js, and all transports for the official client
 * (socket.io-client 4.8 and later):
 *
 *   import { connect } from '/parley.js';
 *   import { JSONPTransport, WebTransportTransport } from '/transports.js';
 *   connect(url, { transports: [WebTransportTransport, 'websocket', 'sse', 'polling', JSONPTransport] });
 *
 *   import { socketIOTransports } from '/transports.js';
 *   io(url, { transportImplementations: socketIOTransports, tryAllTransports: true });
 *
 * It depends only on parley.js. The types are in transports.d.ts.
 */
import { PollingTransport, SSETransport, WebSocketTransport, fromBase64 } from './parley.js';

// ---------------------------------------------------------------- WebTransport

/** Frames a packet for a stream: one bit for binary, the length in 7, 7+16 or 7+64 bits, then the payload. */
function frame(packet) {
  const payload = typeof packet === 'string' ? new TextEncoder().encode(packet) : new Uint8Array(packet);
  const { length } = payload;
  const size = length < 126 ? 0 : length < 65536 ? 2 : 8;
  const bytes = new Uint8Array(1 + size + length);
  bytes[0] = (typeof packet === 'string' ? 0 : 128) | (size === 0 ? length : size === 2 ? 126 : 127);
  const view = new DataView(bytes.buffer);
  if (size === 2) view.setUint16(1, length);
  if (size === 8) view.setBigUint64(1, BigInt(length));
  bytes.set(payload, 1 + size);
  return bytes;
}

function concatenate(chunks) {
  if (chunks.length === 1) return chunks[0];
  const all = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/** Yields the packets of a stream until it ends. */
async function* packetsOf(readable) {
  const reader = readable.getReader();
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let chunks = [], have = 0;
  /** Returns the next n bytes, or null at the end. */
  async function take(n) {
    while (have < n) {
      const { done, value } = await reader.read();
      if (done) return null;
      chunks.push(value);
      have += value.length;
    }
    if (n === 0) return new Uint8Array(0);
    const all = concatenate(chunks);
    chunks = [all.subarray(n)];
    have -= n;
    return all.subarray(0, n);
  }
  for (;;) {
    const head = await take(1);
    if (!head) return;
    let length = head[0] & 127;
    if (length > 125) {
      const size = length === 126 ? 2 : 8;
      const bytes = await take(size);
      if (!bytes) return;
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      length = size === 2 ? view.getUint16(0) : Number(view.getBigUint64(0));
    }
    const payload = await take(length);
    if (!payload) return;
    const text = head[0] & 128 ? null : decoder.decode(payload);
    // Servers send empty binary data as base64, because the official client fails on an empty frame.
    yield text === null ? payload.slice().buffer : text[0] === 'b' ? fromBase64(text.slice(1)) : text;
  }
}

/** How long a polite close waits for the last packets to leave. */
const LINGER_MS = 1000;

/**
 * Engine.IO packets in one stream of a WebTransport session. It needs HTTPS or the hashes of
 * the server's certificate. Its options are {serverCertificateHashes, WebTransport}.
 */
export class WebTransportTransport {
  static kind = 'webtransport';
  writable = false;
  #context;
  #events;
  #closed = false;
  #transport;
  #writer;

  constructor(context, events) {
    this.#context = context;
    this.#events = events;
  }

  open() {
    const { WebTransport = globalThis.WebTransport, ...options } = this.#context.options;
    if (!WebTransport) throw new Error('no WebTransport here');
    const url = new URL(this.#context.url('http'));
    if (url.protocol !== 'https:' && !options.serverCertificateHashes) throw new Error('WebTransport needs HTTPS');
    url.protocol = 'https:';
    for (const name of ['EIO', 'transport', 'sid']) url.searchParams.delete(name); // the first packet has the sid
    this.#transport = new WebTransport(url.href, options);
    this.#run();
  }

  send(packets) {
    this.writable = false;
    this.#writer.write(concatenate(packets.map(frame))).then(() => {
      if (this.#closed) return;
      this.writable = true;
      this.#events.drain();
    }, (error) => this.#end('transport error', error));
  }

  close(polite) {
    if (this.#closed) return;
    this.#closed = true;
    this.writable = false;
    const transport = this.#transport;
    const end = () => transport?.close();
    if (!polite || !this.#writer) return end();
    // Closing the session now would drop packets in flight. The server closes it when the stream ends.
    const timer = setTimeout(end, LINGER_MS);
    this.#writer.close().then(() => transport.closed).catch(() => {}).then(() => { clearTimeout(timer); end(); });
  }

  async #run() {
    const transport = this.#transport;
    transport.closed.then(
      ({ reason }) => this.#end('transport close', Object.assign(new Error(reason || 'closed by the server'), { clean: true })),
      (error) => this.#end('transport error', error),
    );
    try {
      await transport.ready;
      const { readable, writable } = await transport.createBidirectionalStream();
      if (this.#closed) return;
      this.#writer = writable.getWriter();
      const sid = this.#context.handshake?.sid;
      await this.#writer.write(frame(sid ? `0${JSON.stringify({ sid })}` : '0'));
      if (this.#closed) return;
      this.writable = true;
      this.#events.open();
      for await (const packet of packetsOf(readable)) {
        if (this.#closed) return;
        if (packet[0] === '{') throw new Error(`refused: ${JSON.parse(packet).message}`); // as over HTTP
        this.#events.packet(packet);
      }
      await transport.closed; // it has the reason
    } catch (error) {
      this.#end('transport error', error);
    }
  }

  #end(reason, error) {
    if (this.#closed) return;
    this.close(false);
    this.#events.close(reason, error);
  }
}

// ---------------------------------------------------------------- JSONP

/**
 * Makes a hidden frame for one request. Removing the frame cancels the request. The frame has the page's
 * origin, and its requests name the page as their referrer. use(frame, settle) begins the request. The
 * promise settles when use calls settle(error, value): it rejects if there is an error.
 */
const inFrame = (signal, use) => new Promise((resolve, reject) => {
  const node = document.createElement('iframe');
  node.hidden = true;
  node.srcdoc = '<!doctype html><meta charset="utf-8">';
  const settle = (error, value) => {
    node.onload = null;
    signal.removeEventListener('abort', abort);
    setTimeout(() => node.remove()); // later, since the frame's own script may be running
    if (error) reject(error);
    else resolve(value);
  };
  const abort = () => settle(new Error('aborted'));
  if (signal.aborted) return reject(new Error('aborted'));
  signal.addEventListener('abort', abort);
  node.onload = () => use(node, settle);
  (document.body ?? document.documentElement).append(node);
});

/** Loads a script that calls ___eio[0] with a string, and resolves with that string. */
const loadScript = (url, signal) => inFrame(signal, (node, settle) => {
  const inner = node.contentDocument;
  const script = inner.createElement('script');
  node.contentWindow.___eio = [(payload) => settle(null, payload)];
  script.onload = () => settle(new Error('a script that is no answer'));
  script.onerror = () => settle(new Error('the script could not be loaded'));
  script.src = url;
  inner.head.append(script);
});

/** Submits a form. The page cannot learn whether it arrived. */
const sendForm = (url, payload, signal) => inFrame(signal, (node, settle) => {
  const inner = node.contentDocument;
  const form = inner.createElement('form');
  const area = inner.createElement('textarea');
  Object.assign(form, { method: 'POST', action: url, acceptCharset: 'utf-8' });
  Object.assign(area, { name: 'd', value: payload });
  form.append(area);
  inner.body.append(form);
  node.onload = () => settle();
  form.submit();
});

/**
 * Calls f. Resolves with false if f succeeds, and with true if it fails because the page's policy
 * forbids the request. Rejects if f fails for another reason.
 */
async function isForbidden(f) {
  let forbid;
  const violation = new Promise((resolve) => { forbid = resolve; });
  const listen = ({ effectiveDirective }) => { if (effectiveDirective === 'connect-src') forbid(true); };
  document.addEventListener('securitypolicyviolation', listen);
  try {
    await f();
    return false;
  } catch (error) {
    // The event may come after the failure.
    if (await Promise.race([violation, new Promise((resolve) => setTimeout(resolve, 100))])) return true;
    throw error;
  } finally {
    document.removeEventListener('securitypolicyviolation', listen);
  }
}

/**
 * Polling by scripts, for pages in which the page's policy or a proxy blocks both requests and streams.
 * To the server it is the transport "polling" with the parameter j.
 *
 * It sends packets with fetch in mode no-cors, which needs no permission of the server. The page cannot
 * read the response, but fetch fails if the connection does. If the page's policy forbids fetch, it
 * submits a form.
 */
export class JSONPTransport extends PollingTransport {
  static kind = 'jsonp';
  #forms = false;

  open() {
    if (!globalThis.document?.createElement) throw new Error('no page here');
    this.begin();
  }

  async request(method, body) {
    const address = new URL(this.context.url('http'));
    address.searchParams.set('transport', 'polling');
    address.searchParams.set('j', '0');
    address.searchParams.set('t', Math.random().toString(36).slice(2)); // defeats caches
    const url = address.href;
    if (method === 'GET') return loadScript(url, this.signal);
    // Forms change newlines, so escape them.
    const payload = body.replaceAll('\\n', '\\\\n').replaceAll('\n', '\\n');
    const { fetch } = this.context;
    this.#forms ||= !fetch || await isForbidden(() => fetch(url, {
      method, mode: 'no-cors', credentials: 'include', cache: 'no-store', signal: this.signal, body: new URLSearchParams({ d: payload }),
    }));
    if (this.#forms) await sendForm(url, payload, this.signal);
  }
}

// ---------------------------------------------------------------- the official client

const TYPES = ['open', 'close', 'ping', 'pong', 'message', 'upgrade', 'noop'];

/** Converts a packet of the official client to one of our transports. For a Blob it returns a promise. */
function fromOfficial({ type, data }) {
  if (data === undefined || data === null || typeof data === 'string') return `${TYPES.indexOf(type)}${data ?? ''}`;
  if (ArrayBuffer.isView(data)) return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
  return data instanceof ArrayBuffer ? data : data.arrayBuffer();
}

function toOfficial(packet, binaryType) {
  if (typeof packet === 'string') {
    const type = TYPES[packet[0]];
    if (!type) return { type: 'error', data: 'parser error' };
    return packet.length > 1 ? { type, data: packet.slice(1) } : { type };
  }
  const data = binaryType === 'nodebuffer' ? Buffer.from(packet) : binaryType === 'blob' ? new Blob([packet]) : packet;
  return { type: 'message', data };
}

/** The part of the official client's Emitter that it uses on transports. */
class Emitter {
  #listeners = new Map();

  on(event, listener) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
    return this;
  }

  once(event, listener) {
    const once = (...args) => { this.off(event, once); listener(...args); };
    once.listener = listener;
    return this.on(event, once);
  }

  off(event, listener) {
    if (event === undefined) this.#listeners.clear();
    else if (listener === undefined) this.#listeners.delete(event);
    else this.#listeners.set(event, (this.#listeners.get(event) ?? []).filter((one) => one !== listener && one.listener !== listener));
    return this;
  }

  removeListener(event, listener) { return this.off(event, listener); }
  removeAllListeners(event) { return this.off(event); }

  emit(event, ...args) {
    for (const listener of this.#listeners.get(event) ?? []) listener(...args);
    return this;
  }
}

/** How long Memory remembers which transports fail. */
const REMEMBERED_MS = 600_000;

/** A transport counts as blocked if it opens and is cut before this age, twice in a row. */
const BRIEF_MS = 10_000;

/**
 * Remembers which transports of a list work with which server. The official client tries all of
 * them for each connection. Those that are known to be blocked then fail at once.
 */
class Memory {
  #servers = new Map();

  constructor(count) {
    this.last = count - 1;
  }

  #of(server) {
    let known = this.#servers.get(server);
    if (!known || Date.now() > known.until) {
      known = { first: 0, cut: new Set(), brief: -1, until: Date.now() + REMEMBERED_MS };
      this.#servers.set(server, known);
    }
    return known;
  }

  /** Reports whether the transport at this place in the list should fail at once. The last one never should, except as a probe. */
  skips(server, place, probe) {
    const { first, cut } = this.#of(server);
    return probe ? cut.has(place) : place < this.last && (place < first || cut.has(place));
  }

  opened(server, place) {
    this.#of(server).first = place;
  }

  failed(server, place) {
    const { first } = this.#of(server);
    if (place === first || place === this.last) this.#servers.delete(server);
  }

  ended(server, place, brief) {
    const known = this.#of(server);
    if (brief && known.brief === place) known.cut.add(place);
    known.brief = brief ? place : -1;
  }
}

/**
 * Wraps a transport class of this module or of parley.js for the official client's option
 * transportImplementations (engine.io-client 6.6 and later). timeout is how long the transport may
 * take to open, in ms. Other options go to the transport, together with the client's transportOptions for
 * its name. The result does not extend the client's own Transport class, because the client's builds
 * for pages do not export it.
 */
export function forSocketIO(Transport, options = {}) {
  return official(Transport, options, new Memory(1), 0);
}

/** Wraps a list of [Transport, options], in the order in which the client tries them. The list remembers for ten minutes which transports fail. */
export function allForSocketIO(list) {
  const memory = new Memory(list.length);
  return list.map(([Transport, options = {}], place) => official(Transport, options, memory, place));
}

function official(Transport, { timeout = 5000, WebSocket = globalThis.WebSocket, fetch = globalThis.fetch, ...options }, memory, place) {
  return class extends Emitter {
    writable = false;
    readyState = '';
    supportsBinary = true;
    #inner = null;
    #timer;
    #handshake = null;
    #openedAt = 0;
    #server;
    #probe; // true if this is an upgrade

    // The client looks for it in the prototype.
    get name() { return Transport.kind; }

    constructor(opts) {
      super();
      this.opts = opts;
      this.query = opts.query; // the client adds the session id
      this.socket = opts.socket;
      this.#server = `${opts.hostname}:${opts.port}`;
      this.#probe = opts.query.sid !== undefined;
    }

    open() {
      this.readyState = 'opening';
      if (memory.skips(this.#server, place, this.#probe)) {
        queueMicrotask(() => this.#failed(new Error('it does not pass here')));
        return this;
      }
      this.#inner = new Transport(this.#context(), {
        open: () => this.#opened(),
        packet: (packet) => this.#packet(packet),
        // Not within send(): the client records what it has sent only after send returns.
        drain: () => queueMicrotask(() => this.#drained()),
        close: (reason, error) => this.#failed(error, reason),
      });
      this.#timer = setTimeout(() => this.#failed(new Error('timeout')), timeout);
      try {
        this.#inner.open();
      } catch (error) {
        queueMicrotask(() => this.#failed(error)); // the client does not listen yet
      }
      return this;
    }

    send(packets) {
      if (this.readyState !== 'open') return;
      this.writable = false;
      const encoded = packets.map(fromOfficial); // a copy: the client goes on using its array
      if (!encoded.some((packet) => packet instanceof Promise)) return this.#inner.send(encoded);
      Promise.all(encoded).then((all) => { if (this.readyState !== 'closed') this.#inner.send(all); }, (error) => this.#failed(error));
    }

    pause(done) {
      this.readyState = 'pausing';
      const sent = this.writable || new Promise((resolve) => { this.once('drain', resolve); });
      Promise.all([sent, this.#inner.pause()]).then(() => {
        if (this.readyState !== 'pausing') return;
        this.readyState = 'paused';
        done();
      });
    }

    close() {
      if (this.readyState === 'closed') return this;
      this.#release(this.readyState === 'open');
      this.emit('close');
      return this;
    }

    #context() {
      const transport = this, { opts, query } = this;
      return {
        options: { ...options, ...opts.transportOptions?.[this.name] },
        WebSocket,
        fetch: fetch && ((url, init) => fetch(url, {
          credentials: opts.withCredentials ? 'include' : 'same-origin', ...init, headers: { ...opts.extraHeaders, ...init.headers },
        })),
        get handshake() { return transport.#handshake ?? (query.sid ? { sid: query.sid } : null); },
        get maxPayload() { return transport.#handshake?.maxPayload ?? Infinity; },
        url(protocol) {
          const host = opts.hostname.includes(':') ? `[${opts.hostname}]` : opts.hostname;
          const url = new URL(`${protocol}${opts.secure ? 's' : ''}://${host}:${opts.port}${opts.path}`);
          for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
          return url.href;
        },
      };
    }

    #opened() {
      if (this.readyState !== 'opening') return;
      this.readyState = 'open';
      this.writable = true;
      this.#openedAt = Date.now();
      this.emit('open');
    }

    #packet(packet) {
      if (this.readyState === 'closed') return;
      clearTimeout(this.#timer);
      if (packet === '1') {
        // Wait until the client has handled the earlier packets. It does so in the next tick, which in
        // Node.js comes after microtasks.
        setTimeout(() => this.#failed(Object.assign(new Error('closed by the server'), { clean: true }), 'transport close'));
        return;
      }
      if (packet[0] === '0') {
        try {
          this.#handshake = JSON.parse(packet.slice(1));
        } catch (error) {
          return this.#failed(error);
        }
        memory.opened(this.#server, place);
        this.#opened();
      }
      this.emit('packet', toOfficial(packet, this.socket.binaryType));
    }

    #drained() {
      if (this.readyState === 'closed') return;
      this.writable = true;
      this.emit('drain');
    }

    #failed(error, reason) {
      if (this.readyState === 'closed') return;
      // A WebSocket may open and be cut before the server's first packet.
      const opened = this.readyState !== 'opening' && (this.#probe || this.#handshake);
      if (opened) memory.ended(this.#server, place, Date.now() - this.#openedAt < BRIEF_MS && !error.clean);
      else if (this.#inner && !this.#probe) memory.failed(this.#server, place);
      this.#release(false);
      // The client tries another transport only after an error.
      if (reason === 'transport close' && opened) this.emit('close', { description: error.message, context: error });
      else this.emit('error', Object.assign(new Error(`${this.name} error`), { type: 'TransportError', description: error }));
    }

    #release(polite) {
      clearTimeout(this.#timer);
      this.readyState = 'closed';
      this.writable = false;
      this.#inner?.close(polite);
    }
  };
}

/**
 * All transports, best first, for transportImplementations with tryAllTransports. Their timeouts add up
 * to less than the client's own timeout of 20 s, after which it would start again with the first.
 */
export const socketIOTransports = allForSocketIO([
  [WebTransportTransport, { timeout: 3000 }],
  [WebSocketTransport, { timeout: 4000 }],
  [SSETransport, { timeout: 3000 }],
  [PollingTransport, { timeout: 4000 }],
  [JSONPTransport, { timeout: 5000 }],
]);
