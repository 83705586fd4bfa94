// Clients of other languages and runtimes. Each is a program in clients. Its arguments are what to do,
// the server's address and the transport. After each step it prints "ok" and the step's name. It prints
// "restart" to ask for the server to be killed and another one to be started.
//
// The steps on the server of ./server:
//
//	connect                  with auth; "auth" comes back, and whoami returns the transport
//	events                   "message" comes back as "message-back": text beyond the BMP, no arguments, …
//	binary                   the same with binary data: short, nested and 70 KB, empty
//	acknowledgements         the server acknowledges all these
//	answers                  the client acknowledges a question, with binary
//	rooms                    a second client broadcasts to a room that the first has joined
//	namespaces               /custom, with auth and events; /refused gives its reason
//	the server disconnects   the socket in /custom; the connection stays open
//	heartbeat                the client is idle for longer than a session lives without heartbeats
//	the server is restarted  the client reconnects by itself
//	the client disconnects   and the server knows that the client asked for it
//
// The step on the parley binary:
//
//	conversation             history, messages in both directions and presence, with the official
//	                         client in the same room
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { suite, test as bare } from 'node:test';
import { atEnd, collect, connected, parley, PATIENCE, serve, test } from './harness.mjs';
import { proxy } from './proxy.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
execFileSync(`${here}clients/build`, { stdio: ['ignore', 'inherit', 'inherit'] });

const steps = [
  'connect', 'events', 'binary', 'acknowledgements', 'answers', 'rooms', 'namespaces', 'the server disconnects',
  'heartbeat', 'the server is restarted', 'the client disconnects',
];

const python = '/usr/bin/python3'; // the interpreter that has Debian's packages
const pythonpath = (version) => ({ PYTHONPATH: `.bin/clients/python-${version}` });
const java = (version) => ['java', '-Dfile.encoding=UTF-8', '-cp', `.bin/clients/java/classes:.bin/clients/java/${version}/*`, 'Client'];
const x64 = process.platform === 'linux' && process.arch === 'x64'; // the platform of the npm packages
const bun = 'node_modules/@oven/bun-linux-x64/bin/bun';
const deno = 'node_modules/@deno/linux-x64-glibc/deno';

/** The clients: the command of each, and for some what they lack or which transports they have (see README.md). */
const clients = {
  "python-socketio of Debian's, threads": { command: [python, 'clients/python/threads.py'] },
  "python-socketio of Debian's, asyncio": { command: [python, 'clients/python/tasks.py'] },
  'python-socketio 5.18.1, threads': { command: [python, 'clients/python/threads.py'], env: pythonpath('5.18.1') },
  'python-socketio 5.18.1, asyncio': { command: [python, 'clients/python/tasks.py'], env: pythonpath('5.18.1') },
  'python-socketio 4.6.1, threads': { command: [python, 'clients/python/threads.py'], args: ['old'], env: pythonpath('4.6.1') },
  'python-socketio 4.6.1, asyncio': { command: [python, 'clients/python/tasks.py'], args: ['old'], env: pythonpath('4.6.1') },
  'socket.io-client-java 2.1.2': { command: java('2.1.2') },
  'socket.io-client-java 1.0.2': { command: java('1.0.2'), args: ['old'] },
  'socket.io-client 4.8.4 in Bun': { skip: !x64, command: [bun, 'clients/js/client.mjs'] },
  'socket.io-client 4.8.4 in Deno': { skip: !x64, command: [deno, 'run', '--allow-all', '--no-remote', 'clients/js/client.mjs'] },
  // Over polling, its thread that answers pings posts beside the one that sends events. The protocol
  // forbids that: if both post at the same moment, servers answer 400 and end the session.
  'rust_socketio 0.6.0': { command: ['.bin/clients/rust/debug/client'], lacks: ['answers'], overlaps: /IncompleteHttp\(400\)/ },
  'zishang520/socket.io 3.0.6': { command: ['.bin/clients/zishang'], ways: ['websocket', 'upgrade'] },
  'googollee/go-socket.io 1.7.0': {
    command: ['.bin/clients/googollee'],
    ways: ['websocket', 'polling'],
    lacks: [
      'acknowledgements', 'answers', 'rooms', 'namespaces', 'the server disconnects', 'the server is restarted', 'conversation',
    ],
  },
};

/** Runs a client's program to its end. Resolves with the steps that it completed. */
async function run(t, { command: [file, ...before], args = [], env }, what, url, way, restart) {
  const child = spawn(file, [...before, what, url, way, ...args], { cwd: here, env: { ...process.env, ...env }, stdio: 'pipe' });
  const ended = new Promise((resolve, reject) => child.once('error', reject).once('close', (code, signal) => resolve(signal ?? code)));
  atEnd(t, () => { child.kill('SIGKILL'); return ended; });
  const late = setTimeout(() => { log += 'it does not end\n'; child.kill('SIGKILL'); }, 4 * PATIENCE);
  let log = '';
  child.stderr.on('data', (chunk) => { log += chunk; });
  const done = [];
  for await (const line of createInterface(child.stdout)) {
    if (line === 'restart') {
      await restart();
      child.stdin.write('\n');
    } else if (line.startsWith('ok ')) done.push(line.slice(3));
    else log += `${line}\n`;
  }
  const code = await ended;
  clearTimeout(late);
  assert.equal(code, 0, `after ${done.at(-1) ?? 'nothing'}:\n${log}`);
  return done;
}

suite('clients of other languages', { concurrency: 6 }, () => {
  for (const [name, client] of Object.entries(clients)) {
    if (client.skip) {
      bare.skip(name);
      continue;
    }
    for (const way of client.ways ?? ['websocket', 'polling', 'upgrade']) {
      test(`${name} (${way})`, async (t) => {
        // A busy machine sometimes stalls for more than a second.
        const start = () => serve(t, '-legacy', '-ping-interval', '300ms', '-ping-timeout', '6s');
        let server = await start();
        const between = await proxy(t, server.url);
        const scenario = () => run(t, client, 'scenario', between.url, way, async () => {
          await server.stop();
          server = await start();
          between.target = server.url;
        });
        const done = await scenario().catch((error) => {
          if (way !== 'polling' || !client.overlaps?.test(error.message)) throw error;
          return scenario();
        });
        assert.deepEqual(done, steps.filter((step) => !client.lacks?.includes(step)));
      });
    }
    if (!client.lacks?.includes('conversation')) test(`${name}, in a room with the official client`, async (t) => {
      const { url } = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory');
      const text = 'é€😀𝒳\u2028\n"\\';
      const ada = await connected(t, url);
      await ada.emitWithAck('joinRoom', { roomId: 'r', userId: 'ada' });
      const first = await ada.emitWithAck('sendMessage', { roomId: 'r', message: text });
      const presence = collect(ada, 'presence');
      let said;
      ada.on('newMessage', (message) => {
        if (message.userId === 'other') {
          said = message;
          ada.emit('sendMessage', { roomId: 'r', message: ['reply', text] });
        }
      });
      assert.deepEqual(await run(t, client, 'conversation', url, client.ways?.[0] ?? 'upgrade'), ['conversation']);
      assert.deepEqual(presence[0].map(({ type, member }) => [type, member.userId]), [['join', 'other']]);
      const { messages } = await ada.emitWithAck('history', { roomId: 'r' });
      assert.deepEqual(messages.slice(0, 2), [first, said]);
      assert.deepEqual(said.message, { text });
    });
  }
});
