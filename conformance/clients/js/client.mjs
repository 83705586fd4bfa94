// The official client in runtimes other than Node.js. ../../languages.test.mjs describes the steps.
import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import process from 'node:process';
import { Manager } from 'socket.io-client';

const [what, url, way] = process.argv.slice(2);
const text = 'é€😀𝒳\u2028\n"\\';
const alive = 6800; // ms; a session without heartbeats would not live so long
const ok = (step) => console.log(`ok ${step}`);

function manager() {
  return new Manager(url, {
    autoConnect: false, reconnectionDelay: 50, reconnectionDelayMax: 200, ...(way !== 'upgrade' && { transports: [way] }),
  });
}

/** Resolves with the arguments of the next such event. */
const next = (socket, event) => new Promise((resolve, reject) => {
  const cause = new Error('awaited here');
  const timer = setTimeout(() => reject(new Error(`no "${event}" came`, { cause })), 120_000);
  socket.once(event, (...args) => { clearTimeout(timer); resolve(args); });
});

async function connected() {
  const socket = manager().socket('/').connect();
  await next(socket, 'connect');
  return socket;
}

/** Emits an event and resolves with the acknowledgement's arguments. */
const ask = (socket, event, ...args) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`"${event}" is not acknowledged`)), 120_000);
  socket.emit(event, ...args, (...answer) => { clearTimeout(timer); resolve(answer); });
});

/** Converts binary data, which arrives as a Buffer or an ArrayBuffer, to bytes. */
function plain(value) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return { binary: [...Buffer.from(value)] };
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
  return value;
}

const same = (got, wanted) => assert.deepEqual(plain(got), plain(wanted));

async function scenario() {
  const large = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i % 251));
  const values = [text, 1, null, true, { ключ: [text, [], {}] }, text.repeat(2000)];
  const binary = [Buffer.from([0, 1, 4, 0x1e, 255]), text, { deep: [large] }, Buffer.alloc(0)];

  const m = manager();
  const socket = m.socket('/', { auth: { token: text } }).connect();
  same(await next(socket, 'auth'), [{ token: text }]);
  const gone = [];
  socket.on('disconnect', (reason) => gone.push(reason));
  let [me] = await ask(socket, 'whoami');
  while (way === 'upgrade' && me.transport !== 'websocket') [me] = await ask(socket, 'whoami'); // until the upgrade is done
  same([me.id, me.transport], [socket.id, way === 'polling' ? 'polling' : 'websocket']);
  ok('connect');

  for (const sent of [values, []]) {
    const back = next(socket, 'message-back');
    socket.emit('message', ...sent);
    same(await back, sent);
  }
  ok('events');

  let back = next(socket, 'message-back');
  socket.emit('message', ...binary);
  same(await back, binary);
  ok('binary');

  for (const sent of [values, binary]) same(await ask(socket, 'message-with-ack', ...sent), sent);
  ok('acknowledgements');

  const answer = { text, binary: Buffer.from([4, 3]) };
  const questions = [];
  socket.on('question', (...args) => { questions.push(args.slice(0, -1)); args.at(-1)(answer); });
  same(await ask(socket, 'ask', 5000, Buffer.from([9])), [answer]);
  same(questions, [[Buffer.from([9])]]);
  ok('answers');

  const other = await connected();
  let forOthers = 0;
  other.on('news', () => { forOthers++; });
  await ask(socket, 'join', 'room');
  const news = next(socket, 'news');
  await ask(other, 'broadcast', { to: ['room'], self: true }, 'news', text, large);
  same(await news, [text, large]);
  await ask(other, 'message-with-ack');
  same(forOthers, 0);
  other.disconnect();
  ok('rooms');

  const custom = m.socket('/custom', { auth: { token: 'another' } }).connect();
  same(await next(custom, 'auth'), [{ token: 'another' }]);
  back = next(custom, 'message-back');
  custom.emit('message', ...values);
  same(await back, values);
  const [refusal] = await next(m.socket('/refused').connect(), 'connect_error');
  same([refusal.message, refusal.data], ['Not authorized', { code: 'E1', label: 'no token' }]);
  ok('namespaces');

  const cut = next(custom, 'disconnect');
  custom.emit('disconnect-me', false);
  same((await cut)[0], 'io server disconnect');
  same(await ask(socket, 'message-with-ack', 1), [1]);
  ok('the server disconnects');

  const before = socket.id;
  await new Promise((resolve) => setTimeout(resolve, alive));
  same((await ask(socket, 'whoami'))[0].id, before);
  same(gone, []);
  ok('heartbeat');

  const again = next(socket, 'auth');
  console.log('restart');
  await again;
  same(gone.length, 1);
  back = next(socket, 'message-back');
  socket.emit('message', ...binary);
  same(await back, binary);
  assert.notEqual(socket.id, before);
  ok('the server is restarted');

  const watcher = await connected();
  await ask(watcher, 'join', 'watchers');
  const { id } = socket;
  const left = next(watcher, 'left');
  socket.disconnect();
  same(await left, [id, 'client namespace disconnect']);
  ok('the client disconnects');
}

async function conversation() {
  const socket = await connected();
  const [page] = await ask(socket, 'joinRoom', { roomId: 'r', userId: 'other' });
  same(page.messages.map(({ message }) => message), [text]);
  same(page.members.map(({ userId }) => userId), ['ada', 'other']);
  const live = [];
  const both = new Promise((resolve) => socket.on('newMessage', (message) => { if (live.push(message) === 2) resolve(); }));
  const [sent] = await ask(socket, 'sendMessage', { roomId: 'r', message: { text }, clientId: 'c1' });
  same([sent.seq, sent.userId, sent.message], [2, 'other', { text }]);
  await both;
  same(live[0], sent);
  same([live[1].seq, live[1].userId, live[1].message], [3, 'ada', ['reply', text]]);
  const [history] = await ask(socket, 'history', { roomId: 'r', after: 0 });
  same(history.messages, [...page.messages, ...live]);
  ok('conversation');
  socket.disconnect();
}

await { scenario, conversation }[what]();
process.exit(); // even if something is still connected
