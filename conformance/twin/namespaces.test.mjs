// Namespaces: static and dynamic, joined and left, on one connection.
import { scenarios } from './twin.mjs';

/**
 * A handmade session that joins namespaces and then sends packets in one payload. The last packet is
 * a question in the main namespace; its answer shows that the connection is still open. The session
 * also waits for packets that match the patterns.
 */
async function byHand(c, name, join, packets, ...patterns) {
  const session = await c.polling();
  await c.exchange(name, session, [`40${JSON.stringify({ as: name })}`], /^40/);
  for (const at of join) await c.exchange(name, session, [`40${at},${JSON.stringify({ as: `${name} ${at}` })}`], /^4[04]/);
  await c.exchange(name, session, [...packets.map((packet) => `4${packet}`), '4277["echo","alive"]'], /alive/, ...patterns);
}

scenarios('namespaces', {
  'each has its own events and rooms': async (c) => {
    const manager = c.manager();
    const all = [];
    for (const at of ['/', '/admin', '/chat', '/dyn-a', '/dyn-b']) all.push(await c.up(at, at, { manager }));
    for (const a of all) await c.do(a, ['join', 'r']);
    for (const a of all) await c.do(a, ['send', {}, 'to all', a.nsp], ['send', { to: ['r'] }, 'to room', a.nsp],
      ['send', { from: 'others' }, 'to others', a.nsp], ['rooms'], ['sockets', {}]);
    await c.do(all[0], ['send', { from: '/admin' }, 'from main'], ['send', { from: '/dyn-a', to: ['r'] }, 'from main',
      Buffer.from([1])], ['send', { from: '/chat', except: ['r'] }, 'nobody']);
    for (const a of all) await c.settled(a);
  },

  'which names there are': async (c) => {
    for (const at of ['/dyn-a', '/dyn-', '/dyn-a!', '/dyn-a/b', '/Dyn-a', '/xdyn-a', '/nope', '/dyn-ü', '/dyn-a b',
      '/dyn-__proto__', '//dyn-a', '/dyn-0', '/dyn-a?x=1']) {
      const a = c.client(at, at);
      await c.until(() => c.seen(at).length, at);
      if (a.connected) c.saw(at, await c.ask(a, 'echo', at));
      a.disconnect();
    }
  },

  'middleware of dynamic namespaces': async (c) => {
    c.client('refused', '/dyn-a', { auth: { use: [['fail', 'no', { n: 1 }]] } });
    await c.see('refused', 'connect_error');
    c.saw('answer', await c.ask(await c.up('a', '/dyn-a', { auth: { use: [['join', 'r']], on: [['rooms']] } }), 'echo', 1));
  },

  'a dynamic namespace that was emitted to before anybody joined': [{ emitFirst: ['/dyn-early'] }, async (c) => {
    c.client('refused', '/dyn-early', { auth: { use: [['fail', 'no']] } });
    await c.see('refused', 'connect_error');
    c.saw('answer', await c.ask(await c.up('a', '/dyn-early'), 'echo', 1));
  }],

  'left and joined again': async (c) => {
    const manager = c.manager();
    const main = await c.up('main', '/', { manager });
    const admin = await c.up('admin', '/admin', { manager });
    for (let i = 2; i < 5; i++) {
      admin.disconnect();
      await c.see('server admin', 'disconnect', i - 1);
      admin.connect();
      await c.see('admin', 'connect', i);
      c.saw('answers', [await c.ask(admin, 'echo', i), await c.ask(main, 'echo', i)]);
    }
    admin.emit('do', [['emit', 'bye'], ['disconnect', false]]);
    await c.see('admin', ['disconnect', 'io server disconnect']);
    admin.connect();
    await c.see('admin', 'connect', 5);
    c.saw('answers', [await c.ask(admin, 'echo', 5), await c.ask(main, 'echo', 5)]);
    main.disconnect();
    c.saw('answers', await c.ask(admin, 'echo', 6));
    admin.emit('do', [['disconnect', true]]);
    await c.see('server admin', 'disconnect', 5);
    await c.see('admin', 'disconnect', 5);
  },

  'disconnect(true) ends all of them': async (c) => {
    const manager = c.manager();
    const all = [];
    for (const at of ['/', '/admin', '/dyn-a']) all.push(await c.up(at, at, { manager }));
    all[1].emit('do', [['disconnect', true]]);
    for (const a of all) {
      await c.see(a.nsp, 'disconnect');
      await c.see(`server ${a.nsp}`, 'disconnect');
    }
  },

  'packets for namespaces that were never joined': async (c) => {
    await byHand(c, 'event', [], ['2/admin,["note",1]']);
    await byHand(c, 'event with id', [], ['2/admin,1["echo",1]']);
    await byHand(c, 'acknowledgement', [], ['3/admin,1[1]']);
    await byHand(c, 'disconnect', [], ['1/admin,']);
    await byHand(c, 'unknown namespace', [], ['2/nope,["note",1]']);
    await byHand(c, 'error', [], ['4/admin,{"message":"x"}']);
    await byHand(c, 'refused before', ['/nope'], ['2/nope,["note",1]']);
  },

  'packets after the client has left': async (c) => {
    await byHand(c, 'event', ['/admin'], ['1/admin,', '2/admin,["note",1]']);
    await byHand(c, 'acknowledgement', ['/admin'], ['1/admin,', '3/admin,1[1]']);
    await byHand(c, 'disconnect twice', ['/admin'], ['1/admin,', '1/admin,']);
    await byHand(c, 'connect again', ['/admin'], ['1/admin,', '0/admin,{"as":"again"}'], /^40\/admin/);
  },

  'packets after the server has disconnected the client': async (c) => {
    const session = await c.polling();
    await c.exchange('by hand', session, ['40{"as":"by hand"}'], /^40/);
    await c.exchange('by hand', session, ['40/admin,{"as":"admin"}'], /^40/);
    if (await c.exchange('by hand', session, ['42/admin,["note","before"]', '42/admin,["do",[["disconnect",false]]]',
      '42/admin,["note","behind"]', '42/admin,["note","far behind"]', '421["echo","still"]'], /still/, /^41\/admin/)) {
      await c.see('server admin', 'disconnect');
      await c.exchange('by hand', session, ['42/admin,["note","late"]', '43/admin,1["late"]', '41/admin,',
        '422["echo","and still"]'], /and still/);
    }
  },

  'CONNECT twice': async (c) => {
    await byHand(c, 'main', [], ['0']);
    await byHand(c, 'admin', ['/admin'], ['0/admin,']);
  },

  'a client leaves while middleware is at work': async (c) => {
    const w = await c.up('w');
    const manager = c.manager();
    const main = await c.up('main', '/', { manager });
    const admin = c.client('admin', '/admin', { manager, auth: { use: [['say', 'begun'], ['wait', 'left']] } });
    await c.see('server admin', 'says');
    admin.disconnect();
    main.emit('echo', 'still', (answer) => c.saw('main', answer));
    await c.until(() => c.seen('main').some((seen) => seen === 'still' || seen[0] === 'disconnect'), 'the end of main, or its answer');
    await c.do(w, ['open', 'left']);
    await c.do(await c.up('marker', '/admin'), ['sockets', {}]);
  },

  'a client leaves and joins again while middleware is at work': async (c) => {
    const w = await c.up('w');
    const manager = c.manager();
    const main = await c.up('main', '/', { manager });
    const admin = c.client('admin', '/admin', { manager, auth: { use: [['say', 'begun'], ['wait', 'again']] } });
    await c.see('server admin', 'says');
    admin.disconnect();
    admin.connect();
    main.emit('echo', 'still', (answer) => c.saw('main', answer));
    await c.until(() => c.seen('main').some((seen) => seen === 'still' || seen[0] === 'disconnect'), 'the end of main, or its answer');
    await c.do(w, ['open', 'again']);
    if (main.connected) {
      await c.see('admin', 'connect');
      c.saw('answer', await c.ask(admin, 'echo', 1));
    }
  },

  'DISCONNECT by hand while middleware is at work': async (c) => {
    const w = await c.up('w');
    const session = await c.polling();
    await c.exchange('by hand', session, ['40{"as":"by hand"}'], /^40/);
    await session.post('40/admin,{"as":"admin","use":[["say","begun"],["wait","by hand"]]}');
    await c.see('server admin', 'says');
    if (await c.exchange('by hand', session, ['41/admin,', '421["echo","still"]'], /still/)) {
      await c.do(w, ['open', 'by hand']);
      await c.exchange('by hand', session, ['422["echo","and still"]'], /and still/);
    } else await c.do(w, ['open', 'by hand']);
    await c.do(await c.up('marker', '/admin'), ['sockets', {}]);
  },

  'many on one connection': async (c) => {
    const manager = c.manager();
    for (let i = 0; i < 12; i++) {
      const a = c.client(`${i}`, `/dyn-${i}`, { manager });
      await c.until(() => c.seen(`${i}`).length, i);
      if (a.connected) c.saw(`${i}`, await c.ask(a, 'echo', i));
    }
  },
});
