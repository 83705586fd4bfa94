// nginx and HAProxy in front of the ready binary, with the configurations of docs/proxies.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { createServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { atEnd, client, connected, count, next, parley, test, upgraded, ways } from './harness.mjs';

const documented = new URL('../docs/proxies/', import.meta.url);

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Replaces what must be there. */
function replace(text, what, by) {
  assert.ok(text.includes(what), `the configuration has no "${what}"`);
  return text.replaceAll(what, by);
}

const proxies = {
  nginx: {
    file: 'nginx.conf',
    // What it writes goes to the test's folder.
    local: (text, dir) => replace(text, 'http {', `pid ${dir}/pid;\nhttp {\n    access_log off;\n${
      ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `    ${kind}_temp_path ${dir}/${kind};`).join('\n')}`),
    listen: ['listen 80;', (port) => `listen 127.0.0.1:${port};`],
    command: (file) => ['/usr/sbin/nginx', '-c', file, '-e', 'stderr', '-g', `daemon off;${process.getuid() === 0 ? ' user root;' : ''}`],
  },
  haproxy: {
    file: 'haproxy.cfg',
    local: (text) => text,
    listen: ['bind :80', (port) => `bind 127.0.0.1:${port}`],
    command: (file) => ['/usr/sbin/haproxy', '-db', '-q', '-f', file],
  },
};

/** Starts the proxy in front of the server, with some of its timeouts changed. */
async function front(t, { file, local, listen, command }, server, timeouts = (text) => text) {
  const dir = await mkdtemp(join(tmpdir(), 'proxy-'));
  atEnd(t, () => rm(dir, { recursive: true, force: true }));
  const port = await freePort();
  let text = await readFile(new URL(file, documented), 'utf8');
  text = timeouts(local(replace(replace(text, listen[0], listen[1](port)), '127.0.0.1:8080', new URL(server).host), dir));
  await writeFile(join(dir, file), text);
  const [program, ...args] = command(join(dir, file));
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (chunk) => { log += chunk; });
  const exited = new Promise((resolve) => child.once('exit', resolve).once('error', resolve));
  atEnd(t, () => { child.kill(); return exited; });
  const opens = () => new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
    socket.unref().once('connect', () => socket.destroy());
  });
  while (!await opens()) {
    assert.equal(await Promise.race([exited.then(() => true), sleep(20)]), undefined, `${program} ended:\n${log}`);
  }
  return `http://127.0.0.1:${port}`;
}

for (const [name, proxy] of Object.entries(proxies)) {
  const start = async (t, ...flags) => front(t, proxy, (await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory', ...flags)).url);

  test(`${name}: each transport, small and large messages`, async (t) => {
    const url = await start(t);
    for (const [way, options] of Object.entries(ways)) {
      const a = await connected(t, url, options);
      const b = await connected(t, url, options);
      if (way === 'upgrade') await Promise.all([upgraded(a), upgraded(b)]);
      for (const socket of [a, b]) assert.equal((await socket.emitWithAck('joinRoom', { roomId: way })).code, undefined);
      for (const message of ['small', 'x'.repeat(60_000)]) {
        const live = next(b, 'newMessage');
        assert.equal((await a.emitWithAck('sendMessage', { roomId: way, message })).message, message);
        assert.equal((await live).message, message);
      }
      assert.equal(a.io.engine.transport.name, way === 'polling' ? 'polling' : 'websocket');
    }
  });

  test(`${name}: a page of the host it is asked for, and of no other`, async (t) => {
    const url = await start(t);
    for (const options of [ways.websocket, ways.polling]) {
      await connected(t, url, { ...options, extraHeaders: { Origin: url } });
      const stranger = client(t, url, { ...options, extraHeaders: { Origin: 'http://evil.example' }, reconnection: false });
      await next(stranger, 'connect_error');
    }
  });

  test(`${name}: bodies up to max-payload`, async (t) => {
    const url = await start(t);
    const post = async (size) => {
      const query = `${url}/socket.io/?EIO=4&transport=polling`;
      const { sid } = JSON.parse((await (await fetch(query)).text()).slice(1));
      return (await fetch(`${query}&sid=${sid}`, { method: 'POST', body: '4'.padEnd(size, 'x') })).status;
    };
    assert.equal(await post(999_999), 200);
    assert.equal(await post(1_000_001), 413);
    assert.equal(await post(3_000_000), 413);
  });

  test(`${name}: clients' addresses, which they cannot make up`, async (t) => {
    const url = await start(t, '--trusted-proxies', '127.0.0.0/24', '--max-connections-per-address', '2');
    const from = (localAddress, forged) => ({
      ...ways.websocket, reconnection: false, agent: new Agent({ localAddress }), extraHeaders: { 'X-Forwarded-For': forged },
    });
    for (const i of count(2)) await connected(t, url, from('127.0.1.1', `203.0.113.${i}`));
    const third = client(t, url, from('127.0.1.1', '203.0.113.9'));
    await next(third, 'connect_error');
    await connected(t, url, from('127.0.1.2', '203.0.113.0'));
  });

  test(`${name}: heartbeats keep idle connections, for longer than its timeouts`, async (t) => {
    const server = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory', '--ping-interval', '500ms', '--ping-timeout', '500ms');
    const url = await front(t, proxy, server.url, (text) => replace(text, '75s', '2s'));
    const sockets = await Promise.all(Object.values(ways).map((options) => connected(t, url, options)));
    const lost = sockets.map((socket) => { let why; socket.on('disconnect', (reason) => { why = reason; }); return () => why; });
    await sleep(5000);
    assert.deepEqual(lost.map((why) => why()), [undefined, undefined, undefined]);
  });
}
