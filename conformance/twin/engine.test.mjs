// Handmade Engine.IO: handshakes, requests, payloads, upgrades, headers and limits.
import { scenarios } from './twin.mjs';

const base = '/socket.io/';

/** The parts of an answer that are compared. */
function answer({ status, headers, body }, ...names) {
  const shown = { status, type: headers['content-type'], body: body.replace(/^0\{.*\}/s, 'open').replace(/(___eio\[\d*\])\(.*/s, '$1(…)') };
  for (const name of names) shown[name] = headers[name];
  return shown;
}

scenarios('engine', {
  'handshakes that are refused': async (c) => {
    const { sid } = await c.polling();
    for (const query of ['', 'EIO=4', 'transport=polling', 'EIO=4&transport=', 'EIO=4&transport=websocket',
      'EIO=4&transport=webtransport', 'EIO=4&transport=null', 'EIO=4&transport=constructor', 'EIO=4&transport=__proto__',
      'EIO=4&transport=POLLING', 'EIO=4&transport=polling2', 'EIO=3&transport=polling', 'EIO=2&transport=polling',
      'EIO=5&transport=polling', 'EIO=&transport=polling', 'EIO=44&transport=polling', 'eio=4&transport=polling',
      'EIO=4&transport=polling&sid=', 'EIO=4&transport=polling&sid=nope', 'EIO=4&transport=polling&sid=__proto__',
      'EIO=4&transport=polling&sid=constructor', 'EIO=4&transport=polling&transport=websocket',
      'EIO=4&transport=websocket&transport=polling', 'EIO=4&EIO=3&transport=polling', `EIO=4&transport=websocket&sid=${sid}`,
      `EIO=3&transport=polling&sid=${sid}`, `EIO=4&transport=null&sid=${sid}`, 'EIO=4&transport=polling&j=0',
      'EIO=4&transport=polling&b64=1', 'EIO=4&transport=polling&sid=nope&sid=other', 'EIO=4&transport=%70olling',
      'EIO=4;transport=polling', 'EIO=4&transport=polling&%', 'EIO=4&transport=polling&t=x#fragment']) {
      c.saw(query.replace(sid, 'SID'), answer(await c.request('GET', `${base}?${query}`)));
    }
  },

  'methods': async (c) => {
    const session = await c.polling();
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE']) {
      const { body, ...rest } = answer(await c.request(method, `${base}?EIO=4&transport=polling`));
      c.saw(`${method} a handshake`, method === 'TRACE' ? rest.status : { ...rest, body });
    }
    for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS']) c.saw(`${method} of a session`,
      answer(await c.request(method, session.at)));
    c.saw('alive', answer(await session.post('40{"as":"by hand"}')));
    await c.see('server by hand', 'connection');
  },

  'paths': async (c) => {
    for (const path of ['/socket.io/', '/socket.io', '/socket.io/x', '/socket.iox', '/socket.iox/', '/socket.io//', '/Socket.IO/',
      '//socket.io/', '/socket.io/../socket.io/', '/socket%2Eio/', '/socket.io%2F', '/x/socket.io/', '/', '/socket',
      '/socket.io/socket.io/']) {
      const { status, headers } = await c.request('GET', `${path}?EIO=4&transport=polling`);
      c.saw(path, { status, location: headers.location });
    }
  },

  'WebSockets that are refused': async (c) => {
    const session = await c.polling();
    for (const [name, query, options] of [
      ['a handshake', 'EIO=4&transport=websocket'], ['no version', 'transport=websocket'],
      ['version 3', 'EIO=3&transport=websocket'], ['version 5', 'EIO=5&transport=websocket'],
      ['polling', 'EIO=4&transport=polling'], ['no transport', 'EIO=4'], ['constructor', 'EIO=4&transport=constructor'],
      ['unknown id', 'EIO=4&transport=websocket&sid=nope'], ['__proto__', 'EIO=4&transport=websocket&sid=__proto__'],
      ['polling of a session', `EIO=4&transport=polling&sid=${session.sid}`], ['other version of a session',
        `EIO=3&transport=websocket&sid=${session.sid}`], ['another path', 'EIO=4&transport=websocket', { path: '/other/' }],
        ['below the path', 'EIO=4&transport=websocket', { path: '/socket.io/x' }],
    ]) {
      const a = c.socket(name, query, options);
      await c.until(() => c.seen(name).length, name);
      if (c.seen(name)[0] === 'open' && query.includes('EIO=5')) await c.see(name, 'closed');
      a.terminate();
    }
    const again = await c.open('a session of its own', { connect: false });
    const second = c.socket('a second WebSocket of it', `EIO=4&transport=websocket&sid=${again.sid ?? 'x'}`);
    await c.until(() => c.seen('a second WebSocket of it').length, 'the refusal');
    second.terminate();
  },

  'upgrade requests that are none': async (c) => {
    for (const [name, head] of Object.entries({
      'no version': 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n',
      'version 12': 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 12\r\n',
      'no key': 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n',
      'a short key': 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n',
      'another protocol': 'Upgrade: h2c\r\nConnection: Upgrade\r\n',
    })) {
      const text = await c.tcp(`GET ${base}?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n${head}\r\n`);
      c.saw(name, text.split('\r\n')[0]);
    }
  },

  'requests that are odd': async (c) => {
    const session = await c.polling();
    const head = (line, ...fields) => `${line}\r\n${['Host: 127.0.0.1', ...fields].map((field) => `${field}\r\n`).join('')}\r\n`;
    const path = `${base}?EIO=4&transport=polling`;
    for (const [name, bytes] of Object.entries({
      'HTTP/1.0': head(`GET ${path} HTTP/1.0`), 'no host': `GET ${path} HTTP/1.1\r\n\r\n`,
      'an absolute address': head(`GET http://127.0.0.1${path} HTTP/1.1`),
      'a long query': head(`GET ${path}&x=${'x'.repeat(6000)} HTTP/1.1`),
      'two lengths': head(`POST ${session.at} HTTP/1.1`, 'Content-Length: 1', 'Content-Length: 2'),
      'a length that is none': head(`POST ${session.at} HTTP/1.1`, 'Content-Length: x'),
      'a body of a GET': `${head(`GET ${path} HTTP/1.1`, 'Content-Length: 1')}6`, 'no such method': head(`FOO ${path} HTTP/1.1`),
      'no request': 'hello\r\n\r\n',
      'an upgrade in capitals': head(`GET ${base}?EIO=4&transport=websocket HTTP/1.1`,
        'UPGRADE: WebSocket', 'CONNECTION: keep-alive, Upgrade', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Version: 13'),
      'an upgrade to polling': head(`GET ${path} HTTP/1.1`, 'Upgrade: websocket', 'Connection: Upgrade',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13'),
      'an upgrade by POST': head(`POST ${base}?EIO=4&transport=websocket HTTP/1.1`, 'Upgrade: websocket', 'Connection: Upgrade',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13'),
    })) c.saw(name, (await c.tcp(bytes)).split(' ')[1]);
  },

  'subprotocols and extensions of a WebSocket': [{ compression: true }, async (c) => {
    for (const [name, headers] of Object.entries({
      'a subprotocol': { 'Sec-WebSocket-Protocol': 'one' }, subprotocols: { 'Sec-WebSocket-Protocol': 'one, two' },
      deflate: { 'Sec-WebSocket-Extensions': 'permessage-deflate' },
      'client_max_window_bits': { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' },
      'no context of the server': { 'Sec-WebSocket-Extensions': 'permessage-deflate; server_no_context_takeover' },
      'a small window': { 'Sec-WebSocket-Extensions': 'permessage-deflate; server_max_window_bits=10' },
      'one that is unknown': { 'Sec-WebSocket-Extensions': 'x-unknown, permessage-deflate' },
      'one that is wrong': { 'Sec-WebSocket-Extensions': 'permessage-deflate; server_max_window_bits=99' }, none: {},
    })) {
      const fields = Object.entries({ Host: '127.0.0.1', Upgrade: 'websocket', Connection: 'Upgrade',
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version': 13, ...headers });
      const lines = fields.map(([key, value]) => `${key}: ${value}\r\n`).join('');
      const text = await c.tcp(`GET ${base}?EIO=4&transport=websocket HTTP/1.1\r\n${lines}\r\n`);
      const [head] = text.toLowerCase().split('\r\n\r\n');
      c.saw(name, head.split('\r\n').filter((line) => /^http|^sec-websocket/.test(line)).sort());
    }
  }],

  'payloads that are refused': async (c) => {
    for (const payload of ['', 'x', '9', '4', '4x', '\x1e', '6\x1e', '\x1e6', '6\x1e\x1e6', '6\x1e9', 'b', 'bAA', 'b!!', '0', '1',
      '5', '6', '7', '2', '3', '2probe', '4é', '6\n', '6\x1e1\x1e6', '44', '42["note"]', '41', '4\x1e6']) {
      const name = JSON.stringify(payload);
      const session = await c.polling();
      c.saw(name, answer(await session.post(payload)));
      const { status } = await session.post('6');
      c.saw(name, status);
    }
  },

  'a payload of many packets': async (c) => {
    const session = await c.polling();
    await c.exchange('by hand', session, ['40{"as":"by hand"}'], /^40/);
    const events = Array.from({ length: 1500 },
      (_, i) => (i % 100 ? `42["note",${i}]` : `451-["note",${i},{"_placeholder":true,"num":0}]\x1ebAQID`));
    await c.exchange('by hand', session, [...events, '421["echo","end"]'], /end/);
  },

  'messages in fragments': async (c) => {
    const a = await c.open('a');
    a.on('pong', (data) => c.saw('pong', String(data)));
    const text = '421["echo","é😀 in the middle of a character"]';
    const bytes = Buffer.from(text);
    for (let i = 0; i < bytes.length; i++) {
      a.send(bytes.subarray(i, i + 1), { binary: false, fin: i === bytes.length - 1 });
      if (i % 10 === 0) a.ping(String(i));
    }
    await c.until(() => c.seen('a').some((seen) => /^431/.test(seen)), 'the answer');
    a.send('452-2["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
    for (const fin of [false, false, true]) a.send(Buffer.from([1, 2, 3]), { fin });
    for (const fin of [false, true]) a.send(Buffer.alloc(0), { fin });
    await c.until(() => c.seen('a').filter((seen) => Buffer.isBuffer(seen)).length === 2, 'the binary answer');
    await c.see('pong', '40');
  },

  'content types and encodings of a POST': async (c) => {
    for (const headers of [{}, { 'Content-Type': 'text/plain' }, { 'Content-Type': 'application/json' },
      { 'Content-Type': 'application/octet-stream' }, { 'Content-Type': 'application/x-www-form-urlencoded' },
      { 'Content-Type': 'text/plain; charset=latin1' }, { 'Content-Encoding': 'gzip' }, { 'Transfer-Encoding': 'chunked' }]) {
      const name = JSON.stringify(headers);
      const session = await c.polling();
      const posted = answer(await session.post(`40${JSON.stringify({ as: name })}`, headers));
      c.saw(name, posted);
      if (posted.status === 200) await c.see(`server ${name}`, 'connection');
    }
  },

  'headers of answers': async (c) => {
    const session = await c.polling();
    const names = ['cache-control', 'access-control-allow-origin', 'vary', 'content-length', 'x-xss-protection', 'set-cookie'];
    c.saw('handshake', Object.keys(answer(await c.request('GET', `${base}?EIO=4&transport=polling`), ...names)));
    c.saw('handshake', (({ 'content-length': length, ...rest }) => rest)(answer(await c.request('GET',
      `${base}?EIO=4&transport=polling`), ...names)));
    c.saw('POST', answer(await session.post('40{"as":"by hand"}'), ...names));
    await c.see('server by hand', 'connection');
    c.saw('poll', (({ body, ...rest }) => rest)(answer(await session.get(), ...names.filter((name) => name !== 'content-length'))));
    c.saw('error', answer(await c.request('GET', `${base}?EIO=4&transport=polling&sid=nope`), ...names));
    c.saw('browser', answer(await c.request('GET', `${base}?EIO=4&transport=polling`,
      { headers: { 'User-Agent': 'Mozilla/5.0 (compatible; MSIE 10.0; Trident/6.0)' } }), 'x-xss-protection'));
    c.saw('keep-alive', (await c.request('GET', `${base}?EIO=4&transport=polling`,
      { headers: { Connection: 'close' } })).headers.connection);
  },

  'compression of polling': async (c) => {
    const a = await c.up('a');
    for (const encoding of ['gzip', 'deflate', 'gzip, deflate, br', 'br', 'identity', '*', undefined, 'gzip;q=0']) {
      const session = await c.polling();
      await c.exchange(`session ${encoding}`, session, [`40{"as":"session ${encoding}"}`], /^40/);
      for (const size of [100, 5000]) {
        await c.do(a, ['send', { except: [a.id] }, 'large', 'x'.repeat(size)]);
        const { headers } = await c.request('GET', session.at, { headers: encoding === undefined ? {} : { 'Accept-Encoding': encoding } });
        c.saw(`${encoding} ${size}`, { encoding: headers['content-encoding'], type: headers['content-type'] });
      }
    }
  },

  'pages of other origins': [{ origin: 'http://app.example' }, async (c) => {
    const session = await c.polling();
    const names = ['access-control-allow-origin', 'access-control-allow-credentials', 'vary', 'access-control-allow-methods',
      'access-control-allow-headers', 'access-control-max-age'];
    const own = { Origin: 'http://app.example' };
    c.saw('handshake', answer(await c.request('GET', `${base}?EIO=4&transport=polling`, { headers: own }), ...names));
    c.saw('no origin', answer(await c.request('GET', `${base}?EIO=4&transport=polling`), ...names));
    c.saw('POST', answer(await c.request('POST', session.at, { headers: own, body: '40{"as":"by hand"}' }), ...names));
    await c.see('server by hand', 'connection');
    for (const query of ['EIO=4&transport=polling&sid=nope', 'EIO=4&transport=x', 'EIO=9&transport=polling']) c.saw(query,
      answer(await c.request('GET', `${base}?${query}`, { headers: own }), ...names));
    const preflight = { ...own, 'Access-Control-Request-Method': 'POST' };
    c.saw('preflight', answer(await c.request('OPTIONS', session.at,
      { headers: { ...preflight, 'Access-Control-Request-Headers': 'content-type' } }), ...names));
    c.saw('preflight of a handshake', answer(await c.request('OPTIONS', `${base}?EIO=4&transport=polling`,
      { headers: preflight }), ...names));
    c.saw('preflight without a query', answer(await c.request('OPTIONS', base, { headers: preflight }), ...names));
    c.saw('preflight with a header of its own', answer(await c.request('OPTIONS', session.at,
      { headers: { ...preflight, 'Access-Control-Request-Headers': 'x-own,authorization' } }), ...names));
    c.saw('preflight of an unknown session', answer(await c.request('OPTIONS', `${base}?EIO=4&transport=polling&sid=nope`,
      { headers: preflight }), ...names));
    c.saw('another origin', answer(await c.request('GET', `${base}?EIO=4&transport=polling`,
      { headers: { Origin: 'http://evil.example' } }), ...names));
    c.saw('null', answer(await c.request('GET', `${base}?EIO=4&transport=polling`, { headers: { Origin: 'null' } }), ...names));
    c.socket('WebSocket', undefined, { headers: own });
    await c.see('WebSocket', 'open');
    c.socket('WebSocket of another', undefined, { headers: { Origin: 'http://evil.example' } });
    await c.until(() => c.seen('WebSocket of another').length, 'the answer');
  }],

  'any origin': [{ origin: '*' }, async (c) => {
    const names = ['access-control-allow-origin', 'access-control-allow-credentials', 'vary'];
    for (const origin of ['http://app.example', 'null', 'file://', 'capacitor://localhost']) c.saw(origin,
      answer(await c.request('GET', `${base}?EIO=4&transport=polling`, { headers: { Origin: origin } }), ...names));
    for (const origin of ['\x01', 'http://a\x00b', 'http://ü', 'http://a b']) {
      const text = await c.tcp(Buffer.from(`GET ${base}?EIO=4&transport=polling HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: ${origin}\r\nConnection: close\r\n\r\n`, 'latin1'));
      c.saw(JSON.stringify(origin), text.split('\r\n')[0]);
    }
  }],

  'a cookie': [{ cookie: true }, async (c) => {
    const { headers, body } = await c.request('GET', `${base}?EIO=4&transport=polling`);
    const { sid } = JSON.parse(body.slice(1));
    c.known(sid, 'SID');
    c.saw('handshake', headers['set-cookie'].map((cookie) => Object.fromEntries(cookie.split('; ').map((part) => part.split('=')))));
    const at = `${base}?EIO=4&transport=polling&sid=${sid}`;
    c.saw('POST', (await c.request('POST', at, { body: '40{"as":"by hand"}' })).headers['set-cookie']);
    await c.see('server by hand', 'connection');
    c.saw('poll', (await c.request('GET', at)).headers['set-cookie']);
    const a = c.socket('WebSocket');
    a.on('upgrade', (response) => c.saw('has cookie',
      (response.headers['set-cookie'] ?? []).map((cookie) => cookie.replace(/=[^;]*/, '=…'))));
    await c.see('WebSocket', 'open');
    await c.request('POST', at, { body: '1' });
  }],

  'two polls at once': async (c) => {
    const session = await c.polling();
    await c.exchange('by hand', session, ['40{"as":"by hand"}'], /^40/);
    const answers = await Promise.all([session.get(), session.get()]);
    c.saw('statuses', answers.map(({ status }) => status).sort());
    await c.see('server by hand', 'disconnect');
    c.saw('the session', answer(await session.get()).status);
  },

  'two POSTs at once': async (c) => {
    const session = await c.polling();
    await c.exchange('by hand', session, ['40{"as":"by hand"}'], /^40/);
    const half = `POST ${session.at} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 12\r\nContent-Type: text/plain\r\n\r\n`;
    c.tcp(half).catch(() => {}); // its body never arrives
    for (;;) { // until the server has read the header of the slow request
      const { status } = await session.post('42["note",1]');
      if (status !== 200) { c.saw('second', status); break; }
    }
    await c.see('server by hand', 'disconnect');
    c.record.set('server by hand', c.seen('server by hand').filter(([word]) => word !== 'note'));
  },

  'an upgrade by hand': async (c) => {
    const session = await c.polling();
    await c.exchange('polling', session, ['40{"as":"by hand"}'], /^40/);
    const a = c.socket('websocket', `EIO=4&transport=websocket&sid=${session.sid}`);
    await new Promise((resolve) => a.on('open', resolve));
    const poll = session.get();
    a.send('2probe');
    await c.see('websocket', '3probe');
    c.saw('the poll that was open', answer(await poll));
    await session.post('42["note","posted while upgrading"]');
    await c.see('server by hand', 'note');
    a.send('5');
    a.send('421["echo","after"]');
    await c.until(() => c.seen('websocket').some((seen) => /after/.test(seen)), 'the answer');
    c.saw('a late poll', answer(await session.get()).status);
    c.saw('a late POST', answer(await session.post('42["note","late"]')).status);
    a.send('422["echo","end"]');
    await c.until(() => c.seen('websocket').some((seen) => /end/.test(seen) || seen[0] === 'closed'), 'the answer');
  },

  'upgrades that are given up': async (c) => {
    const session = await c.polling();
    await c.exchange('polling', session, ['40{"as":"by hand"}'], /^40/);
    for (const [name, packet] of Object.entries({ 'after the probe': '2probe', 'at once': undefined, 'a wrong probe': '2',
      'another packet': '42["note","not yet"]', 'nothing that is a packet': 'x' })) {
      const a = c.socket(name, `EIO=4&transport=websocket&sid=${session.sid}`);
      await new Promise((resolve) => a.on('open', resolve));
      if (packet !== undefined) a.send(packet);
      if (packet === '2probe') await c.see(name, '3probe');
      else if (packet !== undefined) await c.see(name, 'closed');
      a.terminate();
      await c.exchange('polling', session, [`421["echo","${name}"]`], new RegExp(name));
    }
  },

  'an upgrade without a probe': async (c) => {
    const session = await c.polling();
    await c.exchange('polling', session, ['40{"as":"by hand"}'], /^40/);
    const a = c.socket('websocket', `EIO=4&transport=websocket&sid=${session.sid}`);
    await new Promise((resolve) => a.on('open', resolve));
    a.send('5');
    a.send('421["echo","alive"]');
    await c.until(() => c.seen('websocket').length, 'an answer or the end');
  },

  'upgrades that take too long': [{ upgradeTimeout: 200 }, async (c) => {
    const session = await c.polling();
    await c.exchange('polling', session, ['40{"as":"by hand"}'], /^40/);
    for (const probe of [false, true]) {
      const name = `probe ${probe}`;
      const a = c.socket(name, `EIO=4&transport=websocket&sid=${session.sid}`);
      await new Promise((resolve) => a.on('open', resolve));
      if (probe) a.send('2probe');
      await c.see(name, 'closed');
      await c.exchange('polling', session, [`421["echo","${name}"]`], new RegExp(name));
    }
  }],

  'two upgrades at once': async (c) => {
    const session = await c.polling();
    await c.exchange('polling', session, ['40{"as":"by hand"}'], /^40/);
    const a = c.socket('first', `EIO=4&transport=websocket&sid=${session.sid}`);
    await new Promise((resolve) => a.on('open', resolve));
    a.send('2probe');
    await c.see('first', '3probe');
    c.socket('second', `EIO=4&transport=websocket&sid=${session.sid}`);
    await c.until(() => c.seen('second').length, 'the end of the second');
    a.send('5');
    a.send('421["echo","first"]');
    await c.see('first', '431["first"]');
    c.socket('third', `EIO=4&transport=websocket&sid=${session.sid}`);
    await c.until(() => c.seen('third').length, 'the end of the third');
    a.send('422["echo","still"]');
    await c.see('first', '432["still"]');
  },

  'upgrades that are not allowed': [{ transports: ['polling'] }, async (c) => {
    const session = await c.polling();
    c.saw('upgrades', session.open.upgrades);
    c.socket('an upgrade', `EIO=4&transport=websocket&sid=${session.sid}`);
    c.socket('a WebSocket');
    for (const name of ['an upgrade', 'a WebSocket']) await c.until(() => c.seen(name).length, name);
    await c.exchange('polling', session, ['40{"as":"by hand"}', '421["echo","alive"]'], /alive/);
  }],

  'WebSockets only': [{ transports: ['websocket'] }, async (c) => {
    c.saw('polling', answer(await c.request('GET', `${base}?EIO=4&transport=polling`)));
    await c.settled(await c.up('a'));
    c.client('b', '/', { transports: ['polling', 'websocket'], tryAllTransports: true });
    c.client('d', '/', { transports: ['polling', 'websocket'] });
    for (const name of ['b', 'd']) await c.until(() => c.seen(name).length, name);
  }],

  'messages beyond the limit': [{ maxPayload: 1000 }, async (c) => {
    for (const [name, message] of Object.entries({ exact: `421["echo","${'x'.repeat(1000 - 12 - 3)}"]`.padEnd(1000, ' '),
      text: `42["note","${'x'.repeat(1000)}"]`, binary: Buffer.alloc(1001), 'not ASCII': `42["note","${'é'.repeat(496)}"]` })) {
      const a = await c.open(name);
      a.send(message);
      await c.until(() => c.seen(name).some((seen) => seen[0] === 'closed' || /^431/.test(seen)), name);
      a.terminate();
      await c.see(`server ${name}`, 'disconnect');
    }
    const a = await c.open('in fragments');
    for (let i = 0; i < 3; i++) a.send('x'.repeat(400), { fin: i === 2 });
    await c.see('in fragments', 'closed');
  }],

  'WebSocket frames that break the protocol': async (c) => {
    for (const [name, bytes] of Object.entries({
      'not masked': [0x81, 0x01, 0x36], 'reserved bit': [0xc1, 0x81, 1, 2, 3, 4, 0x37], 'unknown opcode': [0x83, 0x80, 1, 2, 3,
        4], 'fragmented ping': [0x09, 0x80, 1, 2, 3, 4], 'long ping': [0x89, 0xfe, 0, 126, 1, 2, 3, 4],
        'continuation of nothing': [0x80, 0x80, 1, 2, 3, 4],
      'text within text': [0x01, 0x81, 0, 0, 0, 0, 0x36, 0x81, 0x81, 0, 0, 0, 0, 0x36], 'invalid UTF-8': [0x81, 0x82, 0, 0, 0, 0,
        0x34, 0xff], 'close of one byte': [0x88, 0x81, 0, 0, 0, 0, 3], 'close 1005': [0x88, 0x82, 0, 0, 0, 0, 3, 0xed],
        'close 999': [0x88, 0x82, 0, 0, 0, 0, 3, 0xe7], 'close of no UTF-8': [0x88, 0x83, 0, 0, 0, 0, 3, 0xe8, 0xff],
    })) {
      const a = await c.open(name);
      a._socket.write(Buffer.from(bytes));
      await c.see(`server ${name}`, 'disconnect');
      await c.see(name, 'closed');
    }
  },

  'pings of a WebSocket': async (c) => {
    const a = await c.open('a');
    a.on('pong', (data) => c.saw('pong', String(data)));
    a.ping('x');
    a.ping('');
    await c.see('pong', '');
  },

  'heartbeats': [{ pingInterval: 300, pingTimeout: 10_000 }, async (c) => {
    const a = await c.open('a', { pong: false, connect: false });
    await c.see('a', '2');
    a.send('3');
    await c.see('a', '2', 2);
    a.send('3');
    const session = await c.polling();
    c.saw('open', (({ sid, ...rest }) => rest)(session.open));
    c.saw('poll', answer(await session.get()));
    c.saw('pong', answer(await session.post('3')));
    c.saw('poll', answer(await session.get()));
  }],
});
