// Writes what servers on Node.js send to each other over Redis, for tests of our codecs:
//
//	node capture.mjs > ../adapter/redis/nodewire/testdata/node.jsonl
//
// Each line has the wire, the version of the adapter, the channel, the message in hexadecimal digits, and what
// the server was told to do (want), in the words of package adapter.
import { createServer } from 'node:http';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Server } from 'socket.io';
import { io as connect } from 'socket.io-client';
import { createClient } from 'redis';
import { Emitter } from '@socket.io/redis-emitter';

const port = 20_000 + Math.floor(Math.random() * 20_000);
const child = spawn('redis-server', ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], { stdio: ['ignore', 'pipe', 'ignore'] });
await new Promise((resolve) => child.stdout.on('data', (chunk) => { if (String(chunk).includes('Ready to accept')) resolve(); }));
let clients = [];
const open = async () => {
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect();
  clients.push(client);
  return client;
};
for (const event of ['unhandledRejection', 'uncaughtException']) process.on(event, () => {}); // whoever listens on the sharded wire counts as a server, and does not answer
const pause = () => new Promise((resolve) => setTimeout(resolve, 100));

async function capture(wire, version, adapter, options = {}) {
  const { createAdapter, createShardedAdapter } = await import(adapter);
  const https = [];
  const ios = [];
  for (const _ of [0, 1]) {
    const http = createServer();
    const io = new Server(http, { adapter: (wire === 'sharded' ? createShardedAdapter : createAdapter)(await open(), await open(), options) });
    io.on('connection', (socket) => { socket.data = { a: 1 }; });
    io.on('ask', (question, answer) => answer({ question }, 'more'));
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    https.push(http);
    ios.push(io);
  }
  const [io] = ios;
  const client = connect(`http://127.0.0.1:${https[1].address().port}`, { transports: ['websocket'] });
  client.on('question', (value, answer) => answer(value, 'more'));
  await once(client, 'connect');
  ios[1].socketsJoin('home');
  await pause();

  const heard = [];
  const spy = await open();
  const note = (message, channel) => heard.push({ channel: channel.toString(), hex: message.toString('hex') });
  if (wire === 'classic') await spy.pSubscribe('*', note, true);
  else for (const channel of ['', 'room#', 'home#', `${ios[0].of('/').adapter.uid}#`]) await spy.sSubscribe(`socket.io#/#${channel}`, note, true);
  /** Runs an action and writes down what it sent: the first message wants the first of wants, and so on. */
  const record = async (what, run, ...wants) => {
    Promise.resolve(run()).catch(() => {});
    await pause();
    await pause();
    for (const [i, { channel, hex }] of heard.splice(0).entries()) console.log(JSON.stringify({ wire, version, what, channel, hex, want: wants[i] ?? null }));
  };
  const all = { rooms: [], except: [] };
  const values = ['é€😀\u2028\0', 1.5, -7, 2 ** 40, -(2 ** 31), 2 ** 53 - 1, true, null, { a: { b: [{}] } }, 'x'.repeat(300)];
  await record('values', () => io.emit('event', ...values), { kind: 3, ...all, data: ['event', ...values] });
  await record('undefined', () => io.emit('event', undefined, { a: undefined, b: 1 }), { kind: 3, ...all, data: ['event', null, { b: 1 }] });
  await record('a date', () => io.emit('event', new Date(1e12)), { kind: 3, ...all, data: ['event', '2001-09-09T01:46:40.000Z'] });
  await record('binary', () => io.emit('event', Buffer.from([1, 2]), { a: [new Uint8Array([3])] }), {
    kind: 3, ...all, data: ['event', { _placeholder: true, num: 0 }, { a: [{ _placeholder: true, num: 1 }] }], attachments: ['0102', '03'],
  });
  await record('a date with binary', () => io.emit('event', new Date(5), Buffer.from([1])), {
    kind: 3, ...all, data: ['event', '1970-01-01T00:00:00.005Z', { _placeholder: true, num: 0 }], attachments: ['01'],
  });
  await record('a room', () => io.to('room').emit('event'), { kind: 3, rooms: ['room'], except: [], data: ['event'] });
  await record('a room that is a number', () => io.to(42).emit('event'), { kind: 3, rooms: ['42'], except: [], data: ['event'] });
  await record('rooms', () => io.to('room').to('other').except('not').emit('event'), { kind: 3, rooms: ['room', 'other'], except: ['not'], data: ['event'] });
  await record('flags', () => io.volatile.compress(false).emit('event'), { kind: 3, ...all, data: ['event'], volatile: true, plain: true });
  await record('join', () => io.in('room').socketsJoin(['a', 7]), { kind: 4, rooms: ['room'], except: [], targets: ['a', '7'] });
  await record('leave', () => io.except('room').socketsLeave('a'), { kind: 5, rooms: [], except: ['room'], targets: ['a'] });
  await record('disconnect', () => io.in('nobody').disconnectSockets(true), { kind: 6, rooms: ['nobody'], except: [], close: true });
  await record('an event for servers', () => io.serverSideEmit('event', 1, { a: null }), { kind: 9, ...all, data: ['event', 1, { a: null }] });
  await record('a question to servers', () => io.serverSideEmitWithAck('ask', 'why'), { kind: 9, ...all, data: ['ask', 'why'], request: true }, { call: 9, value: [{ question: 'why' }] });
  await record('sockets', () => io.in('home').fetchSockets(), { kind: 7, rooms: ['home'], except: [] }, { call: 7, sockets: [{ id: client.id, rooms: [client.id, 'home'], data: { a: 1 } }] });
  await record('a question', () => io.timeout(1234).emitWithAck('question', 'why'), { kind: 3, ...all, data: ['question', 'why'], request: true, timeout: 1234 }, { call: 3, count: 1 }, { call: 3, value: ['why'] });
  await record('a question with binary', () => io.timeout(1234).emitWithAck('question', Buffer.from([9])), {
    kind: 3, ...all, data: ['question', { _placeholder: true, num: 0 }], attachments: ['09'], request: true, timeout: 1234,
  }, { call: 3, count: 1 }, { call: 3, value: [{ _placeholder: true, num: 0 }], attachments: ['09'] });
  await record('a question to nobody', () => io.to('nobody').timeout(1000).emitWithAck('question'), {
    kind: 3, rooms: ['nobody'], except: [], data: ['question'], request: true, timeout: 1000,
  }, { call: 3, count: 0 });
  if (wire === 'classic') {
    const emitter = new Emitter(await open());
    await record('an emitter', () => emitter.to('room').volatile.emit('event', Buffer.from([1])), { kind: 3, rooms: ['room'], except: [], data: ['event', { _placeholder: true, num: 0 }], attachments: ['01'], volatile: true });
    await record('an emitter: join', () => emitter.in('room').socketsJoin('a'), { kind: 4, rooms: ['room'], except: [], targets: ['a'] });
    await record('an emitter: leave', () => emitter.socketsLeave(['a', 'b']), { kind: 5, ...all, targets: ['a', 'b'] });
    await record('an emitter: disconnect', () => emitter.except('room').disconnectSockets(), { kind: 6, rooms: [], except: ['room'] });
    await record('an emitter: an event for servers', () => emitter.serverSideEmit('event', 'x'), { kind: 9, ...all, data: ['event', 'x'] });
  }
  client.disconnect();
  for (const http of https) http.close();
  for (const c of clients.splice(0)) c.destroy();
  await pause();
}

await capture('classic', '8.3', '@socket.io/redis-adapter');
await capture('classic', '8.0', 'redis-adapter-8.0');
await capture('classic', '7.2', 'redis-adapter-7', { publishOnSpecificResponseChannel: true });
await capture('sharded', '8.3', '@socket.io/redis-adapter');
child.kill('SIGKILL');
process.exit();
