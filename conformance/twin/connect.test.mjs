// How clients connect, and how they are refused.
import { scenarios } from './twin.mjs';

const ways = [['websocket'], ['polling'], ['polling', 'websocket']];

scenarios('connect', {
  'a client connects, talks and leaves': async (c) => {
    for (const transports of ways) {
      const name = transports.join();
      const a = await c.up(name, '/', { transports });
      c.saw('answer', await c.ask(a, 'echo', 1, 'two'));
      a.disconnect();
      await c.see(`server ${name}`, 'disconnect');
    }
  },

  'middleware refuses': async (c) => {
    for (const [i, fail] of [['plain'], ['with data', { code: 7, deep: [null, { a: 1 }] }], ['with a text', 'why'],
      ['with null', null], ['with binary', { b: Buffer.from([1, 2]) }], ['é "quoted" \u2028']].entries()) {
      const a = c.client(`a${i}`, '/', { auth: { use: [['fail', ...fail]] } });
      await c.see(`a${i}`, 'connect_error');
      c.saw(`a${i}`, { connected: a.connected, active: a.active });
    }
    // The connection continues, and so does another namespace on it.
    const manager = c.manager();
    c.client('refused', '/admin', { manager, auth: { use: [['fail', 'no']] } });
    await c.see('refused', 'connect_error');
    c.saw('answer', await c.ask(await c.up('other', '/chat', { manager }), 'echo', 1));
  },

  'rooms and data of middleware are there': async (c) => {
    const a = await c.up('a', '/', { auth: { use: [['join', 'early'], ['setData', { by: 'middleware' }], ['connected']],
      on: [['rooms'], ['getData'], ['connected']] } });
    await c.do(a, ['send', { to: ['early'] }, 'news', 1]);
    await c.settled(a);
  },

  'what middleware emits comes after the CONNECT': async (c) => {
    for (const transports of ways) {
      const name = transports.join();
      await c.settled(await c.up(name, '/', { transports, auth: { use: [['emit', 'early', 1]], on: [['emit', 'greeting', 3]] } }));
    }
  },

  'a connection handler emits, joins and broadcasts': async (c) => {
    const clients = [];
    for (const transports of ways) {
      clients.push(await c.up(transports.join(), '/chat', { transports, auth: { on: [['emit', 'greeting', 1], ['join', 'r'],
        ['send', {}, 'all', 2], ['send', { to: ['r'] }, 'room', 3], ['send', { from: 'others' }, 'others', 4]] } }));
    }
    for (const a of clients) await c.settled(a);
  },

  'a connection handler disconnects': async (c) => {
    for (const transports of ways) for (const close of [false, true]) {
      const name = `${transports} ${close}`;
      c.client(name, '/', { transports, auth: { on: [['emit', 'bye', 1], ['disconnect', close], ['emit', 'after', 2]] } });
      await c.see(name, 'disconnect');
      await c.see(`server ${name}`, 'disconnect');
    }
  },

  'middleware disconnects, closes, or refuses after joining': async (c) => {
    const w = await c.up('w');
    for (const [name, use] of Object.entries({
      'disconnect false': [['disconnect', false]], 'disconnect true': [['disconnect', true]], closes: [['close']],
      'joins and refuses': [['join', 'r'], ['fail', 'no']],
      'joins and leaves': [['join', 'r', 'r2'], ['leave', 'r']], 'sends to a room': [['join', 'r'], ['send', { to: ['r'] },
        'too early'], ['send', {}, 'to those who are connected']],
    })) {
      const a = c.client(name, '/', { auth: { use, on: [['rooms'], ['connected']] } });
      await c.until(() => c.seen(name).some(([word]) => word !== 'too early'), name);
      await c.settled(w);
      if (a.connected) {
        await c.settled(a);
        a.disconnect();
        await c.see(`server ${name}`, 'disconnect');
      }
    }
    await c.do(w, ['sockets', {}]);
  },

  'the connection handler asks the client': async (c) => {
    for (const transports of ways) {
      const name = transports.join();
      const a = c.client(name, '/', { transports, auth: { on: [['ask', 'answer', 10_000, 'q', 1]] } });
      a.on('q', (what, answer) => answer(what + 1));
      await c.see(`server ${name} asks`, 'answer');
    }
  },

  'what clients authenticate with': async (c) => {
    const say = [['handshake']];
    for (const [name, auth] of Object.entries({
      object: { token: 'ü', n: { a: [1, null] } }, 'a function': (done) => done({ as: 'a function', on: say, token: 'f' }),
      deep: { a: { b: { c: { d: [[[1]]] } } } },
      proto: JSON.parse('{"__proto__": 1, "constructor": 2}'), surrogate: { half: 'a\ud83d', line: '\u2028' },
      number: { big: 1e21, small: 5e-324, zero: -0 },
    })) {
      const a = await c.up(name, '/', { auth: typeof auth === 'function' ? auth : { ...auth, on: say }, query: { a: '1 2',
        b: 'ü&=', c: '' }, extraHeaders: { 'X-Twin': 'header' } });
      await c.see(`server ${name}`, 'handshake');
      a.disconnect();
    }
  },

  'an auth object and a query that are large': async (c) => {
    for (const transports of ways) {
      const name = transports.join();
      const a = await c.up(name, '/', { transports, auth: { token: 'x'.repeat(500_000) }, query: { q: 'y'.repeat(5000),
        list: ['a', 'b'] } });
      c.saw(name, await c.ask(a, 'echo', 1));
    }
  },

  'auth objects that are none': async (c) => {
    for (const auth of [null, undefined, 5, 'text', true, [1], []]) {
      const name = `auth ${JSON.stringify(auth)}`;
      const a = c.client(name, '/', { auth: (done) => done(auth) });
      await c.until(() => c.seen(name).length, name);
      if (a.connected) c.saw(name, await c.ask(a, 'echo', 1));
    }
  },

  'CONNECT packets by hand': async (c) => {
    for (const packet of ['0', '0{}', '0"text"', '0[1]', '05', '0null', '0true', '0{"a":1}', '0{"a":', '0{"a":1}x', '0/chat',
      '0/chat,', '0/chat,{"t":1}', '0/chat,"x"', '0/chat,[]', '0/chat?x=1,', '0/,{"a":1}', '0//', '0//,', '0/CHAT,', '0/chat/,',
      '0/nope,', '07{}', '01-{}', '0/chat,1{}', '0/__proto__,', '0/constructor,', '0/ü,', '0chat,']) {
      const a = await c.open(packet, { connect: false });
      a.send(`4${packet}`);
      await c.until(() => c.seen(packet).length > 1, packet);
      a.terminate();
    }
  },

  'what the handshake tells': [{ origin: '*' }, async (c) => {
    for (const [name, options] of Object.entries({ plain: {}, cross: { extraHeaders: { origin: 'http://elsewhere.example' } },
      repeated: { query: { x: 'a', EIO: '4' } } })) {
      const a = await c.up(name, '/admin', { ...options, auth: { on: [['handshake']] } });
      await c.see(`server ${name}`, 'handshake');
      a.disconnect();
    }
    c.saw('open', (({ sid, ...rest }) => rest)((await c.polling()).open));
  }],

  'pages of other origins, if none is allowed': async (c) => {
    for (const [name, options] of Object.entries({ websocket: {}, polling: { transports: ['polling'] } })) {
      c.client(name, '/', { ...options, extraHeaders: { origin: 'http://elsewhere.example' } });
      await c.until(() => c.seen(name).length, name);
    }
    const { status, headers } = await c.request('GET', '/socket.io/?EIO=4&transport=polling',
      { headers: { origin: 'http://elsewhere.example' } });
    c.saw('answer', { status, allowed: headers['access-control-allow-origin'] });
  },

  'allowRequest refuses': [{ refuse: 'not you' }, async (c) => {
    c.client('websocket');
    c.client('polling', '/', { transports: ['polling'] });
    await c.see('websocket', 'connect_error');
    await c.see('polling', 'connect_error');
    const { status, headers, body } = await c.request('GET', '/socket.io/?EIO=4&transport=polling');
    c.saw('answer', { status, type: headers['content-type'], body });
    c.socket('by hand');
    await c.see('by hand', 'refused');
  }],

  'a client that joins nothing': [{ connectTimeout: 300 }, async (c) => {
    await c.open('silent', { connect: false });
    const refused = await c.open('refused', { connect: false });
    refused.send('40/nope,');
    const session = await c.polling();
    await c.until(() => ['silent', 'refused'].every((name) => c.seen(name).some(([word]) => word === 'closed')), 'the closes');
    const { status, body } = await session.get();
    c.saw('poll', { status, packets: body.split('\x1e').filter((packet) => packet !== '6') });
  }],

  'a client that is gone before middleware is done': async (c) => {
    const w = await c.up('w');
    const manager = c.manager();
    await c.up('chat', '/chat', { manager });
    c.client('a', '/', { manager, auth: { use: [['say', 'begun'], ['wait', 'gone'], ['connected']] } });
    await c.see('server a', 'says');
    manager.engine.close();
    await c.see('server chat', 'disconnect');
    await c.do(w, ['open', 'gone']);
    await c.see('server a', 'connected');
    await c.do(w, ['sockets', {}]);
  },

  'a room that the connection handler joins is in effect once the client knows of it': async (c) => {
    const w = await c.up('w');
    for (const transports of ways) for (let i = 0; i < 10; i++) {
      const name = `${transports} ${i}`;
      const a = c.client(name, '/', { transports, auth: { on: [['join', name]] } });
      await new Promise((resolve) => a.on('connect', () => c.do(w, ['send', { to: [name] }, 'news', i]).then(resolve)));
      await c.settled(a);
      a.disconnect();
      await c.see(`server ${name}`, 'disconnect');
    }
  },

  'events sent at once on connecting': async (c) => {
    for (const transports of ways) {
      const name = transports.join();
      const a = c.client(name, '/', { transports });
      for (let i = 0; i < 20; i++) a.emit('back', i); // before it is connected
      a.on('connect', () => { for (let i = 20; i < 40; i++) a.emit('back', i); });
      await c.see(name, ['back', 39]);
    }
  },

  'a burst over each transport': async (c) => {
    for (const transports of ways) {
      const name = transports.join();
      const a = await c.up(name, '/', { transports });
      for (let i = 0; i < 300; i++) {
        a.emit('back', i, ...i % 50 ? [] : [Buffer.from([i])]);
        if (i % 20 === 0) await new Promise(setImmediate);
      }
      await c.see(name, 'back', 300);
    }
  },

  'a client comes back': async (c) => {
    for (const transports of ways) {
      const name = transports.join();
      const a = await c.up(name, '/', { transports, reconnection: true });
      a.emit('do', [['close']]);
      await c.see(name, 'connect', 2);
      a.io.reconnection(false);
      a.io.engine.close();
      await c.see(`server ${name}`, 'disconnect', 2);
      a.connect();
      await c.see(name, 'connect', 3);
      c.saw(name, await c.ask(a, 'echo', 1));
    }
  },

  'retries until somebody answers': async (c) => {
    const a = await c.up('a', '/', { retries: 2, ackTimeout: 150 });
    a.emit('note', 'never answered', (error) => c.saw('error', error.message));
    a.emit('echo', 'next', (error, answer) => c.saw('next', [error, answer]));
    await c.see('next', null);
    c.saw('timeout', await a.timeout(50).emitWithAck('note', 1).catch((error) => error.message));
    await c.see('server a', ['note', 1], 3);
  },

  'retries across a reconnection': async (c) => {
    const a = await c.up('a', '/', { retries: 3 });
    a.emit('note', 'once before, once after', () => c.saw('a', 'never'));
    await c.see('server a', 'note');
    a.io.engine.close();
    await c.see('server a', 'disconnect');
    a.connect();
    await c.see('server a', 'note', 2);
    await c.see('a', 'connect', 2);
  },

  'events that are sent while the client is away': async (c) => {
    const a = await c.up('a');
    a.io.engine.close();
    await c.see('server a', 'disconnect');
    for (let i = 0; i < 5; i++) a.emit('note', i);
    a.volatile.emit('note', 'dropped');
    a.connect();
    await c.see('server a', ['note', 4]);
    await c.settled(a);
  },

  'options of the client': async (c) => {
    for (const [name, options] of Object.entries({
      'no trailing slash': { addTrailingSlash: false }, 'no trailing slash, polling': { addTrailingSlash: false, transports: ['polling'] },
      'no timestamps': { timestampRequests: false, transports: ['polling'] }, base64: { forceBase64: true,
        transports: ['polling'] }, 'base64, websocket': { forceBase64: true },
      remember: { transports: ['websocket', 'polling'], rememberUpgrade: true }, 'all tried': { transports: ['polling',
        'websocket'], tryAllTransports: true },
      credentials: { withCredentials: true, transports: ['polling'], extraHeaders: { cookie: 'a=b' } },
      'no upgrade': { transports: ['polling', 'websocket'], upgrade: false },
      'close on beforeunload': { closeOnBeforeunload: true },
      'a subprotocol': { protocols: ['one'] }, subprotocols: { protocols: ['one', 'two'] },
    })) {
      const a = c.client(name, '/', options);
      await c.until(() => c.seen(name).length, name);
      if (a.connected) c.saw(name, await c.ask(a, 'echo', Buffer.from([1, 2]), 'é'));
      a.disconnect();
    }
  },

  'a path of its own': [{ path: '/ws' }, async (c) => {
    for (const path of ['/ws', '/ws/', '/socket.io']) for (const transports of [['websocket'],
      ['polling']]) for (const addTrailingSlash of [true, false]) {
      const name = `${path} ${transports} ${addTrailingSlash}`;
      c.client(name, '/', { path, transports, addTrailingSlash });
      await c.until(() => c.seen(name).length, name);
    }
    for (const path of ['/ws', '/ws/', '/ws/x', '/x/ws/', '/WS/']) {
      const { status } = await c.request('GET', `${path}?EIO=4&transport=polling`);
      c.saw(path, status);
    }
  }],

  'a path is no prefix': [{ path: '/ws' }, async (c) => {
    c.client('client', '/', { path: '/wsfoo', transports: ['polling'] });
    await c.until(() => c.seen('client').length, 'an answer');
    for (const path of ['/wsfoo', '/wsfoo/']) {
      const { status } = await c.request('GET', `${path}?EIO=4&transport=polling`);
      c.saw(path, status);
    }
  }],

  'one connection for several namespaces, or one each': async (c) => {
    const shared = ['/', '/admin', '/chat'].map((at, i) => c.client(`shared ${i}`, at, { forceNew: false }));
    for (const i of [0, 1, 2]) await c.see(`shared ${i}`, 'connect');
    c.saw('engines', new Set(shared.map((a) => a.io.engine.id)).size);
    shared[1].disconnect();
    c.saw('answer', await c.ask(shared[2], 'echo', 1));
    const again = c.client('again', '/admin', { forceNew: false });
    await c.see('again', 'connect');
    c.saw('the same', again.io === shared[0].io);
    for (const a of [...shared, again]) a.disconnect();
  },

  'a server that ends': [{ alone: true }, async (c) => {
    const manager = c.manager();
    const names = ['websocket', 'polling', 'main', 'admin'];
    await c.up('websocket');
    await c.up('polling', '/', { transports: ['polling'] });
    const main = await c.up('main', '/', { manager });
    await c.up('admin', '/admin', { manager });
    c.stopped = true;
    main.emit('do', [['emit', 'last', 1], ['stopServer']]);
    for (const name of names) {
      await c.see(name, 'disconnect');
      await c.see(`server ${name}`, 'disconnect');
    }
  }],
});
