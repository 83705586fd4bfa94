// Rooms and broadcasts, with every flag.
import { scenarios } from './twin.mjs';

/** Clients with these names. settle resolves when each has received what was sent so far. */
async function crowd(c, ...names) {
  const all = {};
  for (const name of names) all[name] = await c.up(name);
  all.settle = async () => { for (const name of names) await c.settled(all[name]); };
  return all;
}

scenarios('rooms', {
  'to, except and chains of them': async (c) => {
    const { a, b, d, e, settle } = await crowd(c, 'a', 'b', 'd', 'e');
    await c.do(a, ['join', 'r1', 'r2']);
    await c.do(b, ['join', 'r1']);
    await c.do(d, ['join', 'r2', 'r3']);
    for (const [i, how] of [
      {}, { to: ['r1'] }, { to: ['r1', 'r2'] }, { to: ['r1', 'r1'] }, { to: ['nobody'] }, { except: ['r1'] },
      { except: ['r1', 'r3'] }, { to: ['r1'], except: ['r2'] }, { to: ['r1'], except: ['r1'] },
      { except: ['nobody'] }, { from: 'others' }, { from: 'others', to: ['r1'] }, { from: 'others', except: ['r1'] },
      { from: 'self' }, { from: 'self', to: ['r1'] }, { from: 'self', except: ['r1'] },
      { local: true }, { local: true, to: ['r1'] }, { compress: false }, { compress: true, to: ['r2'] },
      { from: 'others', local: true, to: ['r2'] }, { from: 'self', compress: false }, { from: '/', to: ['r3'] },
    ].entries()) for (const socket of [a, e]) await c.do(socket, ['send', how, `event ${i}`, socket === a ? 'a' : 'e', Buffer.from([i])]);
    await settle();
  },

  'an empty list of rooms': async (c) => {
    const { a, settle } = await crowd(c, 'a', 'b');
    await c.do(a, ['send', { to: [] }, 'to nothing'], ['send', { except: [] }, 'except nothing'],
      ['send', { from: 'self', to: [] }, 'of others to nothing']);
    await settle();
  },

  'an empty list of rooms is disconnected': async (c) => {
    const { a, b } = await crowd(c, 'a', 'b');
    a.emit('do', [['disconnectSockets', { to: [] }, false], ['say', 'done']]);
    await c.see('server a', 'says');
    // Our server disconnects nobody.
    for (const socket of [a, b]) if (c.kind === 'ours') await c.settled(socket);
    for (const name of ['a', 'b']) if (c.kind === 'reference') await c.see(name, 'disconnect');
  },

  'the room of a socket': async (c) => {
    const { a, b, settle } = await crowd(c, 'a', 'b');
    await c.do(a, ['send', { to: [b.id] }, 'to b'], ['send', { to: [a.id] }, 'to a'], ['send', { from: 'self', to: [a.id] },
      'a to a'], ['send', { except: [a.id] }, 'not a'], ['send', { from: 'others', to: [a.id, b.id] }, 'both']);
    await c.do(b, ['join', a.id], ['join', b.id]);
    await c.do(a, ['send', { to: [a.id] }, 'to the room of a'], ['sockets', { to: [a.id] }]);
    await c.do(b, ['leave', a.id], ['rooms']);
    await c.do(a, ['send', { to: [a.id] }, 'to a again'], ['leave', a.id], ['send', { to: [a.id] }, 'to a that left its own'],
      ['emit', 'still there'], ['send', {}, 'to all'], ['sockets', {}], ['join', a.id], ['send', { to: [a.id] }, 'to a that is back']);
    await settle();
  },

  'odd names': async (c) => {
    const { a, b, settle } = await crowd(c, 'a', 'b');
    const names = ['', ' ', 'ü/☃', 'a,b', '__proto__', 'constructor', 'toString', '\n', '\u0000', '0', 'null', '[object Object]',
      'x'.repeat(5000), '\ud83d\ude00'];
    await c.do(b, ['join', ...names], ['rooms']);
    for (const [i, name] of names.entries()) await c.do(a, ['send', { to: [name] }, 'at', i]);
    await c.do(b, ['leave', '__proto__', '', 'never joined'], ['rooms']);
    await c.do(a, ['send', { to: [''] }, 'to the empty'], ['send', { to: names }, 'to each']);
    await settle();
  },

  'joined and left again': async (c) => {
    const { a, b, settle } = await crowd(c, 'a', 'b');
    await c.do(b, ['join', 'r'], ['join', 'r'], ['rooms']);
    await c.do(a, ['send', { to: ['r'] }, 'once']);
    await c.do(b, ['leave', 'r'], ['leave', 'r'], ['rooms']);
    await c.do(a, ['send', { to: ['r'] }, 'gone']);
    await c.do(b, ['join', 'r'], ['send', { to: ['r'] }, 'own', 1], ['leave', 'r'], ['send', { to: ['r'] }, 'own', 2], ['emit', 'own', 3]);
    await settle();
  },

  'what others do to sockets': async (c) => {
    const { a, b, d, settle } = await crowd(c, 'a', 'b', 'd');
    await c.do(b, ['setData', { n: [1] }]);
    await c.do(a, ['socketsJoin', {}, 'all', 'more'], ['socketsJoin', { to: [b.id] }, 'b only'],
      ['socketsLeave', { except: [b.id] }, 'more'], ['sockets', {}], ['sockets', { to: ['more'] }],
      ['sockets', { to: ['nobody'] }], ['sockets', { from: 'self', to: ['all'] }], ['sockets', { except: ['b only'] }],
      ['sockets', { local: true }]);
    await c.do(a, ['send', { to: ['more'] }, 'to more']);
    await settle();
    a.emit('do', [['disconnectSockets', { to: ['b only'] }, false], ['disconnectSockets', { to: ['nobody'] }, true]]);
    await c.see('b', 'disconnect');
    await c.see('server b', 'disconnect');
    await c.do(a, ['sockets', {}], ['disconnectSockets', { from: 'self', to: ['all'] }, true]);
    await c.see('d', 'disconnect');
    await c.see('server d', 'disconnect');
    c.saw('of the client', [b.active, b.io.engine.readyState, d.active, a.connected]);
    a.emit('do', [['disconnectSockets', {}, true]]);
    await c.see('a', 'disconnect');
    await c.see('server a', 'disconnect');
  },

  'rooms are left on disconnecting': async (c) => {
    const { a, b } = await crowd(c, 'a', 'b');
    await c.do(b, ['join', 'r1', 'r2']);
    b.disconnect();
    await c.see('server b', 'disconnect');
    await c.do(a, ['sockets', { to: ['r1'] }]);
    b.connect();
    await c.see('b', 'connect', 2);
    await c.do(b, ['rooms']);
    await c.do(a, ['send', { to: ['r1', 'r2'] }, 'nobody hears']);
    await c.settled(b);
  },

  'volatile events': async (c) => {
    const { a, b, settle } = await crowd(c, 'a', 'b');
    await c.do(b, ['join', 'r']);
    for (const how of [{}, { to: ['r'] }, { from: 'others' }, { from: 'others', except: ['r'] }]) {
      await settle(); // nothing else waits to be sent
      await c.do(a, ['say', 'ready']);
      await c.do(a, ['send', { ...how, volatile: true }, 'volatile to others', how.from === undefined ? 'all' : 'others']);
      await c.settled(b);
    }
  },

  'a volatile event for a client that does not poll': async (c) => {
    const a = await c.up('a');
    const session = await c.polling();
    await c.exchange('by hand', session, ['40{"as":"by hand"}'], /^40/);
    await c.do(a, ['send', { volatile: true }, 'volatile', 1], ['send', { volatile: true }, 'volatile', Buffer.from([2])],
      ['send', {}, 'kept', 3]);
    await c.exchange('by hand', session, ['4277["echo","alive"]'], /alive/);
  },

  'a volatile event for a client that polls': async (c) => {
    const a = await c.up('a');
    const session = await c.polling();
    await c.exchange('by hand', session, ['40{"as":"by hand"}'], /^40/);
    const poll = session.get();
    // A second poll would end the session. The first has arrived once the server answers it.
    for (let answered = false; !answered;) {
      await c.do(a, ['send', { volatile: true, except: [a.id] }, 'volatile', 1]);
      answered = await Promise.race([poll.then(() => true), new Promise((resolve) => setImmediate(resolve, false))]);
    }
    c.saw('poll', (await poll).body);
  },

  'many events to many rooms keep their order': async (c) => {
    const { a, b, d, settle } = await crowd(c, 'a', 'b', 'd');
    await c.do(b, ['join', 'r1']);
    await c.do(d, ['join', 'r1', 'r2']);
    const steps = [];
    for (let i = 0; i < 120; i++) steps.push(['send', [{}, { to: ['r1'] }, { to: ['r1', 'r2'] }, { except: ['r2'] }][i % 4], 'n',
      i, ...i % 24 ? [] : [Buffer.from([i])]]);
    await c.do(a, ...steps);
    await settle();
  },

  'a large event': async (c) => {
    const { a, settle } = await crowd(c, 'a', 'b');
    await c.up('polling', '/', { transports: ['polling'] });
    await c.do(a, ['send', {}, 'large', 'é€😀'.repeat(20_000), Buffer.alloc(100_000, 'x')]);
    await settle();
    await c.see('polling', 'large');
  },

  'more than a connection takes at once': async (c) => {
    for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
      const name = transports.join();
      const a = await c.up(name, '/', { transports });
      for (const [event, size, times] of [['one', 1_200_000, 1], ['ten', 300_000, 10], ['pages', 15_000, 150], ['small', 10, 5000]]) {
        let n = 0;
        a.offAny().on(event, (i, text) => { if (i !== n++ || text.length !== size) c.saw(event, ['out of order', i, n]); });
        c.saw(name, await c.ask(a, 'do', [['flood', event, size, times], ['ack', event]]));
        c.saw(name, n);
      }
      a.disconnect();
      await c.see(`server ${name}`, 'disconnect');
    }
  },

  'a crowd at once': async (c) => {
    const names = Array.from({ length: 20 }, (_, i) => `client ${i}`);
    const all = await Promise.all(names.map((name, i) => c.up(name, ['/', '/chat', '/dyn-a'][i % 3],
      { transports: [['websocket'], ['polling'], ['polling', 'websocket']][i % 4 % 3] })));
    await Promise.all(all.map((a) => c.do(a, ['join', 'r'], ['join', a.nsp])));
    for (const [i, a] of all.entries()) await c.do(a, ['send', { to: ['r'] }, 'room', i, ...i % 5 ? [] : [Buffer.from([i])]]);
    await Promise.all(all.map((a) => c.settled(a)));
  },

  'broadcasts with compression': [{ compression: true }, async (c) => {
    for (const perMessageDeflate of [false, { threshold: 10 }]) {
      const name = `client ${perMessageDeflate !== false}`;
      const a = await c.up(name, '/', { perMessageDeflate });
      c.saw(name, { extensions: a.io.engine.transport.ws.extensions.includes('permessage-deflate') });
      for (const n of [0, 1, 1023, 1024, 5000, 70_000]) await c.do(a, ['send', { compress: n !== 5000 }, 'text', 'ab'.repeat(n),
        Buffer.alloc(n, 7)]);
      c.saw(name, await c.ask(a, 'echo', 'xyz'.repeat(30_000), Buffer.alloc(60_000)));
      a.disconnect();
      await c.see(`server ${name}`, 'disconnect');
    }
  }],
});
