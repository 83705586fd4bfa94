// A day of a support desk: visitors, a user of the site and operators at the binary, each with an
// official client.
import assert from 'node:assert/strict';
import legacy from 'client-2.5.0';
import { each, test } from './harness.mjs';
import { bearer, desk, newSecret, person, post, signer, watch } from './desk.mjs';
import { until } from './request.mjs';

const contains = (actual, wanted) => assert.deepEqual(Object.fromEntries(Object.keys(wanted).map((key) => [key, actual?.[key]])), wanted);
const texts = ({ messages }) => messages.map(({ message }) => message?.text ?? message);
const numberOf = ({ seq, rev = 0 }) => Math.max(seq, rev);

each('a day of a support desk', async (t, way) => {
  const secret = newSecret();
  const sign = signer(secret);
  const { url } = await desk(t, '--visitors', '--search', '--token-secret', secret);
  const operator = (name, more) => person(t, url, { transports: ['websocket'], auth: { token: sign({ sub: name.toLowerCase(), name, parley: { role: 'operator' }, ...more }) } });

  // The operators open their lists.
  const anna = await operator('Anna');
  const ben = await operator('Ben');
  const inbox = await watch(anna);
  const colleague = await watch(ben);
  contains((await anna.does('hello', {})).me, { operatorId: 'anna', name: 'Anna', role: 'operator' });
  assert.deepEqual(inbox.counts, { open: 0, waiting: 0, unassigned: 0, mine: 0 });

  // A visitor writes: the conversation begins with the message.
  const visitor = await post(url, '/api/visitors', {});
  assert.equal(visitor.status, 201);
  const ada = await person(t, url, { ...way, auth: { token: visitor.token } });
  const page = { url: 'https://shop.example/cart', title: 'Cart' };
  contains(await ada.does('hello', { page, locale: 'de' }), { me: { userId: visitor.userId, role: 'user', visitor: true }, open: [] });
  const first = { message: { text: 'Where is my parcel?' }, clientId: 'ada-1', subject: 'Parcel' };
  const started = await ada.does('startConversation', first);
  const { roomId } = started;
  assert.match(roomId, /^c_[a-z2-7]{26}$/);
  contains(started, { status: 'open', subject: 'Parcel', existing: undefined });
  contains(started.message, { seq: 1, userId: visitor.userId, message: first.message, clientId: 'ada-1' });
  const again = await ada.does('startConversation', first);
  contains(again, { roomId, existing: true });
  contains(again.message, started.message); // sent again, it is the same message
  let joined = await ada.does('joinRoom', { roomId });
  assert.deepEqual(texts(joined), ['Where is my parcel?']);

  // It waits in the operators' lists.
  const waiting = await inbox.row(roomId, (row) => row.waitingSince);
  assert.equal(waiting.waitingSince, started.message.timestamp);
  contains(waiting, { userId: visitor.userId, status: 'open', operatorId: undefined, lastSeq: 1, page });
  contains(waiting.lastMessage, { seq: 1, by: 'user', excerpt: 'Where is my parcel?' });
  contains((await ben.does('listRooms', { filter: { waiting: true, assignee: 'none' }, sort: 'waiting' })), { counts: { open: 1, waiting: 1, unassigned: 1, mine: 0 } });

  // Both take it; the second is told who has it.
  assert.equal((await anna.does('claimRoom', { roomId })).operatorId, 'anna');
  const { data } = await ben.mayNot('conflict', 'claimRoom', { roomId });
  contains(data.room, { roomId, operatorId: 'anna' });
  contains(await ada.hears('roomChanged', ({ room }) => room.operator), { room: { roomId, status: 'open', operator: { name: 'Anna', online: true }, subject: 'Parcel' } });
  await colleague.row(roomId, (row) => row.operatorId === 'anna');

  // She answers: nobody waits any more.
  const open = await anna.does('joinRoom', { roomId, notes: true });
  contains(open.room, { unread: 1, readSeq: 0 });
  assert.deepEqual(open.notes.messages.map(({ message }) => message.event), ['claimed']);
  const answer = await anna.does('sendMessage', { roomId, message: { text: 'It leaves today.' }, clientId: 'anna-1' });
  contains(answer, { seq: 2, operatorId: 'anna', userId: visitor.userId });
  assert.deepEqual(await ada.hears('newMessage', ({ seq }) => seq === 2), answer);
  await inbox.row(roomId, (row) => row.lastSeq === 2 && !row.waitingSince);

  // Both sides see how far the other has read, and that it types.
  assert.deepEqual(await ada.does('markRead', { roomId, seq: 2 }), { roomId, seq: 2, unread: 0 });
  assert.deepEqual(await anna.hears('read', ({ by }) => by === 'user'), { roomId, seq: 2, by: 'user' });
  assert.deepEqual(await anna.does('markRead', { roomId, seq: 999 }), { roomId, seq: 2, unread: 0 }, 'as far as there are messages');
  assert.deepEqual(await ada.hears('read', ({ by }) => by === 'operators'), { roomId, seq: 2, by: 'operators' });
  contains(await anna.does('markUnread', { roomId, seq: 1 }), { seq: 0, unread: 1 });
  for (const [who, other, wanted] of [[ada, anna, { roomId, userId: visitor.userId }], [anna, ada, { roomId, operatorId: 'anna', name: 'Anna' }]]) {
    const heard = () => other.events.find(([event, { typing }]) => event === 'typing' && typing);
    await until(async function typing() { await who.does('typing', { roomId }); return heard(); }); // the server may drop one, so repeat it
    assert.deepEqual(heard()[1], { ...wanted, typing: true });
  }

  // She hands it over with notes, which only operators see.
  await anna.does('addNote', { roomId, message: { text: 'confidential-1' }, clientId: 'note-1' });
  await anna.mayNot('conflict', 'transferRoom', { roomId, operatorId: 'ben', from: 'ben' });
  contains(await anna.does('transferRoom', { roomId, operatorId: 'ben', from: 'anna', note: 'confidential-2' }), { operatorId: 'ben' });
  await colleague.row(roomId, (row) => row.operatorId === 'ben');
  const taken = await ben.does('joinRoom', { roomId, notes: true });
  assert.deepEqual(texts(taken.notes).map((note) => note.event ?? note), ['claimed', 'confidential-1', 'transferred']);
  contains(taken.notes.messages[2].message, { from: 'anna', to: 'ben', note: 'confidential-2' });
  await ben.does('addNote', { roomId, message: { text: 'confidential-3' } });
  contains((await anna.hears('newNote', ({ message }) => message.text === 'confidential-3')), { operatorId: 'ben', roomId });

  // The visitor loses its connection. Meanwhile the operator writes, changes and deletes.
  const last = Math.max(...ada.events.filter(([event]) => event === 'newMessage').map(([, message]) => numberOf(message)), joined.lastSeq);
  await ada.leaves();
  await ben.hears('presence', ({ type, member }) => type === 'leave' && member.userId === visitor.userId);
  await ben.does('sendMessage', { roomId, message: { text: 'Ben here.' }, clientId: 'ben-1' });
  await ben.does('sendMessage', { roomId, message: { text: 'It is on its wya.' }, clientId: 'ben-2' });
  const mistake = await ben.does('sendMessage', { roomId, message: { text: 'password: hunter2' } });
  contains(await ben.does('editMessage', { roomId, seq: 4, message: { text: 'It is on its way.' }, ifRev: 4 }), { seq: 4, rev: 6, message: { text: 'It is on its way.' } });
  contains(await ben.does('deleteMessage', { roomId, seq: mistake.seq }), { seq: 5, rev: 7, message: null, deleted: true });
  await ada.comes();
  joined = await ada.does('joinRoom', { roomId, after: last, epoch: joined.epoch });
  assert.deepEqual(joined.messages.map(numberOf), [3, 6, 7], 'in the order of their numbers, as they are now');
  assert.deepEqual(texts(joined), ['Ben here.', 'It is on its way.', null]);
  contains(joined, { reset: undefined, hasMore: false, lastSeq: 7 });

  // Now the operator is away, and the visitor changes its own messages, and nobody else's.
  await ben.leaves();
  await anna.hears('presence', ({ type, member }) => type === 'leave' && member.operatorId === 'ben');
  const third = await ada.does('sendMessage', { roomId, message: { text: 'Thansk!' }, clientId: 'ada-2' });
  contains(await ada.does('editMessage', { roomId, seq: third.seq, message: { text: 'Thanks!' } }), { seq: 8, rev: 9 });
  await ada.does('deleteMessage', { roomId, seq: 1 });
  await ada.mayNot('forbidden', 'editMessage', { roomId, seq: 3, message: 'x' });
  await ada.mayNot('forbidden', 'deleteMessage', { roomId, seq: 3 });
  await ben.comes();
  const back = await ben.does('joinRoom', { roomId, notes: true, after: 7, epoch: joined.epoch, notesAfter: taken.notes.lastSeq });
  assert.deepEqual(back.messages.map((message) => [numberOf(message), message.message?.text]), [[9, 'Thanks!'], [10, undefined]]);
  const missed = await ben.does('watchRooms', { after: colleague.position, epoch: colleague.epoch });
  assert.deepEqual(missed.rooms.map((row) => [row.roomId, row.lastSeq]), [[roomId, 10]], 'what has changed since, once');

  // He closes it and goes. The visitor writes again: the conversation is open, and nobody's.
  contains(await ben.does('closeRoom', { roomId, note: 'confidential-4' }), { status: 'closed', operatorId: 'ben' });
  await ada.hears('roomChanged', ({ room }) => room.status === 'closed');
  await ben.does('setStatus', { status: 'away' });
  const reopening = await ada.does('sendMessage', { roomId, message: { text: 'One more question about shipping.' }, clientId: 'ada-3' });
  contains(await inbox.row(roomId, (row) => row.lastSeq === reopening.seq), { status: 'open', operatorId: undefined, waitingSince: reopening.timestamp });

  // Search: operators find all, a visitor its own.
  const other = await post(url, '/api/visitors', {});
  const eve = await person(t, url, { ...way, auth: { token: other.token } });
  const theirs = await eve.does('startConversation', { message: { text: 'Your shipping costs?' }, clientId: 'eve-1' });
  const find = async (who, request) => (await who.ask('search', request)).hits?.map((hit) => [hit.roomId, hit.excerpt.slice(...hit.marks[0])]);
  /** Resolves when a search has found all that it has to find: the index is a little behind. */
  const finds = async (who, request, wanted) => until(async function found() { return JSON.stringify(await find(who, request)) === JSON.stringify(wanted); });
  await finds(anna, { query: 'shipping' }, [[theirs.roomId, 'shipping'], [roomId, 'shipping']]);
  await finds(anna, { query: 'confidential', notes: true }, Array(4).fill([roomId, 'confidential']));
  assert.deepEqual(await find(anna, { query: 'confidential' }), [], 'notes only if asked for');
  assert.deepEqual(await find(ada, { query: 'shipping' }), [[roomId, 'shipping']]);
  assert.deepEqual(await find(ada, { query: 'confidential' }), []);
  assert.deepEqual(await find(anna, { query: 'hunter2' }), [], 'what was deleted');
  await ada.mayNot('forbidden', 'search', { query: 'confidential', notes: true });
  await ada.mayNot('forbidden', 'search', { query: 'shipping', roomId: theirs.roomId });

  await wrongInputs({ ada, anna, roomId, theirs: theirs.roomId, token: sign({ sub: 'u7' }) });

  // The visitor signs in at the site: the conversation is the user's, on all devices.
  await ada.mayNot('bad_token', 'identify', { token: signer(newSecret())({ sub: 'u7' }) });
  await ada.mayNot('token_expired', 'identify', { token: sign({ sub: 'u7', lasts: -3600 }) });
  const user = { sub: 'u7', name: 'Ada Lovelace', email: 'ada@shop.example' };
  contains(await ada.does('identify', { token: sign(user) }), { merged: 1, me: { userId: 'u7', name: 'Ada Lovelace', role: 'user', was: [visitor.userId] } });
  contains(await inbox.row(roomId, (row) => row.userId === 'u7' && row.user.verified), { user: { name: 'Ada Lovelace', email: 'ada@shop.example', verified: true, online: true } });
  const phone = await person(t, url, { transports: ['websocket'], auth: { token: sign(user) } });
  assert.deepEqual((await phone.does('hello', {})).open.map((row) => row.roomId), [roomId]);
  const here = await phone.does('joinRoom', { roomId });
  assert.equal(here.lastSeq, reopening.seq);
  await phone.does('editMessage', { roomId, seq: reopening.seq, message: { text: 'One more question about the parcel.' } }); // her own, as the visitor that she was
  contains(await ada.hears('messageChanged', ({ seq }) => seq === reopening.seq), { message: { text: 'One more question about the parcel.' } });
  await phone.does('sendMessage', { roomId, message: { text: 'From my phone.' }, clientId: 'phone-1' });
  await ada.hears('newMessage', ({ clientId }) => clientId === 'phone-1');

  // Tokens are replaced in time, and only by the same user's.
  assert.ok(Date.parse((await phone.does('refresh', { token: sign({ ...user, lasts: 7200 }) })).expiresAt) > Date.now() + 3_700_000);
  await phone.mayNot('forbidden', 'refresh', { token: sign({ sub: 'u8' }) });
  await phone.mayNot('token_expired', 'refresh', { token: sign({ ...user, lasts: -3600 }) });
  await phone.does('refresh', { token: sign({ ...user, lasts: 30 }) }); // ends in less than 60 s
  await phone.hears('tokenExpiring');
  await phone.does('refresh', { token: sign(user) });
  for (const [code, token] of [['token_expired', sign({ ...user, lasts: -3600 })], ['bad_token', signer(newSecret())(user)], ['bad_token', 'nonsense'], ['bad_token', undefined]]) {
    await assert.rejects(person(t, url, { ...way, auth: { token } }), { code });
  }

  // No byte of a note has reached anybody but operators, and everybody is still there.
  for (const { wire } of [ada, eve, phone]) {
    assert.ok(wire.includes('newMessage') || wire.includes('roomId'), 'the wire is recorded');
    assert.doesNotMatch(wire, /confidential|~notes|newNote|noteChanged|"claimed"|"transferred"/);
  }
  assert.ok(anna.wire.includes('confidential-4'), 'and operators have them');
  for (const one of [ada, anna, ben, eve, phone]) assert.deepEqual([one.socket.connected, one.socket.id], [true, one.id], 'nothing has ended a connection');
});

/** Sends what must be refused, of each kind to each event, and nothing of it ends the connection. */
async function wrongInputs({ ada, anna, roomId, theirs, token }) {
  const optional = ['hello', 'listRooms', 'watchRooms', 'unwatchRooms', 'startConversation'];
  const inRooms = [
    'joinRoom', 'leaveRoom', 'sendMessage', 'editMessage', 'deleteMessage', 'history', 'markRead', 'markUnread', 'typing', 'claimRoom', 'transferRoom',
    'closeRoom', 'reopenRoom', 'answered', 'updateRoom', 'addNote', 'search',
  ];
  const others = ['identify', 'refresh', 'setStatus', 'getPerson', 'updatePerson'];
  const whole = { seq: 1, message: { text: 'x' }, query: 'x', operatorId: null };
  for (const who of [ada, anna]) {
    for (const event of [...optional, ...inRooms, ...others]) {
      for (const wrong of ['a string', 5, [], true]) await who.mayNot('bad_payload', event, wrong);
    }
    for (const event of inRooms) {
      for (const wrong of [{}, { roomId: 1 }, { roomId: null }, { roomId: { roomId } }]) await who.mayNot('bad_payload', event, wrong);
      for (const room of [`~notes/${roomId}`, `~notes/${theirs}`, '~', 'a\nb', '..', 'x'.repeat(300)]) await who.mayNot('bad_room', event, { ...whole, roomId: room });
    }
    await who.mayNot('unknown_event', 'dropTables', { roomId });
    for (const wrong of [{ seq: 'one' }, { seq: -1 }, { seq: 1.5 }, { seq: [1] }]) {
      for (const event of ['editMessage', 'deleteMessage', 'markRead']) await who.mayNot('bad_payload', event, { message: 'x', ...wrong, roomId });
    }
    for (const [event, wrong] of [
      ['sendMessage', {}], ['sendMessage', { message: 1, clientId: 7 }], ['joinRoom', { after: -1 }], ['joinRoom', { notes: 'yes' }], ['history', { before: 2, after: 1 }],
      ['history', { around: 'x' }], ['history', { limit: -1 }], ['typing', { typing: 'yes' }], ['search', { query: '' }], ['search', { query: 'x', since: 'yesterday' }],
    ]) await who.mayNot('bad_payload', event, { roomId, ...wrong });
    for (const wrong of [{ filter: 1 }, { filter: { status: 'lost' } }, { sort: 'size' }, { limit: 'all' }, { cursor: 'x' }]) await who.mayNot('bad_payload', 'listRooms', wrong);
    await who.mayNot('not_found', 'deleteMessage', { roomId, seq: 4000 });
    await who.mayNot('too_large', 'sendMessage', { roomId, message: 'x'.repeat(70_000) });
    await who.mayNot('identity_mismatch', 'joinRoom', { roomId, operatorId: 'chris' });
  }
  // What is somebody else's is out of reach, whatever the event.
  for (const room of [theirs, 'c_nowhere', 'lounge']) {
    for (const event of inRooms.filter((name) => name !== 'leaveRoom')) {
      const { error } = await ada.ask(event, { ...whole, roomId: room });
      assert.match(error?.code, /^(forbidden|not_joined)$/, `${event} in ${room}`);
    }
  }
  for (const event of ['claimRoom', 'transferRoom', 'answered', 'updateRoom', 'addNote', 'markUnread']) await ada.mayNot('forbidden', event, { ...whole, roomId });
  await ada.mayNot('forbidden', 'joinRoom', { roomId, notes: true });
  await ada.mayNot('forbidden', 'history', { roomId, notes: true });
  for (const [event, argument] of [['watchRooms', {}], ['setStatus', { status: 'away' }], ['getPerson', { userId: 'x' }], ['updatePerson', { userId: 'x', name: 'x' }]]) await ada.mayNot('forbidden', event, argument);
  for (const wrong of [{ status: 'asleep' }, { status: 1 }, {}]) await anna.mayNot('bad_payload', 'setStatus', wrong);
  await anna.mayNot('not_found', 'getPerson', { userId: 'nobody' });
  await anna.mayNot('forbidden', 'startConversation', { message: 'x' });
  await anna.mayNot('forbidden', 'identify', { token });
  for (const wrong of [{ addLabels: 'vip' }, { addLabels: ['x'.repeat(50)] }, { subject: 'x'.repeat(300) }, { attributes: [] }]) await anna.mayNot('bad_payload', 'updateRoom', { roomId, ...wrong });
}

each('a visitor with a client of Socket.IO 2', async (t, way) => {
  const secret = newSecret();
  const { url } = await desk(t, '--visitors', '--token-secret', secret);
  const anna = await person(t, url, { auth: { token: signer(secret)({ sub: 'anna', name: 'Anna', parley: { role: 'operator' } }) } });
  const inbox = await watch(anna);
  const visitor = await post(url, '/api/visitors', {});

  // In Node.js, the client can send headers. In browsers it asks for a ticket for each attempt.
  const old = await person(t, url, { ...way, connect: legacy, extraHeaders: bearer(visitor.token) });
  const { roomId } = await old.does('startConversation', { message: { text: 'Hello?' }, clientId: '1' });
  const joined = await old.does('joinRoom', { roomId });
  await inbox.row(roomId, (row) => row.waitingSince && row.userId === visitor.userId);
  await anna.does('joinRoom', { roomId, notes: true });
  await anna.does('claimRoom', { roomId });
  await anna.does('sendMessage', { roomId, message: { text: 'Good morning!' } });
  contains(await old.hears('newMessage', ({ operatorId }) => operatorId === 'anna'), { seq: 2, message: { text: 'Good morning!' } });
  await old.leaves();
  const three = await anna.does('sendMessage', { roomId, message: { text: 'Are you there?' } });

  const { ticket } = await post(url, '/api/tickets', { path: '/socket.io/' }, bearer(visitor.token));
  const back = await person(t, url, { ...way, connect: legacy, query: { ticket } });
  contains((await back.does('hello', {})).me, { userId: visitor.userId, visitor: true });
  const { messages, reset } = await back.does('joinRoom', { roomId, after: 2, epoch: joined.epoch });
  assert.deepEqual([messages, reset], [[three], undefined]);
  for (const query of [undefined, { token: visitor.token }, { ticket }]) await assert.rejects(person(t, url, { ...way, connect: legacy, query }), { code: 'bad_token' }, 'none, one in an address, and a ticket for the second time');
  for (const { wire } of [old, back]) assert.doesNotMatch(wire, /claimed|newNote/);
});

test('the evening: operators who sign in, bans and erasures, by commands beside the running server', async (t) => {
  const secret = newSecret();
  const server = await desk(t, '--visitors', '--search', '--token-secret', secret);
  const { url, command, filesWith } = server;
  const run = async (words, input) => {
    const done = await command(words, { input });
    assert.deepEqual([done.code, done.stderr], [0, done.stderr], words.join(' '));
    return done.stdout;
  };
  await run(['operator', 'add', 'ben', '--name', 'Ben', '--password-stdin'], 'correct horse battery\n');
  assert.equal((await post(url, '/api/session', { login: 'ben', password: 'wrong horse battery' })).status, 401);
  const session = await post(url, '/api/session', { login: 'ben', password: 'correct horse battery' });
  contains(session, { status: 200, operatorId: 'ben', name: 'Ben', role: 'operator' });
  const cookie = session.headers.get('set-cookie').split(';')[0];
  const ben = await person(t, url, { extraHeaders: { Cookie: cookie, Origin: url } });
  await ben.does('hello', {}); // with its first event, an operator is there
  await assert.rejects(person(t, url, { extraHeaders: { Cookie: cookie, Origin: 'https://evil.example' } }), 'a cookie counts for our own pages only');
  const anna = await person(t, url, { auth: { token: (await run(['token', 'create', '--operator', 'anna', '--name', 'Anna'])).trim() } });
  const inbox = await watch(anna);
  assert.deepEqual(inbox.operators.map(({ operatorId, status }) => [operatorId, status]), [['anna', 'online'], ['ben', 'online']]);

  const talk = async (text) => {
    const { token, userId } = await post(url, '/api/visitors', {});
    const visitor = await person(t, url, { auth: { token } });
    const { roomId } = await visitor.does('startConversation', { message: { text }, clientId: 'first' });
    await visitor.does('joinRoom', { roomId });
    await anna.does('joinRoom', { roomId, notes: true });
    await inbox.row(roomId);
    return { visitor, token, userId, roomId };
  };
  const ada = await talk('my-secret-address is 12 Main Street');
  const eve = await talk('buy-cheap-watches');
  await anna.does('sendMessage', { roomId: ada.roomId, message: { text: 'reply-to-ada' } });
  await anna.does('addNote', { roomId: ada.roomId, message: { text: 'note-about-ada' } });
  await ada.visitor.does('identify', { token: signer(secret)({ sub: 'u7', name: 'Lovelace-the-Countess', email: 'ada@shop.example' }) });
  await ben.does('joinRoom', { roomId: ada.roomId });

  // A ban ends the connection, and nobody gets back with the token, at any door.
  const ended = new Promise((resolve) => { eve.visitor.socket.once('disconnect', resolve); });
  await run(['ban', 'add', '--user', eve.userId, '--reason', 'spam']);
  assert.equal(await ended, 'io server disconnect');
  await assert.rejects(eve.visitor.comes(), { code: 'banned' });
  assert.equal((await fetch(new URL(`/rooms/${eve.roomId}/events`, url), { headers: bearer(eve.token) })).status, 403);
  await run(['ban', 'remove', '--user', eve.userId]);
  await eve.visitor.comes();

  // An erasure takes everything that a user has said, with what was answered and noted.
  const bytes = ['my-secret-address', 'reply-to-ada', 'note-about-ada', 'Lovelace-the-Countess', 'ada@shop.example', 'u7"'];
  assert.notDeepEqual(await filesWith(bytes[0]), [], 'there is something to erase');
  await run(['erase', '--user', 'u7', '--yes']);
  for (const who of [anna, ben, ada.visitor]) await who.hears('roomGone', ({ roomId }) => roomId === ada.roomId);
  await until(function gone() { return inbox.gone.includes(ada.roomId); });
  assert.deepEqual((await anna.does('listRooms', { filter: { status: 'all' } })).rooms.map(({ roomId }) => roomId), [eve.roomId]);
  await anna.mayNot('not_found', 'getPerson', { userId: 'u7' });
  for (const text of bytes) assert.deepEqual(await filesWith(text), [], text);
  assert.match((await inbox.row(eve.roomId)).lastMessage.excerpt, /watches/, 'and nobody else\'s');
  const after = await ada.visitor.does('startConversation', { message: { text: 'Hello again' } });
  assert.notEqual(after.roomId, ada.roomId);

  // Who is disabled is out at once.
  const out = new Promise((resolve) => { ben.socket.once('disconnect', resolve); });
  await run(['operator', 'disable', 'ben']);
  assert.equal(await out, 'io server disconnect');
  await anna.hears('operatorChanged', ({ operatorId, status }) => operatorId === 'ben' && status === 'offline');
  await assert.rejects(ben.comes(), { code: 'bad_token' });
  assert.equal((await post(url, '/api/session', { login: 'ben', password: 'correct horse battery' })).status, 401);
  for (const secretText of [secret, 'correct horse', ada.token, cookie.split('=')[1], 'watches']) assert.ok(!server.log().includes(secretText), 'the log has no secrets');
});

each('the same desk in open mode, which believes what clients say', async (t, way) => {
  const { url } = await desk(t);
  const anna = await person(t, url, { auth: { operatorId: 'anna', name: 'Anna' } });
  const ben = await person(t, url, { auth: { operatorId: 'ben', name: 'Ben' } });
  const inbox = await watch(anna);
  const ada = await person(t, url, { ...way, auth: { userId: 'ada', name: 'Ada' } });
  contains((await ada.does('hello', {})), { me: { userId: 'ada', name: 'Ada', role: 'user' }, open: [] });
  const { roomId } = await ada.does('startConversation', { message: { text: 'Hello?' } });
  const joined = await ada.does('joinRoom', { roomId });
  await inbox.row(roomId, (row) => row.waitingSince);
  await anna.does('claimRoom', { roomId });
  contains((await ben.mayNot('conflict', 'claimRoom', { roomId })).data.room, { operatorId: 'anna' });
  await anna.does('joinRoom', { roomId, notes: true });
  await anna.does('sendMessage', { roomId, message: { text: 'Good evening!' } });
  await inbox.row(roomId, (row) => !row.waitingSince);
  await anna.does('transferRoom', { roomId, operatorId: 'ben', note: 'confidential' });
  await ada.leaves();
  await anna.does('sendMessage', { roomId, message: { text: 'Still there?' } });
  await ada.comes();
  assert.deepEqual(texts(await ada.does('joinRoom', { roomId, after: joined.lastSeq, epoch: joined.epoch })), ['Good evening!', 'Still there?']);
  await ada.does('markRead', { roomId, seq: 3 });
  contains(await anna.hears('read', ({ by }) => by === 'user'), { seq: 3 });
  await ada.does('editMessage', { roomId, seq: 1, message: { text: 'Hello!' } });
  await ben.does('closeRoom', { roomId });
  await ada.does('sendMessage', { roomId, message: { text: 'Yes.' } });
  await inbox.row(roomId, (row) => row.status === 'open' && row.operatorId === 'ben'); // who is still there
  for (const event of ['identify', 'refresh']) await ada.mayNot('forbidden', event, { token: 'x' });
  assert.doesNotMatch(ada.wire, /confidential|claimed|newNote|~notes/);

  // A client that knows nothing of all this goes on as ever.
  const plain = await person(t, url, way);
  const other = await person(t, url, way);
  await plain.does('joinRoom', { roomId: 'lounge', userId: 'tom', name: 'Tom' });
  await other.does('joinRoom', { roomId: 'lounge' });
  contains(await plain.hears('presence'), { roomId: 'lounge', type: 'join', count: 2 });
  const sent = await plain.does('sendMessage', { roomId: 'lounge', message: 'hi', clientId: '1' });
  assert.deepEqual(await other.hears('newMessage'), sent);
  contains(sent, { roomId: 'lounge', seq: 1, userId: 'tom', message: 'hi' });
  assert.deepEqual((await other.does('history', { roomId: 'lounge' })).messages, [sent]);
  await until(async function typing() { await plain.does('typing', { roomId: 'lounge' }); return other.events.some(([event]) => event === 'typing'); });
  assert.deepEqual(new Set(plain.events.concat(other.events).map(([event]) => event)), new Set(['presence', 'newMessage', 'typing']));
  assert.deepEqual((await anna.does('listRooms', { filter: { status: 'all' } })).rooms.map((row) => row.roomId), [roomId], 'free rooms are none of the desk');
});
