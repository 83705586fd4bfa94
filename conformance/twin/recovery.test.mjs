// Connection state recovery: clients that recover their sockets, and clients that do not.
import { scenarios } from './twin.mjs';

const recovery = { recovery: 60_000 };

/** A client that does not reconnect by itself, so that the test can send events meanwhile. */
async function away(c, a, name, meanwhile) {
  const times = c.seen(name).filter(([word]) => word === 'connect').length;
  a.io.reconnection(false);
  a.io.engine.close();
  await c.see(`server ${name}`, 'disconnect', times);
  await meanwhile?.();
  a.connect();
  await c.see(name, 'connect', times + 1);
  c.saw(`${name} recovered`, a.recovered);
}

scenarios('recovery', {
  'what was missed comes, and nothing else': [recovery, async (c) => {
    const w = await c.up('w');
    const a = await c.up('a');
    await c.do(a, ['join', 'r', 'r2'], ['setData', { n: 1 }]);
    await c.do(w, ['send', { to: ['r'] }, 'first', 1]);
    await c.settled(a);
    await away(c, a, 'a', async () => {
      await c.do(w, ['send', { to: ['r'] }, 'missed', 1], ['send', { to: ['r', 'r2'] }, 'missed', 2, { deep: [null] }],
        ['send', {}, 'missed', 'by all'], ['send', { to: ['other'] }, 'not for it'], ['send', { except: ['r2'] }, 'not for it'],
        ['send', { to: ['r'], except: ['r2'] }, 'not for it'], ['send', { to: [a.id] }, 'missed', 'own room'],
        ['send', { from: '/admin' }, 'not for it'], ['send', { from: 'others' }, 'missed', 'by others'],
        ['send', { to: ['r'], volatile: true }, 'volatile']);
      await c.do(w, ['send', { to: ['r'] }, 'missed', Buffer.from([1, 2]), { b: Buffer.from([3]) }]);
    });
    await c.do(a, ['rooms'], ['getData']);
    await c.do(w, ['send', { to: ['r'] }, 'live', 1]);
    await c.settled(a);
  }],

  'again and again': [recovery, async (c) => {
    const w = await c.up('w');
    const a = await c.up('a');
    await c.do(a, ['join', 'r']);
    await c.do(w, ['send', { to: ['r'] }, 'n', 0]);
    await c.settled(a);
    for (let i = 1; i < 4; i++) {
      await away(c, a, 'a', () => c.do(w, ['send', { to: ['r'] }, 'n', `missed ${i}`]));
      await c.do(w, ['send', { to: ['r'] }, 'n', `live ${i}`]);
      await c.settled(a);
    }
    // The client missed nothing.
    await away(c, a, 'a');
    await away(c, a, 'a');
    await c.do(a, ['rooms']);
  }],

  'over polling, and with an upgrade': [recovery, async (c) => {
    const w = await c.up('w');
    for (const transports of [['polling'], ['polling', 'websocket']]) {
      const name = transports.join();
      const a = await c.up(name, '/', { transports });
      await c.do(a, ['join', 'r']);
      await c.do(w, ['send', { to: ['r'] }, 'first', 1]);
      await c.settled(a);
      await away(c, a, name, () => c.do(w, ['send', { to: ['r'] }, 'missed', 2]));
      await c.settled(a);
      a.disconnect();
      await c.see(`server ${name}`, 'disconnect', 2);
    }
  }],

  'by itself': [recovery, async (c) => {
    // The server closes the connection, so it knows of the end before the client reconnects.
    const a = await c.up('a', '/', { reconnection: true });
    await c.do(a, ['join', 'r'], ['send', { to: ['r'] }, 'first', 1]);
    await c.settled(a);
    a.emit('do', [['close']]);
    await c.see('a', ['connect', 'recovered']);
    await c.do(a, ['rooms'], ['send', { to: ['r'] }, 'second', 2]);
    await c.settled(a);
  }],

  'a client that has received nothing': [recovery, async (c) => {
    const a = await c.up('a');
    await c.do(a, ['join', 'r']);
    await away(c, a, 'a');
    await c.do(a, ['rooms']);
  }],

  'a volatile event that ends in a text': [recovery, async (c) => {
    const w = await c.up('w');
    const a = await c.up('a');
    await c.do(a, ['join', 'r'], ['send', { to: ['r'] }, 'first', 1]);
    await c.settled(a);
    await c.do(w, ['send', { to: ['r'], volatile: true }, 'volatile', 'a text']);
    await c.settled(a);
    await away(c, a, 'a', () => c.do(w, ['send', { to: ['r'] }, 'missed', 1]));
    await c.do(a, ['rooms']);
  }],

  'events of a room from before it was joined': [recovery, async (c) => {
    const w = await c.up('w');
    const a = await c.up('a');
    await c.do(w, ['send', {}, 'to all', 1]);
    await c.settled(a);
    await c.do(w, ['send', { to: ['r'] }, 'before it had joined', 1]);
    await c.do(a, ['join', 'r']);
    await away(c, a, 'a', () => c.do(w, ['send', { to: ['r'] }, 'missed', 2]));
    await c.settled(a);
  }],

  'disconnections that are wanted': [recovery, async (c) => {
    for (const how of ['client', 'server', 'server, all', 'server closes']) {
      const a = await c.up(how);
      await c.do(a, ['join', 'r'], ['send', { to: ['r'] }, 'first', 1]);
      await c.settled(a);
      if (how === 'client') a.disconnect(); else a.emit('do', [how === 'server closes' ? ['close'] : ['disconnect',
        how === 'server, all']]);
      await c.see(how, 'disconnect');
      await c.see(`server ${how}`, 'disconnect');
      a.connect();
      await c.see(how, 'connect', 2);
      c.saw(`${how} recovered`, a.recovered);
      await c.do(a, ['rooms']);
      a.disconnect();
      await c.see(`server ${how}`, 'disconnect', 2);
    }
  }],

  'away for too long': [{ recovery: 1 }, async (c) => {
    const a = await c.up('a');
    await c.do(a, ['join', 'r'], ['send', { to: ['r'] }, 'first', 1]);
    await c.settled(a);
    // This takes at least one tick of the clock.
    const start = Date.now();
    await away(c, a, 'a', async () => { const w = await c.up('w'); while (Date.now() - start < 50) await c.settled(w); });
    await c.do(a, ['rooms']);
  }],

  'middleware and recovered clients': [recovery, async (c) => {
    const a = await c.up('a', '/', { auth: { use: [['say', 'middleware'], ['join', 'by middleware']], on: [['rooms']] } });
    await c.do(a, ['send', {}, 'first', 1]);
    await c.settled(a);
    await away(c, a, 'a');
    await c.settled(a);
  }],

  'middleware that runs for recovered clients, too': [{ ...recovery, recoveryMiddleware: true }, async (c) => {
    const a = await c.up('a', '/', { auth: { use: [['say', 'middleware'], ['join', 'by middleware']], on: [['rooms']] } });
    await c.do(a, ['send', {}, 'first', 1]);
    await c.settled(a);
    await away(c, a, 'a');
    await c.settled(a);
  }],

  'a question while the client is away': [recovery, async (c) => {
    const w = await c.up('w');
    const a = await c.up('a');
    a.on('q', (answer) => answer('answer'));
    await c.do(a, ['join', 'r'], ['send', { to: ['r'] }, 'first', 1]);
    await c.settled(a);
    await away(c, a, 'a', async () => {
      await c.do(w, ['askAll', 'answers', { to: ['r'], timeout: 200 }, 'q']);
      await c.see('server w asks', 'answers');
    });
    await c.do(w, ['askAll', 'later', { to: ['r'], timeout: 60_000 }, 'q']);
    await c.see('server w asks', 'later');
    await c.settled(a);
  }],

  'the last client of a dynamic namespace': [recovery, async (c) => {
    const a = await c.up('a', '/dyn-a');
    await c.do(a, ['join', 'r'], ['send', { to: ['r'] }, 'first', 1]);
    await c.settled(a);
    await away(c, a, 'a');
    await c.do(a, ['rooms'], ['send', { to: ['r'] }, 'second', 2]);
    await c.settled(a);
  }],

  'by hand: an offset that is wrong, and then the right one': [recovery, async (c) => {
    const a = await c.open('first');
    a.send('420["do",[["join","r"],["send",{"to":["r"]},"m",1]]]');
    await c.see('first', '430[]');
    const { pid } = JSON.parse(c.seen('first')[1].slice(2));
    const offset = JSON.parse(c.seen('first').find((seen) => seen.startsWith('42["m"')).slice(2)).at(-1);
    a.close();
    await c.see('server first', 'disconnect');
    for (const [name, auth] of Object.entries({ wrong: { pid, offset: 'wrong' }, right: { pid, offset } })) {
      const b = await c.open(name, { connect: false });
      b.send(`40${JSON.stringify({ as: name, ...auth })}`);
      await c.see(`server ${name}`, 'connection');
      b.send('420["do",[["rooms"]]]');
      await c.see(name, '430[]');
    }
    await c.see('first', 'closed');
  }],

  'by hand: offsets, and ids that are wrong': [recovery, async (c) => {
    for (const auth of [{ pid: 'x', offset: 'y' }, { pid: 5, offset: 6 }, { pid: 'x' }, { offset: 'x' }, { pid: '', offset: '' },
      { pid: { a: 1 }, offset: [] }, { pid: null }, { pid: '__proto__', offset: 'constructor' }]) {
      const name = JSON.stringify(auth);
      const a = await c.open(name, { connect: false });
      a.send(`40${name}`);
      await c.until(() => c.seen(name).length > 1, name);
      a.terminate();
    }
  }],

  'by hand: the old connection is still there': [recovery, async (c) => {
    const w = await c.up('w');
    const a = await c.open('old');
    a.send('420["do",[["join","r"]]]');
    await c.see('old', '430[]');
    await c.do(w, ['sockets', {}]);
    await c.do(w, ['send', {}, 'm', 1]);
    await c.until(() => c.seen('old').some((seen) => /"m"/.test(seen)), 'the event');
    const { pid } = JSON.parse(c.seen('old')[1].slice(2));
    const offset = JSON.parse(c.seen('old').at(-1).slice(2)).at(-1);
    const b = await c.open('new', { connect: false });
    b.send(`40${JSON.stringify({ as: 'new', pid, offset })}`);
    await c.until(() => c.seen('new').length > 1, 'the answer');
    await c.do(w, ['send', {}, 'm', 2]);
    await c.until(() => c.seen('old').some((seen) => seen[0] === 'closed' || /"m",2/.test(seen)), 'the event, or the end');
    b.send('421["echo","settled"]');
    await c.until(() => c.seen('new').some((seen) => /settled/.test(seen)), 'the answer');
  }],

  'by hand: an event carries an offset, an acknowledged one none': [recovery, async (c) => {
    const a = await c.open('a');
    a.send(`42${JSON.stringify(['do', [
      ['send', {}, 'to all', 1], ['send', { to: ['r'] }, 'to nobody', 1], ['emit', 'own', 2], ['send', { volatile: true }, 'volatile', 3],
      ['send', { from: 'self', compress: false }, 'plain', 4],
    ]])}`);
    a.send('421["echo"]');
    await c.until(() => c.seen('a').some((seen) => seen === '431[]'), 'the answer');
  }],
});
