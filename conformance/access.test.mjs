// Who clients are, in a closed server: with the official client of each generation, and with ours.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { io } from 'socket.io-client';
import io2 from 'client-2.5.0';
import { connect } from '../js/parley.js';
import { atEnd, client, next, parley, test } from './harness.mjs';

const secret = 'a secret of 32 bytes and a few more';
let serial = 0;

/** Signs a token for a user that ends in so many seconds. */
function token(sub, seconds = 3600) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const text = `${part({ alg: 'HS256' })}.${part({ sub, iat: now, exp: now + seconds, jti: `t${++serial}` })}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

const closed = (t) => parley(t, '--addr', '127.0.0.1:0', '--data', 'memory', '--token-secret', secret, '--open-rooms', 'lounge=rw');

for (const [name, make, ask] of [
  ['the official client', (t, url, next) => client(t, url, { connect: io, auth: (give) => give({ token: next() }) }), (s, ...q) => s.emitWithAck(...q)],
  ['parley.js', (t, url, next) => {
    const socket = connect(url, { auth: async () => ({ token: next() }) });
    atEnd(t, () => socket.close());
    return socket;
  }, (s, ...q) => s.request(...q)],
]) {
  test(`${name} refreshes a token that ends`, async (t) => {
    const { url } = await closed(t);
    const socket = make(t, url, () => token('u7', 40));
    await next(socket, 'tokenExpiring');
    const { expiresAt } = await ask(socket, 'refresh', { token: token('u7') });
    assert.ok(new Date(expiresAt) - Date.now() > 3_000_000, expiresAt);
  });

  test(`${name} comes back with a new token when one has ended`, async (t) => {
    const { url } = await closed(t);
    let asked = 0;
    const socket = make(t, url, () => token('u7', asked++ ? 3600 : 1));
    await next(socket, 'tokenExpiring');
    await next(socket, 'disconnect'); // after the time of grace
    await next(socket, 'connect');
    assert.equal(asked, 2);
    assert.equal((await ask(socket, 'hello', {})).me.userId, 'u7');
  });

  test(`${name} is told why it is refused`, async (t) => {
    const { url } = await closed(t);
    const socket = make(t, url, () => token('u7', -1));
    const error = await next(socket, 'connect_error');
    assert.equal(error.data?.code ?? error.code, 'token_expired');
  });
}

test('a client of Socket.IO 2 shows a header, or a ticket that it asks for before each attempt', async (t) => {
  const { url } = await closed(t);
  const old = (options) => {
    const socket = io2(url, { forceNew: true, reconnectionDelay: 20, ...options });
    atEnd(t, () => socket.close());
    return socket;
  };
  const me = (socket) => new Promise((resolve) => socket.emit('hello', {}, (answer) => resolve(answer.me.userId)));

  const extraHeaders = { Authorization: `Bearer ${token('u7')}` };
  const withHeader = old({ transportOptions: { polling: { extraHeaders }, websocket: { extraHeaders } } });
  assert.equal(await me(withHeader), 'u7');

  const ticket = async () => {
    const answer = await fetch(`${url}/api/tickets`, {
      method: 'POST', headers: { Authorization: `Bearer ${token('u8')}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ path: '/socket.io/' }),
    });
    assert.equal(answer.status, 201);
    return (await answer.json()).ticket;
  };
  const withTicket = old({ query: { ticket: await ticket() } });
  assert.equal(await me(withTicket), 'u8');
  const another = await ticket();
  withTicket.on('reconnect_attempt', () => { withTicket.io.opts.query = { ticket: another }; });
  const back = next(withTicket, 'reconnect');
  withTicket.io.engine.close(); // the network
  await back;
  assert.equal(await me(withTicket), 'u8');
});
