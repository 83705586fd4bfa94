// How either side ends a socket, and what happens to events around that.
import { scenarios } from './twin.mjs';

const ways = [['websocket'], ['polling'], ['polling', 'websocket']];

/** Resolves when the server has reported the end of the client's socket. */
const gone = (c, name) => c.see(`server ${name}`, 'disconnect');

/** A handmade session that has joined the main namespace. */
async function byHand(c, name) {
  const session = await c.polling();
  await c.exchange(name, session, [`40${JSON.stringify({ as: name })}`], /^40/);
  return session;
}

scenarios('disconnect', {
  'a handler disconnects between two emits': async (c) => {
    for (const transports of ways) for (const close of [false, true]) {
      const name = `${transports} ${close}`;
      const a = await c.up(name, '/', { transports });
      a.emit('do', [['emit', 'bye', 1], ['disconnect', close], ['emit', 'after', 2]]);
      await c.see(name, 'disconnect');
      await gone(c, name);
    }
  },

  'what was sent in front of the end arrives': async (c) => {
    const big = 'x'.repeat(400_000);
    for (const transports of ways) for (const [how, end] of Object.entries({ disconnect: ['disconnect', false],
      'disconnect all': ['disconnect', true], close: ['close'] })) {
      const name = `${transports} ${how}`;
      const a = await c.up(name, '/', { transports });
      a.emit('do', [['emit', 'bye', 1, big], ['emit', 'bye', 2, Buffer.from(big)], ['emit', 'bye', 3], end]);
      await c.see(name, 'disconnect');
      await gone(c, name);
    }
  },

  'what was sent in front of the end of the server arrives': [{ alone: true }, async (c) => {
    const a = await c.up('a');
    c.stopped = true;
    a.emit('do', [['emit', 'bye', 1, 'x'.repeat(400_000)], ['emit', 'bye', 2], ['stopServer']]);
    await c.see('a', 'disconnect');
    await gone(c, 'a');
    c.saw('active', a.active);
  }],

  'disconnecting handlers go on': async (c) => {
    const a = await c.up('a');
    a.emit('do', [['connected'], ['disconnect', false], ['connected']]);
    await c.see('server a', 'connected', 2);
    await gone(c, 'a');
    await c.see('a', 'disconnect');
  },

  'events behind the one that disconnects': async (c) => {
    for (const close of [false, true]) {
      const name = `by hand ${close}`;
      const session = await byHand(c, name);
      await session.post(['["note","before"]', `["do",[["disconnect",${close}]]]`, '["note","behind"]',
        '["note","far behind"]'].map((event) => `42${event}`).join('\x1e'));
      await gone(c, name);
    }
  },

  'events in front of a DISCONNECT in one payload': async (c) => {
    const session = await byHand(c, 'a');
    await session.post('42["note",1]\x1e42["back",2]\x1e421["echo",3]\x1e41');
    await gone(c, 'a');
    const again = await byHand(c, 'b');
    await again.post('42["note",1]\x1e41');
    await gone(c, 'b');
    await c.exchange('b', again, ['40{"as":"again"}'], /^40/);
    await c.exchange('b', again, ['42["note",2]', '4277["echo","alive"]'], /alive/);
  },

  'events in front of a CLOSE in one payload': async (c) => {
    const session = await byHand(c, 'a');
    await session.post('42["note",1]\x1e42["note",2]\x1e1');
    await gone(c, 'a');
    const { status, body } = await session.get();
    c.saw('poll', { status, body });
  },

  'the ways in which a client ends': async (c) => {
    const w = await c.up('w');
    for (const transports of [['websocket'], ['polling']]) {
      for (const [how, end] of Object.entries({
        disconnect: (a) => a.disconnect(), close: (a) => a.io.engine.close(), manager: (a) => a.io._close(),
        kick: (a) => a.emit('do', [['disconnect', false]]), kickAll: (a) => a.emit('do', [['disconnect', true]]),
        'server closes': (a) => a.emit('do', [['close']]),
      })) {
        const name = `${how} ${transports}`;
        const a = await c.up(name, '/', { transports });
        await c.do(a, ['join', 'r1', 'r2'], ['part', 'watch', 'left']);
        end(a);
        await c.see(name, 'disconnect');
        await gone(c, name);
      }
    }
    await c.settled(w);
  },

  'the socket tells others that it has gone': async (c) => {
    const w = await c.up('w');
    await c.do(w, ['join', 'watch']);
    for (const how of ['disconnect', 'kick', 'close']) {
      const a = await c.up(how);
      await c.do(a, ['join', 'watch'], ['part', 'watch', 'left']);
      if (how === 'disconnect') a.disconnect(); else if (how === 'kick') a.emit('do', [['disconnect', true]]); else a.io.engine.close();
      await gone(c, how);
      await c.settled(w);
    }
    await c.do(w, ['sockets', {}]);
  },

  'WebSockets that end': async (c) => {
    for (const [name, end] of Object.entries({
      'close 1000': (a) => a.close(1000), 'close 1001': (a) => a.close(1001, 'going'), 'close 4000': (a) => a.close(4000,
        'private'), 'no close frame': (a) => a.terminate(),
      'DISCONNECT packet': (a) => a.send('41'),
    })) {
      const a = await c.open(name);
      end(a);
      await gone(c, name);
      if (name.startsWith('close')) await c.see(name, 'closed');
      a.terminate();
    }
  },

  'packets that nobody sends': async (c) => {
    for (const packet of ['', '9', '4', '49', '4x', '42', '42{', '42[', '42[]', '42{}', '42""', '42null', '42[1]', '42[null]',
      '42[{}]', '42[[]]', '42[true]', '42["note"', '42["note"]x', '42["note"] ', '42 ["note"]', '42-1["note"]', '42+1["note"]',
      '421.5["note"]', '4299999999999999999999["note"]', '42/admin["note"]', '43', '43[1]', '431', '431{}', '431[1', '4399[1]',
      '43-1[1]', '44', '44{"message":"x"}', '45', '450-["note"]', '451-["note",{"_placeholder":true,"num":0}]2', '451["note"]',
      '4511-["note"]', '45x-["note"]', '451-["note",{"_placeholder":true,"num":1}]', '45-1-["note"]',
      '461-1[{"_placeholder":true,"num":0}]', '47', '5', '6', '7', '8', '0', '2probe', '2', '3', '3probe', '1', 'b', 'bAAEC',
      '41{}', '42["connect"]', '42["disconnect"]', '42["disconnecting"]', '42["newListener"]', '42["removeListener"]',
      '42["connect_error"]', '42["error"]', '42["__proto__"]', '42["constructor"]', '42["toString"]', '42[""]']) {
      const name = `<${packet}>`;
      const a = await c.open(name, { pong: false });
      a.send(packet);
      a.send('4277["echo","alive"]');
      await c.until(() => c.seen(name).some((seen) => /alive/.test(seen) || seen[0] === 'closed'), name);
      a.terminate();
      await gone(c, name);
    }
  },

  'binary messages that nobody sends': async (c) => {
    for (const [name, messages] of Object.entries({
      'unasked': [Buffer.from([1])], 'empty, unasked': [Buffer.alloc(0)],
      'too many': ['451-["note",{"_placeholder":true,"num":0}]', Buffer.from([1]), 'wait', Buffer.from([2])],
      'text in between': ['451-["note",{"_placeholder":true,"num":0}]', '42["note",1]', Buffer.from([1])],
      'a packet as binary': [Buffer.from('42["note",1]')],
      'placeholder twice': ['451-["note",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]', Buffer.from([1])],
      'none is used': ['451-["note",1]', Buffer.from([1])],
      'swapped': ['452-["note",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]', Buffer.from([1]), Buffer.from([2])],
      'no number': ['451-["note",{"_placeholder":true}]', Buffer.from([1])],
      'a text as number': ['451-["note",{"_placeholder":true,"num":"0"}]', Buffer.from([1])],
      'a fraction': ['451-["note",{"_placeholder":true,"num":0.5}]', Buffer.from([1])],
      'false': ['451-["note",{"_placeholder":false,"num":0}]', Buffer.from([1])],
      'as the name': ['451-[{"_placeholder":true,"num":0}]', Buffer.from([1])],
      'close in between': ['451-["note",{"_placeholder":true,"num":0}]', '41'],
    })) {
      const a = await c.open(name);
      for (const message of messages) if (message === 'wait') await c.see(`server ${name}`, 'note'); else a.send(message);
      a.send('4277["echo","alive"]');
      await c.until(() => c.seen(name).some((seen) => /alive/.test(seen) || seen[0] === 'closed'), name);
      a.terminate();
      await gone(c, name);
    }
  },

  'a client that answers no ping': [{ pingInterval: 200, pingTimeout: 200 }, async (c) => {
    for (const name of ['silent', 'answers once', 'wrong answer']) {
      const a = await c.open(name, { pong: false });
      let answered = false;
      a.on('message', (data) => {
        if (String(data) !== '2' || answered || name === 'silent') return;
        a.send(name === 'wrong answer' ? '3x' : '3');
        answered = true;
      });
      await c.see(name, 'closed');
      await gone(c, name);
    }
    const session = await c.polling();
    await session.post('40{"as":"polling"}');
    await gone(c, 'polling');
    const { status, body } = await session.get();
    c.saw('poll', { status, body });
  }],
});
