// Runs each scenario against the reference and against Parley, and compares the records.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inspect, isDeepStrictEqual } from 'node:util';
import { Manager, io } from 'socket.io-client';
import { WebSocket } from 'ws';
import { differences, reasons } from './differences.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
// "npm test" has already built it.
if (!process.env.npm_lifecycle_event) execFileSync('go', ['build', '-o', '../.bin/', '.'], { cwd: here, stdio: 'inherit' });

const programs = { reference: [process.execPath, `${here}server.mjs`], ours: [`${here}../.bin/twin`] };

/** How long a condition may take. It is generous, so that slow machines make no difference. */
const patience = 120_000;

/** A server of one of the two kinds. It counts its sockets, so that each scenario can begin without any. */
class Server {
  static async start(kind, options) {
    const self = new Server();
    const [file, ...args] = programs[kind];
    self.child = spawn(file, [...args, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'pipe'] });
    self.log = '';
    self.connections = 0;
    self.disconnections = 0;
    self.child.stderr.on('data', (chunk) => { self.log += chunk; });
    self.port = await new Promise((resolve, reject) => {
      self.child.once('error', reject).once('exit', () => {
        reject(new Error(`the ${kind} ended:\n${self.log}`));
        self.gone?.();
      });
      createInterface(self.child.stdout).on('line', (line) => {
        const [who, ...what] = JSON.parse(line);
        if (who === 'listening') return resolve(what[0]);
        if (what[0] === 'connection') self.connections++;
        if (what[0] === 'disconnect') self.disconnections++;
        self.hear?.(who, what);
      });
    });
    return self;
  }

  end() {
    return new Promise((resolve) => { this.child.once('exit', resolve); this.child.kill('SIGKILL'); });
  }
}

/** A scenario acts through its Context, which records under labels what the scenario sees. */
class Context {
  record = new Map();
  #waiting = new Set();
  #ends = [];
  #ids = new Map();
  #engines = new Set();

  constructor(kind, server, options) {
    this.kind = kind;
    this.options = options;
    this.server = server;
    this.url = `http://127.0.0.1:${server.port}`;
    this.connections = server.connections;
    server.gone = () => { for (const check of this.#waiting) check(); };
    server.hear = (who, what) => {
      if (kind === 'reference' && what[0] === 'disconnect') what[2] = reasons[what[2]] ?? what[2];
      this.saw(`server ${this.#ids.get(who) ?? who}`, what);
    };
  }

  /** Records a value under a label. */
  saw(label, value) {
    if (!this.record.has(label)) this.record.set(label, []);
    this.record.get(label).push(value);
    for (const check of this.#waiting) check();
  }

  /** Resolves when the condition is met. Each new record makes it test the condition again. */
  until(condition, what = condition) {
    const cause = new Error('awaited here');
    return new Promise((resolve, reject) => {
      const settle = (f, value) => { clearTimeout(timer); this.#waiting.delete(check); f(value); };
      const give = (why) => settle(reject, new Error(`waited in vain for ${what}: ${why}`, { cause }));
      const check = () => {
        if (condition()) settle(resolve);
        else if (this.server.child.exitCode !== null || this.server.child.signalCode) give('the server has ended');
      };
      const timer = setTimeout(() => give('time is over'), patience);
      this.#waiting.add(check);
      check();
    });
  }

  /** Resolves when the label has this many records that equal the value or begin with it. */
  see(label, value, times = 1) {
    const matches = (seen) => isDeepStrictEqual(seen, value) || (Array.isArray(seen) && seen[0] === value);
    return this.until(() => (this.record.get(label) ?? []).filter(matches).length >= times, `${times} × ${inspect(value)} of ${label}`);
  }

  /** The records of a label so far. */
  seen(label) { return this.record.get(label) ?? []; }

  /** Calls f when the scenario ends. */
  atEnd(f) { this.#ends.push(f); }

  /** From now on, the id stands for the name. */
  known(id, name) {
    this.#ids.set(id, name);
    // The server may have reported the id before the client did.
    for (const what of this.record.get(`server ${id}`) ?? []) this.saw(`server ${name}`, what);
    this.record.delete(`server ${id}`);
  }

  /**
   * An official client. Everything that it sees is recorded under its name: connect, connect_error,
   * disconnect with the reason, and every event.
   */
  client(name, at = '/', { connect = io, auth = {}, manager, ...options } = {}) {
    const signed = typeof auth === 'object' && auth !== null && !Array.isArray(auth) ? { as: name, ...auth } : auth;
    const all = { forceNew: true, transports: ['websocket'], reconnection: false, reconnectionDelay: 20, reconnectionDelayMax: 50,
      auth: signed, ...options };
    const socket = manager ? manager.socket(at, { auth: signed }) : connect(this.url + at, all);
    this.atEnd(() => socket.disconnect());
    this.#engines.add(socket.io);
    socket.on('connect', () => {
      if (socket.onAny || at !== '/') this.connections++;
      this.known(socket.id, name);
      this.saw(name, socket.recovered ? ['connect', 'recovered'] : ['connect']);
    });
    socket.on('connect_error', (error) => this.saw(name, ['connect_error', error.message ?? error, error.data]));
    socket.on('disconnect', (reason) => this.saw(name, ['disconnect', reason]));
    const heard = (event, args) => {
      this.saw(name, [event, ...args.filter((arg) => typeof arg !== 'function').map((arg) => this.#withoutOffset(arg))]);
    };
    if (socket.onAny) socket.onAny((event, ...args) => heard(event, args));
    else { // Socket.IO 2: connections join the main namespace automatically
      socket.io.on('open', () => {
        this.connections++;
        this.known(socket.io.engine.id, at === '/' ? name : `${name}, main`);
      });
      const { onevent } = socket;
      socket.onevent = function (packet) { heard(packet.data[0], packet.data.slice(1)); onevent.call(this, packet); };
      socket.on('error', (error) => this.saw(name, ['error', error]));
    }
    return socket;
  }

  /** A connected client. */
  async up(name, at, options) {
    const socket = this.client(name, at, options);
    await this.see(name, 'connect');
    return socket;
  }

  /** A connection for clients of several namespaces. */
  manager(options = {}) {
    return new Manager(this.url, { transports: ['websocket'], reconnection: false, ...options });
  }

  /** Resolves with the arguments of the server's acknowledgement of the event. */
  ask(socket, event, ...args) {
    const cause = new Error('asked here');
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to ${event}`, { cause })), patience);
      socket.emit(event, ...args, (...answer) => { clearTimeout(timer); resolve(answer); });
    });
  }

  /** Makes the server take steps for the client. Resolves when it has taken them. */
  do(socket, ...steps) { return this.ask(socket, 'do', steps); }

  /** Resolves when everything that the server has sent to the client so far has arrived. */
  settled(socket) { return this.ask(socket, 'echo', 'marker'); }

  /** Makes an HTTP request on a new connection. Resolves with status, headers and body. */
  request(method, path, { headers, body } = {}) {
    return new Promise((resolve, reject) => {
      const outgoing = http.request(this.url + path, { method, headers, agent: false, insecureHTTPParser: true }, (incoming) => {
        let text = '';
        incoming.setEncoding('utf8').on('data', (chunk) => { text += chunk; });
        incoming.on('end', () => resolve({ status: incoming.statusCode, headers: incoming.headers, body: text }));
        incoming.on('error', reject);
      });
      this.atEnd(() => outgoing.destroy());
      outgoing.on('error', reject).end(body);
    });
  }

  /** Begins a handmade polling session. */
  async polling(query = 'EIO=4', { name = 'SID', ...options } = {}) {
    const path = `/socket.io/?${query}&transport=polling`;
    const { body } = await this.request('GET', path, options);
    const open = JSON.parse(body.slice(body.indexOf('{'), body.lastIndexOf('}') + 1));
    this.known(open.sid, name);
    if (query.includes('EIO=3')) { // the session joins the main namespace automatically
      this.connections++;
      await this.see(`server ${name}`, 'connection');
    }
    const at = `${path}&sid=${open.sid}`;
    const session = {
      open, at, sid: open.sid,
      get: () => this.request('GET', at),
      post: (payload, headers = { 'Content-Type': 'text/plain;charset=UTF-8' }) => this.request('POST', at, { headers, body: payload }),
    };
    this.atEnd(() => session.post(query.includes('EIO=3') ? '1:1' : '1').catch(() => {}));
    return session;
  }

  /**
   * Sends packets in one POST, then polls until each pattern has matched a packet or the session has
   * ended. Packets are recorded under the name, plus their namespace if it is not the main one, since
   * packets of different namespaces may overtake each other. Resolves with whether the session is
   * still open.
   */
  async exchange(name, session, packets, ...patterns) {
    await session.post(packets.join('\x1e'));
    for (const awaited = new Set(patterns); awaited.size;) {
      const { status, body } = await session.get();
      const received = status === 200 ? body.split('\x1e').filter((packet) => packet !== '6') : [];
      for (const packet of received) {
        if (/^40.*"sid"/.test(packet)) this.connections++;
        const at = /^4\d(\/\w+),/.exec(packet)?.[1];
        this.saw(at ? `${name} ${at}` : name, packet);
        for (const pattern of awaited) if (pattern.test(packet)) awaited.delete(pattern);
      }
      if (status !== 200 || received.includes('1')) {
        this.saw(name, ['ended', status]);
        return false;
      }
    }
    return true;
  }

  /**
   * A handmade WebSocket. Its packets, except pings, are recorded under its name, and so is its end:
   * ["closed", code] or ["refused", status].
   */
  socket(name, query = 'EIO=4&transport=websocket', { path = '/socket.io/', headers, pong = true, ...options } = {}) {
    const socket = new WebSocket(`ws://127.0.0.1:${this.server.port}${path}?${query}`, { headers, ...options });
    this.atEnd(() => socket.terminate());
    socket.on('message', (data, binary) => {
      if (binary) return this.saw(name, data);
      const text = String(data);
      if (text === '2' && pong) return socket.send('3');
      // With Engine.IO 3, a connection joins the main namespace automatically.
      if (/^40.*"sid"/.test(text) || (/^0\{/.test(text) && query.includes('EIO=3'))) {
        this.connections++;
        this.known(JSON.parse(text.slice(text.indexOf('{'))).sid, name);
      }
      this.saw(name, text.replace(/^0\{.*/s, 'open'));
    });
    let refused = false;
    let ended = false; // by the scenario, without a Close frame
    const { terminate } = socket;
    socket.terminate = () => { ended = true; terminate.call(socket); };
    socket.on('unexpected-response', (_, response) => {
      refused = true;
      this.saw(name, ['refused', response.statusCode]);
      response.resume();
    });
    socket.on('error', (error) => { if (!refused && !socket.opened) this.saw(name, ['failed', error.code ?? error.message]); });
    socket.on('open', () => { socket.opened = true; });
    socket.on('close', (code, reason) => { if (socket.opened && !ended) this.saw(name, ['closed', code, String(reason)]); });
    return socket;
  }

  /** A handmade WebSocket that has opened. With connect, it has also joined the main namespace. */
  async open(name, { connect = true, query, ...options } = {}) {
    const socket = this.socket(name, query, options);
    await this.see(name, 'open');
    if (connect) {
      socket.send(`40${JSON.stringify({ as: name })}`);
      await this.until(() => this.seen(name).some((seen) => String(seen).startsWith('40')), `${name} to connect`);
    }
    return socket;
  }

  /** Sends bytes over TCP. Resolves with the head of the answer, or with what arrived before the server closed the connection. */
  tcp(bytes) {
    return new Promise((resolve, reject) => {
      const socket = net.connect(this.server.port, '127.0.0.1', () => socket.write(bytes));
      this.atEnd(() => socket.destroy());
      let text = '';
      socket.setEncoding('latin1').on('error', reject).on('close', () => resolve(text));
      socket.on('data', (chunk) => { text += chunk; if (text.includes('\r\n\r\n')) socket.destroy(); });
    });
  }

  /** Ends everything that the scenario has opened, each client with its own DISCONNECT, and waits until the server has noticed. */
  async end() {
    for (const f of this.#ends) await f();
    if (!this.stopped) {
      const { server } = this;
      // The server may not have reported a socket yet that a client has already seen.
      await this.until(() => server.connections >= this.connections && server.connections === server.disconnections,
        'all sockets to disconnect');
    }
    this.server.hear = this.server.gone = undefined;
    for (const manager of this.#engines) manager.engine?.close();
  }

  /** The records as plain values, with names in place of ids, and with binary and long text shortened. */
  plain() {
    const plain = (value) => {
      if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return { binary: short(Buffer.from(value).toString('hex')) };
      if (typeof value === 'string') return this.#rename(short(value));
      if (value instanceof Date) return { date: value.getTime() };
      if (Array.isArray(value)) return Array.from(value, plain);
      if (value === null || typeof value !== 'object') return value;
      return Object.fromEntries(Object.entries(value).map(([key, v]) => [this.#rename(key), plain(v)]));
    };
    return Object.fromEntries([...this.record].map(([label, values]) => [this.#rename(label), values.map(plain)]));
  }

  /** With connection state recovery, events end in an offset, which differs between the servers. */
  #withoutOffset(arg) { return this.options.recovery && typeof arg === 'string' ? arg.replace(offset, '<offset>') : arg; }

  #rename(text) {
    if (this.options.recovery) text = text.replace(/(?<=^42.*,")[^"]+(?="\]$)/, (last) => last.replace(offset, '<offset>'));
    for (const [id, name] of this.#ids) text = text.replaceAll(id, `<${name}>`);
    return text.replace(/"(sid|pid)":"(?!<)[^"]+"/g, '"$1":"…"').replace(/\b(t=)[\w-]+/g, '$1…');
  }
}

/** An offset of the reference or of Parley. */
const offset = /^(?:[\w-]{7}(?:\.\d+)?|[\w-]{8}\.\w+)$/;

/** Replaces long text with its beginning, its length and a hash. */
function short(text) {
  if (text.length <= 200) return text;
  return `${text.slice(0, 20)}… ${text.length} ${createHash('sha256').update(text).digest('hex').slice(0, 8)}`;
}

/**
 * Defines the scenarios of a file, by name, each as [options, run] or run. Both kinds of servers must
 * show the same, except for the differences that the table lists for the file.
 */
export function scenarios(file, all) {
  const servers = new Map();
  const listed = differences[file] ?? [];
  before(() => {
    for (const name of Object.keys(differences)) assert.ok(existsSync(`${here}${name}.test.mjs`), `${name} has differences, but no scenarios`);
  });
  after(async () => { for (const server of servers.values()) await (await server).end(); });

  const serverOf = (kind, options, alone) => {
    if (alone) return Server.start(kind, options);
    const key = kind + JSON.stringify(options);
    if (!servers.has(key)) servers.set(key, Server.start(kind, options));
    return servers.get(key);
  };

  async function record(kind, { alone, ...options }, run) {
    const server = await serverOf(kind, options, alone);
    const c = new Context(kind, server, options);
    try {
      await run(c);
      await c.end();
      if (alone) await server.end();
    } catch (error) {
      // The next scenario starts with a new server.
      servers.delete(kind + JSON.stringify(options));
      await server.end();
      throw new Error(`the ${kind}: ${error.message}\nseen: ${inspect(c.plain(), { depth: 6, breakLength: 150 })}\n${server.log}`,
        { cause: error });
    }
    return c.plain();
  }

  for (const { scenario } of listed) assert.ok(all[scenario], `"${scenario}" has differences, but is no scenario of ${file}`);

  for (const [name, defined] of Object.entries(all)) {
    const [options, run] = Array.isArray(defined) ? defined : [{}, defined];
    test(name, { timeout: 4 * patience }, async () => {
      const [reference, ours] = (await Promise.allSettled(Object.keys(programs).map((kind) => record(kind, options, run))))
        .map(({ value, reason }) => { if (reason) throw reason; return value; });
      const known = Object.assign({}, ...listed.filter((entry) => entry.scenario === name).map((entry) => entry.seen));
      const unlisted = {};
      for (const label of new Set([...Object.keys(reference), ...Object.keys(ours)])) {
        if (!known[label] && !isDeepStrictEqual(ours[label], reference[label])) unlisted[label] = [reference[label], ours[label]];
      }
      assert.ok(!Object.keys(unlisted).length,
        `[reference, ours] differ: ${inspect(unlisted, { depth: 9, breakLength: 150, maxArrayLength: null })}`);
      for (const [label, seen] of Object.entries(known)) {
        assert.ok(!isDeepStrictEqual(reference[label], ours[label]), `"${label}" does not differ any more: remove it from differences.mjs`);
        assert.deepEqual([reference[label], ours[label]], seen, `"${label}" differs in another way than differences.mjs says`);
      }
    });
  }
}
