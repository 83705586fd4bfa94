// A server of the reference, npm's socket.io, for clients: 4.8.4, or 2.5.0 with {version: '2'} in the JSON of the
// first argument. It serves those events of package app that goclient uses.
import { createServer } from 'node:http';

const options = JSON.parse(process.argv[2] ?? '{}');
const old = options.version === '2';
const http = createServer((_, response) => { response.writeHead(404).end(); });
const { default: Old } = old ? await import('server-2.5.0') : {};
const { Server } = old ? {} : await import('socket.io');
const io = old ? new Old(http, { maxHttpBufferSize: options.maxPayload }) : new Server(http, {
  maxHttpBufferSize: options.maxPayload,
  ...options.msgpack && { parser: await import('socket.io-msgpack-parser').then((m) => m.default) },
  connectionStateRecovery: {},
});

const auth = (socket) => { // socket.io 2 adds its own parameters
  if (!old) return socket.handshake.auth;
  const { EIO, transport, t, b64, ...rest } = socket.handshake.query;
  return rest;
};
const refuse = (message, data) => Object.assign(new Error(message), data && { data });

function register(namespace, greets) {
  namespace.on('connection', (socket) => {
    const on = (event, f) => socket.on(event, (...args) => f(typeof args.at(-1) === 'function' ? args.pop() : () => {}, ...args));
    if (greets) socket.emit('auth', auth(socket));
    socket.on('message', (...args) => socket.emit('message-back', ...args));
    on('message-with-ack', (ack, ...args) => ack(...args));
    on('join', (ack, room) => { socket.join(room, () => ack()); if (!old) ack(); });
    on('broadcast', (ack, { to = [] }, event, ...args) => {
      to.reduce((b, room) => b.to(room), socket.broadcast).emit(event, ...args);
      ack();
    });
    on('ask', (ack, ms, ...args) => socket.emit('question', ...args, (...answer) => ack(...answer)));
    on('whoami', (ack) => ack({ id: socket.id, recovered: socket.recovered === true, transport: socket.conn.transport.name }));
    on('disconnect-me', (ack, close) => socket.disconnect(close));
    on('cut', () => socket.conn.close());
    socket.on('disconnect', (reason) => namespace.to('watchers').emit('left', socket.id, reason));
  });
}

for (const name of ['/', '/custom', '/refused', '/token']) register(io.of(name), true);
io.of('/refused').use((socket, next) => next(refuse('Not authorized', { code: 'E1', label: 'no token' })));
io.of('/token').use((socket, next) => next(auth(socket).token === 'secret' ? undefined : refuse('Not authorized')));
http.listen(options.port ?? 0, '127.0.0.1', () => console.log(`http://127.0.0.1:${http.address().port}`));
