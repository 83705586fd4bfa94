// The twin application on the reference, npm's socket.io. main.go is the same application on Parley
// and describes each step. The options are JSON in the first argument.
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import msgpack from 'socket.io-msgpack-parser';

const options = JSON.parse(process.argv[2]);
const http = createServer((_, response) => { response.writeHead(404).end(); });
const io = new Server(http, {
  ...options.pingInterval && { pingInterval: options.pingInterval },
  ...options.pingTimeout && { pingTimeout: options.pingTimeout },
  ...options.connectTimeout && { connectTimeout: options.connectTimeout },
  ...options.upgradeTimeout && { upgradeTimeout: options.upgradeTimeout },
  ...options.maxPayload && { maxHttpBufferSize: options.maxPayload },
  ...options.path && { path: options.path },
  ...options.transports && { transports: options.transports },
  ...options.origin && { cors: { origin: options.origin, credentials: options.origin !== '*' } },
  ...options.cookie && { cookie: { name: 'io', path: '/', httpOnly: true, sameSite: 'strict' } },
  ...options.compression && { perMessageDeflate: { threshold: 1024 } },
  ...options.msgpack && { parser: msgpack },
  ...options.recovery && { connectionStateRecovery: { maxDisconnectionDuration: options.recovery,
    skipMiddlewares: options.recoveryMiddleware !== true } },
  ...options.refuse && { allowRequest: (request, done) => done(options.refuse, false) },
  allowEIO3: options.legacy === true,
  serveClient: false,
});

/** Tells the driver what the application saw. */
const say = (...line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const auth = (socket) => (typeof socket.handshake.auth === 'object' && socket.handshake.auth) || {};
const name = (socket) => auth(socket).as ?? socket.id;
const data = (socket) => (Object.keys(socket.data ?? {}).length ? socket.data : null);
const others = (socket) => [...socket.rooms].filter((room) => room !== socket.id).sort();
const plan = (socket, key) => { const steps = auth(socket)[key] ?? []; return typeof steps === 'string' ? JSON.parse(steps) : steps; };

const gates = new Map();
function gate(name) {
  if (!gates.has(name)) { const g = {}; g.passed = new Promise((resolve) => { g.open = resolve; }); gates.set(name, g); }
  return gates.get(name);
}

/** The sockets that how describes. */
function chosen(socket, { from = 'all', to, except, volatile, local, compress, timeout }) {
  let b = { all: socket.nsp, self: socket, others: socket.broadcast }[from] ?? io.of(from);
  if (volatile) b = b.volatile;
  if (local) b = b.local;
  if (compress !== undefined) b = b.compress(compress);
  if (timeout) b = b.timeout(timeout);
  if (to) b = b.to(to);
  if (except) b = b.except(except);
  return b;
}

const failure = (error) => (/timed out/.test(error.message) ? 'timed out' : 'disconnected');

const does = {
  emit: (socket, event, ...args) => { socket.emit(event, ...args); },
  flood: (socket, event, size, times) => { for (let i = 0; i < times; i++) socket.emit(event, i, 'x'.repeat(size)); },
  send: (socket, how, event, ...args) => { chosen(socket, how).emit(event, ...args); },
  tryEmit: (socket, event) => { try { socket.emit(event, 1); say(name(socket), 'emitted', event); } catch { say(name(socket),
    'refused', event); } },
  askAll: (socket, label, how, event, ...args) => {
    chosen(socket, how).emitWithAck(event, ...args).then(
      (answers) => say(`${name(socket)} asks`, label, null, answers.map((a) => a ?? null).sort()),
      (error) => say(`${name(socket)} asks`, label, failure(error), error.responses.map((a) => a ?? null).sort()),
    );
  },
  ask: (socket, label, timeout, event, ...args) => {
    (timeout ? socket.timeout(timeout) : socket).emitWithAck(event, ...args).then(
      (answer) => say(`${name(socket)} asks`, label, null, answer ?? null),
      (error) => say(`${name(socket)} asks`, label, failure(error)),
    );
  },
  join: (socket, ...rooms) => { socket.join(rooms); },
  leave: (socket, ...rooms) => { for (const room of rooms) socket.leave(room); },
  rooms: (socket) => say(name(socket), 'rooms', others(socket)),
  sockets: async (socket, how) => {
    const found = await chosen(socket, how).fetchSockets();
    say(name(socket), 'sockets', found.map((other) => ({ as: name(other), rooms: others(other), data: data(other) })).sort((a,
      b) => (a.as < b.as ? -1 : 1)));
  },
  socketsJoin: (socket, how, ...rooms) => { chosen(socket, how).socketsJoin(rooms); },
  socketsLeave: (socket, how, ...rooms) => { chosen(socket, how).socketsLeave(rooms); },
  disconnectSockets: (socket, how, close) => { chosen(socket, how).disconnectSockets(close); },
  disconnect: (socket, close) => { socket.disconnect(close); },
  close: (socket) => { socket.conn.close(); },
  say: (socket, ...values) => say(name(socket), 'says', ...values),
  connected: (socket) => say(name(socket), 'connected', socket.connected),
  setData: (socket, value) => { socket.data = value; },
  getData: (socket) => say(name(socket), 'data', data(socket)),
  handshake: (socket) => {
    const { query, url, secure, xdomain } = socket.handshake;
    say(name(socket), 'handshake', { query, auth: socket.handshake.auth, url, secure, xdomain,
      header: socket.handshake.headers['x-twin'] ?? null });
  },
  wait: (socket, name) => gate(name).passed,
  open: (socket, name) => gate(name).open(),
  fail: (socket, message, data) => { throw Object.assign(new Error(message), { data }); },
  guard: (socket, event) => { socket.use(([e], next) => next(e === event ? new Error('guarded') : undefined)); },
  catchAny: (socket) => { socket.onAny((event) => say(name(socket), 'any', event)); },
  catchOutgoing: (socket) => { socket.onAnyOutgoing((event, ...args) => say(name(socket), 'outgoing', event, args.length)); },
  part: (socket, room, event) => { socket.on('disconnect', () => io.of(socket.nsp.name).to(room).emit(event, name(socket))); },
  stopServer: () => { io.close(); },
};

async function run(socket, steps, ack) {
  for (const [step, ...args] of steps) {
    if (step === 'ack') ack?.(...args);
    else if (step === 'wait' || step === 'sockets') await does[step](socket, ...args);
    else does[step](socket, ...args);
  }
}

function serve(namespace) {
  namespace.use((socket, next) => { run(socket, plan(socket, 'use')).then(() => next(), next); });
  namespace.on('connection', (socket) => {
    say(name(socket), 'connection', socket.nsp.name, socket.recovered);
    let rooms = [];
    socket.on('disconnecting', () => { rooms = others(socket); });
    socket.on('disconnect', (reason) => say(name(socket), 'disconnect', socket.nsp.name, reason, rooms));
    socket.on('error', (error) => { if (error?.message === 'guarded') say(name(socket), 'error', 'guarded'); });
    socket.on('echo', (...args) => { const ack = args.pop(); if (typeof ack === 'function') ack(...args); });
    socket.on('back', (...args) => { socket.emit('back', ...args); });
    socket.on('note', (...args) => { say(name(socket), 'note', ...args.filter((arg) => typeof arg !== 'function')); });
    socket.on('do', (steps, ack) => {
      let acked = false;
      const once = (...args) => { acked = true; ack?.(...args); };
      run(socket, steps, once).then(() => { if (!acked) ack?.(); });
    });
    run(socket, plan(socket, 'on'));
  });
}

for (const at of ['/', '/admin', '/chat', /^\/dyn-\w+$/]) serve(io.of(at));
for (const at of options.emitFirst ?? []) io.of(at).emit('first', 1);
http.listen(0, '127.0.0.1', () => console.log(JSON.stringify(['listening', http.address().port])));
