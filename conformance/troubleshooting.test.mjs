// Makes each mistake of docs/troubleshooting.md, and looks for the symptom.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import io2 from 'client-2.5.0';
import { io } from 'socket.io-client';
import { balancer } from './balancer.mjs';
import { atEnd, PATIENCE, run, test } from './harness.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const page = await readFile(`${here}../docs/troubleshooting.md`, 'utf8');

const serve = (t, ...flags) => run(t, `${here}.bin/mistake`, flags);

/** Waits for an event of the client, and resolves with its arguments. */
const next = (emitter, event) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no ${event}`)), PATIENCE);
  emitter.once(event, (...args) => { clearTimeout(timer); resolve(args); });
});

function connect(t, url, options, library = io) {
  const socket = library(url, { reconnectionDelay: 100, ...options });
  atEnd(t, () => socket.close());
  return socket;
}

/** The server's log says this. It may come a moment after the client has seen something. */
async function logged(server, text) {
  for (const end = Date.now() + PATIENCE; !server.log().includes(text);) {
    if (Date.now() > end) assert.fail(`the log does not say ${text}:\n${server.log()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** What is seen stands in a row of the page. */
function explained(...seen) {
  const row = page.split('\n').find((line) => line.startsWith('| ') && seen.every((text) => line.includes(String(text))));
  assert.ok(row, `the page does not explain ${seen.join(', ')}`);
}

/** Resolves with why a client cannot connect. The client forgets the server's answer when its listeners have run. */
async function failure(socket) {
  const seen = {};
  socket.once('connect_error', (error) => Object.assign(seen, { message: error.message, status: error.context?.status, answer: error.context?.responseText }));
  await next(socket, 'connect_error');
  return seen;
}

/** Connects in vain, and checks what the client sees. */
async function refused(t, url, options, message, status, answer) {
  const seen = await failure(connect(t, url, options));
  assert.equal(seen.message, message);
  if (status !== undefined) assert.equal(seen.status, status);
  if (answer) assert.match(seen.answer, new RegExp(answer));
  explained(message, ...(status === undefined ? [] : [`status ${status}`]), ...(answer ? [answer] : []));
}

const elsewhere = { extraHeaders: { Origin: 'http://localhost:5173' } };

test('troubleshooting: nobody is there', async (t) => {
  const { url, stop } = await serve(t);
  await stop();
  await refused(t, url, {}, 'xhr poll error', 0);
  await refused(t, url, { transports: ['websocket'] }, 'websocket error');
});

test('troubleshooting: another origin', async (t) => {
  const server = await serve(t);
  await refused(t, server.url, elsewhere, 'xhr poll error', 403, 'Origin not allowed');
  await refused(t, server.url, { ...elsewhere, transports: ['websocket'] }, 'websocket error');
  await logged(server, 'CORS.Origins');
});

test('troubleshooting: another path', async (t) => {
  await refused(t, (await serve(t)).url, { path: '/chat/' }, 'xhr poll error', 404, 'Socket.IO is not here');
  const server = await serve(t, '-mistake', 'prefix');
  await refused(t, server.url, {}, 'xhr poll error', 404, 'Socket.IO is not here');
  await logged(server, 'StripPrefix');
});

test('troubleshooting: a route with a method', async (t) => {
  await refused(t, (await serve(t, '-mistake', 'method')).url, {}, 'xhr post error', 405);
});

test('troubleshooting: a client of Socket.IO 2', async (t) => {
  const server = await serve(t);
  const [error] = await next(connect(t, server.url, {}, io2), 'connect_error');
  assert.match(String(error.message ?? error), /xhr poll error/);
  await logged(server, 'Unsupported protocol version');
  explained('xhr poll error', 'status 400', 'Unsupported protocol version');
});

test('troubleshooting: several servers without a cluster', async (t) => {
  const { url } = await balancer(t, [await serve(t), await serve(t)]);
  const socket = connect(t, url, { transports: ['polling'] });
  const seen = await failure(socket);
  assert.match(seen.message, /^xhr (poll|post) error$/);
  assert.equal(seen.status, 400);
  assert.match(seen.answer, /Session ID unknown/);
  explained('status 400', 'Session ID unknown');
});

test('troubleshooting: a namespace that does not exist', async (t) => {
  await refused(t, `${(await serve(t)).url}/admin`, {}, 'Invalid namespace');
});

test('troubleshooting: a wrapper without Unwrap', async (t) => {
  const server = await serve(t, '-mistake', 'wrapper');
  const socket = connect(t, server.url);
  await next(socket, 'connect');
  await logged(server, 'WebSocket is not possible here');
  assert.equal(socket.io.engine.transport.name, 'polling');
  explained('polling', 'WebSocket is not possible here');
});

test('troubleshooting: something in front ends requests', async (t) => {
  const server = await serve(t, '-mistake', 'timeout');
  const socket = connect(t, server.url);
  for (let i = 0; i < 2; i++) assert.equal((await next(socket, 'disconnect'))[0], 'transport error');
  await logged(server, 'ends requests that wait');
  explained('`transport error` again and again', 'TimeoutHandler');
});

test('troubleshooting: a message that is too large', async (t) => {
  const { url } = await serve(t, '-max-payload', '1000');
  for (const [transport, reason] of [['websocket', 'transport close'], ['polling', 'transport error']]) {
    const socket = connect(t, url, { transports: [transport], forceNew: true });
    await next(socket, 'connect');
    socket.emit('x', 'y'.repeat(5_000));
    const [why, details] = await next(socket, 'disconnect');
    assert.equal(why, reason);
    if (transport === 'polling') assert.equal(details.description, 413);
    explained(`\`${reason}\` when a message is sent`);
  }
});

test('troubleshooting: events', async (t) => {
  const server = await serve(t);
  const socket = connect(t, server.url);
  await assert.rejects(socket.timeout(1_000).emitWithAck('nothing'), { message: 'operation has timed out' });
  explained('operation has timed out');
  for (const [event, code, ...args] of [['sum', 'bad_payload', 'one', 2], ['fail', 'internal']]) {
    assert.equal((await socket.emitWithAck(event, ...args)).error.code, code);
    explained(`{error: {code: "${code}"}}`);
  }
  await logged(server, 'the database is away');

  const answers = [];
  await Promise.all(['slow', 'sum'].map(async (event) => { await socket.emitWithAck(event, 1, 2); answers.push(event); }));
  assert.deepEqual(answers, ['slow', 'sum']);
  explained('later events wait');
});
