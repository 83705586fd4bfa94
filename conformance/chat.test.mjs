// Tests the parley binary with the official client: rooms with a history.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atEnd, collect, connected, count, each, next, parley, test, unlimited } from './harness.mjs';
import { proxy } from './proxy.mjs';

/** Starts the binary with its own data directory, and can restart it on the same data. */
async function room(t) {
  const data = await mkdtemp(join(tmpdir(), 'parley-'));
  atEnd(t, () => rm(data, { recursive: true, force: true }));
  const start = () => parley(t, '--addr', '127.0.0.1:0', '--data', data, ...unlimited);
  return { start, ...(await start()) };
}

/** Connects a client and joins a room. */
async function member(t, url, options, join) {
  const socket = await connected(t, url, options);
  const live = collect(socket, 'newMessage'); // before joining: live messages may come together with the answer
  const joined = await socket.emitWithAck('joinRoom', { roomId: 'r', ...join });
  const say = (message, clientId) => socket.emitWithAck('sendMessage', { roomId: 'r', message, clientId });
  /** Sends a message and returns all live messages before it. */
  const heard = async () => {
    const { seq } = await say('the end');
    while (!(live.at(-1)?.[0].seq >= seq)) await next(socket, 'newMessage');
    return live.flat().filter((message) => message.seq < seq);
  };
  return { socket, joined, live, say, heard };
}

/** Asserts that an object has the wanted properties. */
const contains = (actual, wanted) => assert.deepEqual(Object.fromEntries(Object.keys(wanted).map((key) => [key, actual[key]])), wanted);

const seqs = (messages) => messages.map(({ seq }) => seq);

each('join, send, and everybody gets it', async (t, way) => {
  const { url } = await room(t);
  const ada = await member(t, url, way, { userId: 'ada', name: 'Ada' });
  const bob = await member(t, url, way, { operatorId: 'bob', name: 'Bob' });
  const { members, epoch, ...rest } = ada.joined;
  assert.ok(epoch);
  assert.deepEqual(members, [{ id: ada.socket.id, userId: 'ada', name: 'Ada' }]);
  contains(rest, { roomId: 'r', messages: [], hasMore: false, lastSeq: 0 });
  assert.deepEqual(bob.joined.members.map(({ id }) => id), [ada.socket.id, bob.socket.id]);

  const first = await ada.say({ text: 'hi 😀' }, 'c1');
  contains(first, { roomId: 'r', seq: 1, userId: 'ada', message: { text: 'hi 😀' }, clientId: 'c1' });
  assert.ok(typeof first.id === 'string' && first.id && Math.abs(Date.parse(first.timestamp) - Date.now()) < 60_000);
  const second = await bob.say('anything', undefined);
  contains(second, { seq: 2, operatorId: 'bob', message: 'anything' });
  for (const value of [null, 0, [1, { a: [] }], '', true]) await ada.say(value);
  const heard = await ada.heard();
  assert.deepEqual((await bob.heard()).slice(0, -1), heard);
  assert.deepEqual(heard.slice(0, 2), [first, second]);
  assert.deepEqual(seqs(heard), [1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(heard.slice(2).map(({ message }) => message), [null, 0, [1, { a: [] }], '', true]);
});

each('without acknowledgement: history and error events', async (t, way) => {
  const { url } = await room(t);
  const { say } = await member(t, url, way);
  await say('before');
  const socket = await connected(t, url, way);
  let came = next(socket, 'history');
  socket.emit('joinRoom', { roomId: 'r' });
  const joined = await came;
  contains(joined, { roomId: 'r', hasMore: false, lastSeq: 1 });
  assert.deepEqual(joined.messages.map(({ message }) => message), ['before']);
  assert.equal(joined.members.length, 2);
  came = next(socket, 'history');
  socket.emit('history', { roomId: 'r', after: 0 });
  assert.deepEqual(seqs((await came).messages), [1]);
  came = next(socket, 'newMessage');
  socket.emit('sendMessage', { roomId: 'r', message: 'live' });
  assert.equal((await came).message, 'live');
  came = next(socket, 'error');
  socket.emit('sendMessage', { roomId: 'elsewhere', message: 1 });
  contains(await came, { code: 'not_joined', event: 'sendMessage' });
});

test('errors', async (t) => {
  const { url } = await room(t);
  const { socket, say } = await member(t, url, {}, { userId: 'ada' });
  const refused = async (code, ...args) => {
    const { error } = await socket.emitWithAck(...args);
    assert.deepEqual([error?.code, typeof error?.message], [code, 'string'], JSON.stringify(args).slice(0, 100));
  };
  for (const event of ['joinRoom', 'sendMessage', 'history', 'leaveRoom', 'typing']) {
    await refused('bad_payload', event, { roomId: 1 });
    await refused('bad_payload', event, 'a string');
    await refused('bad_payload', event, {});
    await refused('bad_payload', event);
    await refused('bad_room', event, { roomId: 'a\nb', message: 1 });
    await refused('bad_room', event, { roomId: 'x'.repeat(10_000), message: 1 });
  }
  for (const event of ['sendMessage', 'history', 'typing']) await refused('not_joined', event, { roomId: 'other', message: 1 });
  await refused('bad_payload', 'sendMessage', { roomId: 'r' });
  await refused('too_large', 'sendMessage', { roomId: 'r', message: 'x'.repeat(70_000) });
  await refused('identity_mismatch', 'sendMessage', { roomId: 'r', userId: 'eve', message: 1 });
  await refused('identity_mismatch', 'joinRoom', { roomId: 'r', userId: 'guest-00000000' });
  await refused('bad_payload', 'history', { roomId: 'r', before: 2, after: 1 });
  await refused('bad_payload', 'history', { roomId: 'r', limit: -1 });
  await refused('bad_payload', 'joinRoom', { roomId: 'r', after: -1 });
  await refused('unknown_event', 'no such event', 1);
  await say('one', 'same');
  assert.equal((await say('two', 'same')).error.code, 'key_reuse');
  assert.deepEqual((await socket.emitWithAck('history', { roomId: 'r' })).messages.map(({ message }) => message), ['one']);
});

each('a message resent with the same clientId is stored once', async (t, way) => {
  const { url } = await room(t);
  const ada = await member(t, url, way, { userId: 'ada' });
  const bob = await member(t, url, way, { userId: 'bob' });
  const answers = await Promise.all(count(10).map(() => ada.say('once', 'c1')));
  for (const answer of answers) assert.deepEqual(answer, answers[0]);
  const again = await member(t, url, way, { userId: 'ada' });
  assert.deepEqual(await again.say('once', 'c1'), answers[0]);
  assert.notEqual((await bob.say('once', 'c1')).seq, answers[0].seq); // another user's clientId
  assert.deepEqual(seqs(await bob.heard()), [1, 2]);
});

test('pages of history', async (t) => {
  const { url } = await room(t);
  const { socket, say } = await member(t, url);
  await Promise.all(count(120).map((i) => say(i)));
  const page = async (request) => {
    const { messages, hasMore, lastSeq, roomId } = await socket.emitWithAck('history', { roomId: 'r', ...request });
    assert.deepEqual([lastSeq, roomId], [120, 'r']);
    for (const { seq, message } of messages) assert.equal(message, seq - 1);
    return [messages[0]?.seq, messages.at(-1)?.seq, messages.length, hasMore];
  };
  assert.deepEqual(await page({}), [71, 120, 50, true]);
  assert.deepEqual(await page({ before: 71 }), [21, 70, 50, true]);
  assert.deepEqual(await page({ before: 21 }), [1, 20, 20, false]);
  assert.deepEqual(await page({ before: 1 }), [undefined, undefined, 0, false]);
  assert.deepEqual(await page({ after: 0 }), [1, 50, 50, true]);
  assert.deepEqual(await page({ after: 100 }), [101, 120, 20, false]);
  assert.deepEqual(await page({ after: 120 }), [undefined, undefined, 0, false]);
  assert.deepEqual(await page({ after: 10, limit: 3 }), [11, 13, 3, true]);
  assert.deepEqual(await page({ before: 1000, limit: 1000 }), [1, 120, 120, false]);
  const { joined } = await member(t, url, {}, { limit: 10 });
  assert.deepEqual([joined.messages[0].seq, joined.messages.length, joined.hasMore, joined.lastSeq], [111, 10, true, 120]);
});

each('edits and deletions reach everybody: at once, after an absence, and in feeds', async (t, way) => {
  const { url } = await room(t);
  const ada = await member(t, url, way, { userId: 'ada' });
  const bob = await member(t, url, way, { userId: 'bob' });
  const changed = collect(bob.socket, 'messageChanged');
  for (const text of ['one', 'two', 'three']) await ada.say(text, text);
  const edit = (event, request) => ada.socket.emitWithAck(event, { roomId: 'r', ...request });
  const first = await edit('editMessage', { seq: 1, message: 'ONE' });
  contains(first, { seq: 1, rev: 4, message: 'ONE', clientId: 'one', userId: 'ada' });
  const second = await edit('deleteMessage', { seq: 2, ifRev: 2 });
  contains(second, { seq: 2, rev: 5, message: null, deleted: true });
  assert.deepEqual(await edit('deleteMessage', { seq: 2, ifRev: 2 }), second, 'again: it changes nothing');
  assert.equal((await edit('editMessage', { seq: 2, message: 'x' })).error.code, 'conflict');
  contains((await edit('editMessage', { seq: 1, message: 'x', ifRev: 1 })).error, { code: 'conflict', data: { message: first } });
  assert.deepEqual(await ada.say('one', 'one'), first, 'sent again: it is what it is now');
  const six = await ada.say('six');
  assert.equal(six.seq, 6, 'numbers of changes are none of messages');
  await bob.heard();
  assert.deepEqual(changed.flat(), [first, second]);
  assert.deepEqual(seqs(bob.live.flat()), [1, 2, 3, 6, 7]);

  // Those who were away get each message once, as it is now.
  const back = async (after) => {
    const { joined } = await member(t, url, way, { after, epoch: ada.joined.epoch });
    return [joined.messages.map(({ seq, rev = 0 }) => Math.max(seq, rev)), joined.hasMore, joined.lastSeq];
  };
  assert.deepEqual(await back(1), [[3, 4, 5, 6, 7], false, 7]);
  assert.deepEqual(await back(3), [[4, 5, 6, 7], false, 7]);
  assert.deepEqual(await back(4), [[5, 6, 7], false, 7]);
  const page = async (request) => {
    const { messages, hasMore, hasBefore, hasAfter, lastSeq } = await bob.socket.emitWithAck('history', { roomId: 'r', limit: 2, ...request });
    assert.equal(lastSeq, 7);
    return [seqs(messages).join(), hasMore, hasBefore, hasAfter];
  };
  assert.deepEqual(await page({}), ['6,7', true, true, false]);
  assert.deepEqual(await page({ before: 6 }), ['2,3', true, true, true]);
  assert.deepEqual(await page({ around: 4 }), ['3,6', true, true, true]);
  assert.deepEqual(await page({ around: 1, limit: 10 }), ['1,2,3,6,7', false, false, false]);
  assert.deepEqual(await page({ after: 3 }), ['1,2', true, true, true]);
  assert.deepEqual(await page({ after: 5 }), ['6,7', false, true, false]);

  const feed = await fetch(new URL('/rooms/r/events?lastEventId=earliest', url));
  let text = '';
  for await (const chunk of feed.body.pipeThrough(new TextDecoderStream())) if (/^event: live$/m.test(text += chunk)) break;
  assert.deepEqual(Array.from(text.matchAll(/^event: (\w+)$/gm), ([, name]) => name), ['newMessage', 'messageChanged', 'messageChanged', 'newMessage', 'newMessage', 'live']);
});

each('presence and typing', async (t, way) => {
  const { url } = await room(t);
  const ada = await member(t, url, way, { userId: 'ada', name: 'Ada' });
  const typing = collect(ada.socket, 'typing');
  let news = next(ada.socket, 'presence');
  const bob = await member(t, url, way, { userId: 'bob' });
  const him = { id: bob.socket.id, userId: 'bob' };
  assert.deepEqual(await news, { roomId: 'r', type: 'join', member: him, count: 2 });

  while (typing.length === 0) { // the server may drop a typing event, so repeat it
    await bob.socket.emitWithAck('typing', { roomId: 'r', typing: true });
    await ada.socket.emitWithAck('history', { roomId: 'r' });
  }
  const stopped = next(ada.socket, 'typing');
  await bob.socket.emitWithAck('typing', { roomId: 'r', typing: false });
  assert.deepEqual(typing[0], [{ roomId: 'r', userId: 'bob', typing: true }]);
  assert.deepEqual(await stopped, { roomId: 'r', userId: 'bob', typing: false });

  const changes = collect(ada.socket, 'presence');
  const join = (name) => bob.socket.emitWithAck('joinRoom', { roomId: 'r', userId: 'bob', name });
  await join('Robert');
  assert.deepEqual(await bob.socket.emitWithAck('leaveRoom', { roomId: 'r' }), { roomId: 'r' });
  await ada.say('he does not hear this');
  assert.equal((await join('Bob')).members.length, 2);
  assert.deepEqual(bob.live, []);
  bob.socket.disconnect();
  while (changes.length < 4) await next(ada.socket, 'presence');
  assert.deepEqual(changes, [['join', 'Robert', 2], ['leave', 'Robert', 1], ['join', 'Bob', 2], ['leave', 'Bob', 1]]
    .map(([type, name, count]) => [{ roomId: 'r', type, member: { ...him, name }, count }]));
});

each('joining during traffic: no gap, nothing twice', async (t, way) => {
  const { url } = await room(t);
  const { say } = await member(t, url, { transports: ['websocket'] });
  const sent = Promise.all(count(400).map((i) => say(i)));
  for (let i = 0; i < 10; i++) {
    const { joined, heard } = await member(t, url, way, { limit: 1000 });
    const all = [...joined.messages, ...await heard()];
    assert.deepEqual(seqs(all), count(all.length).map((n) => n + 1));
  }
  await sent;
});

each('killed and restarted: acknowledged messages are there, once and in order', async (t, way) => {
  let server = await room(t);
  const { start } = server;
  const between = await proxy(t, server.url);
  const total = 300;

  // This acts like an ordinary client: after a disconnect it joins from its last message.
  const reader = await connected(t, between.url, way);
  const seen = [];
  const live = []; // live messages since joining began
  let epoch, complete;
  const joinAgain = async () => {
    if (complete) seen.push(...live); // from the last connection; if its page was not complete, there is a gap before them
    live.length = 0;
    complete = false;
    let page = await reader.emitWithAck('joinRoom', { roomId: 'r', userId: 'bob', limit: 20, ...(epoch && { after: seen.length, epoch }) });
    assert.ok(!page.reset);
    epoch = page.epoch;
    for (;;) {
      seen.push(...page.messages);
      if (seen.length >= page.lastSeq) break;
      page = await reader.emitWithAck('history', { roomId: 'r', after: seen.length, limit: 20 });
    }
    complete = true;
  };
  reader.on('newMessage', (message) => live.push(message));
  let joined = joinAgain();
  reader.on('connect', () => {
    joined = joinAgain();
    joined.catch(() => {}); // disconnected: the next connect joins again
  });
  await joined;

  const writer = await connected(t, between.url, way);
  const acknowledged = new Map();
  const rejoin = () => writer.emitWithAck('joinRoom', { roomId: 'r', userId: 'ada' });
  let ready = rejoin();
  writer.on('connect', () => {
    ready = rejoin();
    ready.catch(() => {}); // likewise
  });
  const send = async (i) => {
    for (;;) {
      try {
        if (!writer.connected) await next(writer, 'connect');
        await ready;
        if (!writer.connected) continue; // otherwise it would send before joining
        const stored = await writer.emitWithAck('sendMessage', { roomId: 'r', message: i, clientId: `c${i}` });
        assert.equal(stored.error, undefined);
        return acknowledged.set(i, stored);
      } catch (error) {
        if (!/disconnected/.test(error.message)) throw error;
      }
    }
  };
  for (let i = 0; i < total; i += 30) {
    const batch = count(30).map((k) => send(i + k));
    if (i === 90 || i === 210) {
      await batch[10];
      await server.stop('SIGKILL');
      server = await start();
      between.target = server.url;
    }
    await Promise.all(batch);
  }
  assert.equal(acknowledged.size, total);

  const { socket, say } = await member(t, server.url);
  const { messages } = await socket.emitWithAck('history', { roomId: 'r', after: 0, limit: 1000 });
  assert.deepEqual(seqs(messages), count(total).map((n) => n + 1));
  assert.deepEqual(messages, [...acknowledged.values()].sort((a, b) => a.seq - b.seq));
  await joined;
  const { seq } = await say('the end');
  while (live.at(-1)?.seq !== seq) await next(reader, 'newMessage');
  seen.push(...live.slice(0, -1));
  assert.deepEqual(seen, messages);
});
