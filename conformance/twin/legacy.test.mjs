// Clients of Socket.IO 2, which speak Engine.IO 3: the official one, and handmade ones.
import client from 'client-2.5.0';
import { scenarios } from './twin.mjs';

const legacy = { legacy: true };
const old = { connect: client };
const base = '/socket.io/';

/** Steps in the query, since these clients have no auth object. */
const query = (name, more) => new URLSearchParams({ as: name,
  ...Object.fromEntries(Object.entries(more ?? {}).map(([key, steps]) => [key, JSON.stringify(steps)])) }).toString();

/** A packet in the framing of a polling payload. */
const framed = (...packets) => packets.map((packet) => `${packet.length}:${packet}`).join('');

/** The packets of a polling payload. */
function packets(payload) {
  const all = [];
  for (let rest = payload; /^\d+:/.test(rest);) {
    const [head, length] = /^(\d+):/.exec(rest);
    all.push(rest.slice(head.length, head.length + Number(length)));
    rest = rest.slice(head.length + Number(length));
  }
  return all;
}

/** Polls until a packet matches or the session has ended, and records the packets. */
async function polled(c, name, session, until) {
  for (;;) {
    const { status, body } = await session.get();
    const received = status === 200 ? packets(body).filter((packet) => packet !== '6') : [];
    for (const packet of received) c.saw(name, packet);
    if (received.some((packet) => until.test(packet))) return;
    if (status !== 200 || received.includes('1')) return c.saw(name, ['ended', status]);
  }
}

scenarios('legacy', {
  'a client of 2.5.0 talks': [legacy, async (c) => {
    for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
      const name = transports.join();
      const a = await c.up(name, '/', { ...old, transports });
      for (const value of [[1, 'two'], ['é😀\u2028\u0000'], [{ a: [null] }], [Buffer.from([1, 2])], [Buffer.alloc(0)],
        [{ deep: [Buffer.from([0x1e, 4, 255])] }, 'and text'], ['x'.repeat(70_000)], [Buffer.alloc(70_000, 'é')]]) {
        const times = c.seen(name).filter(([word]) => word === 'back').length + 1;
        a.emit('back', ...value);
        await c.see(name, 'back', times);
        c.saw('answer', await c.ask(a, 'echo', ...value));
      }
      await c.do(a, ['join', 'r'], ['send', { to: ['r'] }, 'room', 1], ['send', {}, 'all', Buffer.from([2])], ['rooms']);
      a.on('q', (...args) => args.pop()('answer', 2));
      await c.do(a, ['ask', 'answer', 0, 'q', 1]);
      await c.see(`server ${a.id} asks`, 'answer');
      c.saw('id', a.id === a.io.engine.id);
      a.disconnect();
      await c.see(`server ${name}`, 'disconnect');
    }
  }],

  'namespaces, with a query and without': [legacy, async (c) => {
    for (const at of ['/chat', '/dyn-a', '/nope', '/chat/']) {
      for (const more of ['', `?${query(at)}&token=a%20b&x=`]) {
        const name = at + more;
        const a = c.client(name, name, old);
        await c.until(() => c.seen(name).length, name);
        if (a.connected) c.saw(name, await c.ask(a, 'echo', at));
        a.disconnect();
      }
    }
    const a = c.client('a', `/admin?${query('a', { on: [['handshake'], ['emit', 'greeting', 1], ['join', 'r'], ['rooms']] })}`, old);
    await c.see('a', 'greeting');
    c.saw('id', a.id.startsWith('/admin#'));
  }],

  'middleware refuses': [legacy, async (c) => {
    for (const [name, fail] of Object.entries({ plain: ['no'], data: ['no', { code: 7 }], text: ['no', 'why'] })) {
      c.client(name, `/chat?${query(name, { use: [['fail', ...fail]] })}`, old);
      await c.until(() => c.seen(name).length, name);
    }
  }],

  'the ways in which a client ends': [legacy, async (c) => {
    for (const transports of [['websocket'], ['polling']]) for (const [how,
      end] of Object.entries({ disconnect: (a) => a.disconnect(), close: (a) => a.io.engine.close(), kick: (a) => a.emit('do',
      [['emit', 'bye'], ['disconnect', false]]), kickAll: (a) => a.emit('do', [['emit', 'bye'], ['disconnect', true]]),
      'server closes': (a) => a.emit('do', [['close']]) })) {
      const name = `${how} ${transports}`;
      const a = await c.up(name, `/chat?${query(name)}`, { ...old, transports });
      end(a);
      await c.see(name, 'disconnect');
      await c.see(`server ${name}`, 'disconnect');
    }
  }],

  'old and new clients hear each other': [legacy, async (c) => {
    const a = await c.up('old', `/chat?${query('old')}`, old);
    const b = await c.up('new', '/chat');
    const p = await c.up('old, polling', `/chat?${query('old, polling')}`, { ...old, transports: ['polling'] });
    for (const socket of [a, b, p]) await c.do(socket, ['send', { from: 'others' }, 'text', 'é😀'], ['send', {}, 'binary',
      Buffer.from([1]), { deep: [Buffer.from([2])] }]);
    for (const socket of [a, b, p]) await c.settled(socket);
    await c.do(b, ['sockets', {}]);
  }],

  'a server that does not want them': async (c) => {
    for (const transports of [['websocket'], ['polling']]) {
      const name = transports.join();
      c.client(name, '/', { ...old, transports });
      await c.see(name, 'connect_error');
    }
  },

  'handshakes by hand': [legacy, async (c) => {
    for (const text of ['EIO=3&transport=polling', 'EIO=3&transport=polling&b64=1', 'EIO=3&transport=polling&b64=true',
      'transport=polling', 'EIO=2&transport=polling', 'EIO=&transport=polling', 'EIO=3&transport=polling&sid=nope']) {
      const { status, headers, body } = await c.request('GET', `${base}?${text}`);
      const { sid, ...open } = status === 200 && body.includes('{') ? JSON.parse(body.slice(body.indexOf('{'), body.indexOf('}') + 1)) : {};
      // The length of the first packet depends on the length of the id.
      c.saw(text, { status, type: headers['content-type'], body: body.replace(/\{.*\}/, '{…}').replace(/^\d+:/,
        'n:').replace(/[^\x20-\x7e]/g, '.'), open });
      if (sid) c.connections++;
      if (sid) c.known(sid, text);
      if (sid) await c.request('POST', `${base}?${text}&sid=${sid}`, { body: '1:1' });
    }
  }],

  'payloads by hand': [legacy, async (c) => {
    for (const payload of [framed('40/chat?as=a,', '42/chat,1["echo","é"]'), framed('421["echo",1]'), '5:421["echo",1]',
      '99:42["echo"]', '-1:4', ':4', 'x:4', '2:40', '', '3:', '1:2', '6:2probe', '1:6', '1:1', '2:4x', '10:b4AAAAAAAA', '1:9',
      '40', '4:42[]', framed('42["note",1]', '9')]) {
      const name = JSON.stringify(payload);
      const session = await c.polling('EIO=3&b64=1', { name });
      const { status, body } = await session.post(payload);
      c.saw(name, { status, body });
      // A ping shows whether the session is still open.
      await session.post('1:2');
      await polled(c, name, session, /^3/);
    }
  }],

  'binary payloads by hand': [legacy, async (c) => {
    const packet = (type, bytes) => Buffer.concat([Buffer.from([type, ...String(bytes.length).split('').map(Number), 255]), bytes]);
    const event = packet(0, Buffer.from('42["note",1]'));
    for (const [name, payload] of Object.entries({
      whole: event, 'text and binary': Buffer.concat([packet(0, Buffer.from('451-["note",{"_placeholder":true,"num":0}]')),
        packet(1, Buffer.from([4, 1, 2]))]), 'not ASCII': packet(0, Buffer.from('42["note","é😀"]')),
      'cut off': event.subarray(0, -2), 'cut off behind another': Buffer.concat([event, event.subarray(0, 5)]),
      'no end of the length': Buffer.from([0, 1, 2]), 'unknown type': packet(2, Buffer.from('42["note",1]')), empty: Buffer.alloc(0),
    })) {
      const session = await c.polling('EIO=3', { name });
      const { status, body } = await session.post(payload, { 'Content-Type': 'application/octet-stream' });
      c.saw(name, { status, body });
      if (['whole', 'text and binary', 'not ASCII', 'cut off behind another'].includes(name)) await c.see(`server ${name}`, 'note');
      c.saw(name, (await session.post('1:2')).status);
    }
  }],

  'offsets of connection state recovery': [{ ...legacy, recovery: 60_000 }, async (c) => {
    const a = await c.up('old', `/chat?${query('old')}`, old);
    const b = await c.up('new', '/chat');
    for (const socket of [a, b]) await c.do(socket, ['emit', 'alone', 1], ['send', {}, 'all', 2], ['send', { volatile: true },
      'volatile', 3]);
    for (const socket of [a, b]) await c.settled(socket);
  }],

  'a WebSocket by hand': [legacy, async (c) => {
    const a = c.socket('a', 'EIO=3&transport=websocket', { pong: false });
    await c.until(() => c.seen('a').includes('40'), 'CONNECT');
    a.send('2');
    await c.see('a', '3');
    a.send('2probe');
    await c.until(() => c.seen('a').length === 4, 'the answer to the probe');
    a.send(`40/chat?${query('chat')},`);
    await c.until(() => c.seen('a').some((seen) => String(seen).startsWith('40/chat')), 'CONNECT');
    a.send('42/chat,1["echo","é"]');
    await c.until(() => c.seen('a').some((seen) => String(seen).startsWith('43/chat')), 'the answer');
    a.send('451-/chat,2["echo",{"_placeholder":true,"num":0}]');
    a.send(Buffer.from([4, 1, 2, 3]));
    await c.until(() => c.seen('a').some((seen) => Buffer.isBuffer(seen)), 'the binary part');
    a.send('41/chat,');
    await c.see('server chat', 'disconnect');
    a.send('423["echo","main"]');
    await c.see('a', '433["main"]');
    for (const packet of ['42/chat,["note",1]', '44', '49']) {
      const b = c.socket(packet, 'EIO=3&transport=websocket', { pong: false });
      await c.until(() => c.seen(packet).includes('40'), 'CONNECT');
      b.send(packet);
      b.send('421["echo","alive"]');
      await c.until(() => c.seen(packet).some((seen) => seen === '431["alive"]' || seen[0] === 'closed'), packet);
      b.terminate();
    }
  }],

  'a client that sends no ping': [{ ...legacy, pingInterval: 200, pingTimeout: 300 }, async (c) => {
    c.socket('silent', 'EIO=3&transport=websocket');
    await c.see('silent', 'closed');
  }],

  'JSONP by hand': [legacy, async (c) => {
    for (const j of ['0', '12', '', 'x', '1;alert(1)', '-1']) {
      const { status, headers, body } = await c.request('GET', `${base}?EIO=3&transport=polling&j=${encodeURIComponent(j)}`);
      const sid = /sid\\*":\\*"([^"\\]+)/.exec(body)?.[1];
      c.saw(`j=${j}`, { status, type: headers['content-type'], body: body.replace(/\{.*\}/, '{…}').replace(/"\d+:/, '"n:') });
      if (!sid) continue;
      c.connections++;
      c.known(sid, `j=${j}`);
      const at = `${base}?EIO=3&transport=polling&j=0&sid=${sid}`;
      const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
      const sent = await c.request('POST', at, { headers: form, body: `d=${encodeURIComponent(framed('421["echo","é"]'))}` });
      c.saw(`j=${j}`, { status: sent.status, body: sent.body });
      await c.request('POST', at, { headers: form, body: `d=${encodeURIComponent('1:1')}` });
    }
  }],
});
