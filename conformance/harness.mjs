// Starts servers that end with their test, and official clients.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { test as bare } from 'node:test';
import { io } from 'socket.io-client';

const here = fileURLToPath(new URL('.', import.meta.url));
// "npm test" has already built the programs.
if (!process.env.npm_lifecycle_event) execFileSync('go', ['build', '-o', '.bin/', './server', './member', './packer', './goclient', './mistake', '../cmd/parley', '../examples/cluster-with-node', '../examples/node-migration'], { cwd: here, stdio: 'inherit' });

/** How long, in ms, a test waits for something that must happen. Nothing that works takes so long. */
export const PATIENCE = 120_000;

/** Returns few normally, and many in "make soak". */
export const soak = (few, many) => (process.env.PARLEY_SOAK ? many : few);

/** The binary's flags for tests that send more than a chat does: no budgets of events and bytes per second. */
export const unlimited = ['--events-per-second', '0', '--bytes-per-second', '0'];

/** A test with a timeout. */
export const test = (name, run) => bare(name, { timeout: soak(600_000, 36_000_000) }, run);

/** The ways to connect. By default a client begins with polling and upgrades. */
export const ways = {
  websocket: { transports: ['websocket'] },
  polling: { transports: ['polling'] },
  upgrade: {},
};

/** Defines one test for each way. */
export function each(name, run) {
  for (const [way, options] of Object.entries(ways)) test(`${name} (${way})`, (t) => run(t, options, way));
}

const ends = new WeakMap();

/**
 * Calls f when the test ends. Functions registered later run first. So clients close before their
 * servers: a client that loses its server in the middle of an upgrade takes a while to close.
 */
export function atEnd(t, f) {
  if (!ends.has(t)) {
    ends.set(t, []);
    t.after(async () => { for (const end of ends.get(t).reverse()) await end(); });
  }
  ends.get(t).push(f);
}

/** Starts a redis-server and resolves with its address. */
export async function redis(t, ...more) {
  for (;;) { // another program may take the port first
    const probe = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => probe.once('listening', resolve));
    const { port } = probe.address();
    await new Promise((resolve) => probe.close(resolve));
    const dir = mkdtempSync(`${tmpdir()}/parley-redis-`);
    const args = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', dir, ...more];
    const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'ignore'] });
    const ready = await new Promise((resolve, reject) => {
      let log = '';
      child.once('error', reject);
      child.once('exit', () => resolve(false));
      child.stdout.on('data', (chunk) => { if ((log += chunk).includes('Ready to accept connections')) resolve(true); });
    });
    atEnd(t, () => { child.kill('SIGKILL'); rmSync(dir, { recursive: true, force: true, maxRetries: 5 }); });
    if (ready) return `127.0.0.1:${port}`;
  }
}

/** Starts a Redis Cluster of three masters and resolves with their addresses. */
export async function redisCluster(t) {
  const addresses = await Promise.all(count(3).map(() => redis(t, '--cluster-enabled', 'yes')));
  execFileSync('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-yes'], { stdio: 'pipe' });
  return addresses;
}

/**
 * Starts a program and resolves once it has printed its address.
 * To check the tests themselves, set CONFORMANCE_SERVER to another server's command.
 */
export async function run(t, command, args) {
  const [file, ...before] = command.split(' ');
  const child = spawn(file, [...before, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
  const stop = async (signal = 'SIGKILL') => { child.kill(signal); return exited; };
  atEnd(t, () => stop());
  let out = '';
  const url = await new Promise((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      out += chunk;
      const address = /https?:\/\/127\.0\.0\.1:\d+/.exec(out);
      if (address) resolve(address[0]);
    });
    child.stderr.on('data', (chunk) => { log += chunk; });
    child.once('error', reject);
    exited.then((how) => reject(new Error(`${file} ended (${how}) before it was ready:\n${log}`)));
  });
  return { url, stop, pid: child.pid, log: () => log, out: () => out };
}

/** Starts the server of ./server with these flags. */
export const serve = (t, ...flags) => run(t, process.env.CONFORMANCE_SERVER ?? `${here}.bin/server`, flags);

/** Starts ./member, a server of a cluster, with these flags. */
export const member = (t, ...flags) => run(t, `${here}.bin/member`, flags);

/** Starts member.mjs, a server of a cluster on Node.js. */
export const nodeMember = (t, config) => run(t, `${process.execPath} ${here}member.mjs`, [JSON.stringify(config)]);

/** Starts the parley binary with these flags. */
export const parley = (t, ...flags) => run(t, `${here}.bin/parley`, flags);

/** Makes a client and closes it when the test ends. By default it reconnects quickly. */
export function client(t, url, { connect = io, ...options } = {}) {
  const socket = connect(url, { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100, ...options });
  atEnd(t, () => socket.disconnect());
  return socket;
}

/** Makes a client and connects it. Rejects if the first attempt fails. */
export async function connected(t, url, options) {
  const socket = client(t, url, options);
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  return socket;
}

/** Resolves with the first argument of the next such event. Rejects if none comes in time. */
export const next = (emitter, event) => take(emitter, event, 1).then(([first]) => first);

/** Resolves with the first arguments of the next n such events. */
export function take(emitter, event, n) {
  const cause = new Error('awaited here');
  return new Promise((resolve, reject) => {
    const found = [];
    const done = (settle, value) => { clearTimeout(timer); emitter.off(event, listen); settle(value); };
    const listen = (first) => { if (found.push(first) === n) done(resolve, found); };
    const late = () => done(reject, new Error(`${found.length} of ${n} "${event}" came`, { cause }));
    const timer = setTimeout(late, PATIENCE).unref();
    emitter.on(event, listen);
  });
}

/** Collects the arguments of all such events from now on. */
export function collect(emitter, event) {
  const all = [];
  emitter.on(event, (...args) => all.push(args));
  return all;
}

/** Resolves when everything that the server has sent to the socket so far has arrived. */
export const settled = (socket) => socket.timeout(PATIENCE).emitWithAck('message-with-ack');

/** Resolves when the client has upgraded to WebSocket, or at once if it uses WebSocket already. */
export async function upgraded(socket) {
  const { engine } = socket.io;
  if (engine.transport.name !== 'websocket') await next(engine, 'upgrade');
}

/** [0, 1, … n-1] */
export const count = (n) => Array.from({ length: n }, (_, i) => i);
