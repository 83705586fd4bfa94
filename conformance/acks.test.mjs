// Acknowledgements in both directions, errors of handlers, and retries of the client.
import assert from 'node:assert/strict';
import msgpack from 'socket.io-msgpack-parser';
import { client, connected, count, each, next, PATIENCE, serve, settled, test } from './harness.mjs';
import { proxy } from './proxy.mjs';

each('a callback, emitWithAck, and with a timeout', async (t, way) => {
  const { url } = await serve(t);
  const socket = await connected(t, url, way);
  const called = new Promise((resolve) => socket.emit('message-with-ack', 1, { two: 2 }, (...got) => resolve(got)));
  assert.deepEqual(await called, [1, { two: 2 }]);
  assert.deepEqual(await socket.emitWithAck('message-with-ack', 'x'), 'x');
  assert.deepEqual(await socket.timeout(PATIENCE).emitWithAck('message-with-ack', Buffer.from([1])), Buffer.from([1]));
  await assert.rejects(socket.timeout(50).emitWithAck('nobody-listens'), /timed out/);
  await assert.rejects(socket.timeout(50).emitWithAck('nth', 2, 'never'), /timed out/);
});

each('a thousand at once', async (t, way) => {
  const { url } = await serve(t);
  const socket = await connected(t, url, way);
  const answers = await Promise.all(count(1000).map((i) => socket.emitWithAck('message-with-ack', i)));
  assert.deepEqual(answers, count(1000));
});

async function asks(t, flags, options) {
  const { url } = await serve(t, ...flags);
  const socket = await connected(t, url, options);
  socket.on('question', (a, b, answer) => answer({ sum: a + b }, Buffer.from([a])));
  const got = await new Promise((resolve) => socket.emit('ask', PATIENCE, 1, 2, (...all) => resolve(all)));
  assert.deepEqual(got, [{ sum: 3 }, Buffer.from([1])]);
}

each('the server asks, from within a handler', (t, way) => asks(t, [], way));
each('the server asks by msgpack', (t, way) => asks(t, ['-msgpack'], { ...way, parser: msgpack }));

each('the server asks and gets no answer', async (t, way) => {
  const { url } = await serve(t);
  const socket = await connected(t, url, way);
  const answers = [];
  socket.on('question', (_, answer) => answers.push(answer));
  assert.equal((await socket.emitWithAck('ask', 50, 'silence')).error.code, 'no_answer');
  answers[0]('too late');
  await settled(socket);
});

test('the server asks many times at once, also while the client asks', async (t) => {
  const { url } = await serve(t);
  const sockets = await Promise.all(count(5).map(() => connected(t, url)));
  for (const socket of sockets) socket.on('question', (i, answer) => answer(i + 1));
  const asked = sockets.flatMap((socket) => count(50).map((i) => socket.emitWithAck('ask', PATIENCE, i)));
  assert.deepEqual(await Promise.all(asked), sockets.flatMap(() => count(50).map((i) => i + 1)));
});

each('the server asks all: all answers, or those that came in time', async (t, way) => {
  const { url } = await serve(t);
  const sockets = await Promise.all(count(4).map(() => connected(t, url, way)));
  sockets.forEach((socket, i) => socket.on('question', (q, answer) => answer(`${q}${i}`)));
  const ask = (ms) => new Promise((resolve) => sockets[0].emit('ask-all', ms, 'a', (answers, complete) => resolve([answers.sort(), complete])));
  assert.deepEqual(await ask(PATIENCE), [['a0', 'a1', 'a2', 'a3'], true]);
  sockets[3].off('question');
  assert.deepEqual(await ask(5000), [['a0', 'a1', 'a2'], false]);
  sockets[2].off('question').on('question', () => sockets[2].disconnect()); // ask-all does not wait for it
  sockets[3].disconnect();
  assert.deepEqual((await ask(36_000_000))[0], ['a0', 'a1']);
});

each('errors of handlers', async (t, way) => {
  const { url } = await serve(t);
  const socket = await connected(t, url, way);
  assert.deepEqual(await socket.emitWithAck('fail'), { error: { code: 'too_bad', message: 'it did not work', data: 42 } });
  assert.deepEqual(await socket.emitWithAck('panic'), { error: { code: 'internal', message: 'internal error' } });
  assert.equal((await socket.emitWithAck('join', { not: 'a string' })).error.code, 'bad_payload');
  socket.emit('fail');
  socket.emit('panic');
  await settled(socket);
  await connected(t, url, way);
});

each('when the connection breaks, pending requests fail, and unsent ones are sent later', async (t, way) => {
  const { url } = await serve(t);
  const between = await proxy(t, url);
  const socket = await connected(t, between.url, way);
  const failing = [socket, socket.timeout(PATIENCE)].map((emitter) => assert.rejects(emitter.emitWithAck('nth', 3, 'lost'), /disconnected/));
  await settled(socket);
  const lost = next(socket, 'disconnect');
  between.down();
  await lost;
  await Promise.all(failing);
  const later = socket.emitWithAck('message-with-ack', 'later');
  between.up();
  assert.equal(await later, 'later');
});

each('with retries: again until acknowledged, in order, one at a time', async (t, way) => {
  const { url } = await serve(t);
  const socket = await connected(t, url, { ...way, retries: 5, ackTimeout: 300 });
  const done = [];
  const emits = [['nth', 3, 'a'], ['message-with-ack', 'b'], ['nth', 2, 'c']];
  const answers = await Promise.all(emits.map(async (args) => {
    const answer = await socket.emitWithAck(...args);
    done.push(args.at(-1));
    return answer;
  }));
  assert.deepEqual(answers, [3, 'b', 2]);
  assert.deepEqual(done, ['a', 'b', 'c']);
  await assert.rejects(client(t, url, { ...way, retries: 1, ackTimeout: 50 }).emitWithAck('nth', 9, 'd'), /timed out/);
});

test('with retries: over a broken connection', async (t) => {
  const { url } = await serve(t);
  const between = await proxy(t, url);
  const socket = await connected(t, between.url, { retries: 100, ackTimeout: 2000 });
  const answers = [];
  for (const i of count(50)) {
    answers.push(socket.emitWithAck('message-with-ack', i));
    if (i % 10 !== 5) continue;
    await answers[i - 1];
    between.cut();
  }
  assert.deepEqual(await Promise.all(answers), count(50));
});
