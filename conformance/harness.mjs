// Servers that end with their test, and the official client.
import { execFileSync, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test as bare } from 'node:test';
import { io } from 'socket.io-client';

const here = fileURLToPath(new URL('.', import.meta.url));
// "npm test" has built them already.
if (!process.env.npm_lifecycle_event) execFileSync('go', ['build', '-o', '.bin/', './server', '../cmd/parley'], { cwd: here, stdio: 'inherit' });

/** How long to wait for what has to happen. Nothing takes so long on a machine that works. */
export const PATIENCE = 120_000;

/** Returns few, and many for "make soak". */
export const soak = (few, many) => (process.env.PARLEY_SOAK ? many : few);

/** A test that ends. */
export const test = (name, run) => bare(name, { timeout: soak(600_000, 36_000_000) }, run);

/** The ways to be connected; a client's default is to begin with polling and upgrade. */
export const ways = {
  websocket: { transports: ['websocket'] },
  polling: { transports: ['polling'] },
  upgrade: {},
};

/** One test for each way. */
export function each(name, run) {
  for (const [way, options] of Object.entries(ways)) test(`${name} (${way})`, (t) => run(t, options, way));
}

const ends = new WeakMap();

/**
 * Has f called when the test ends, before what was asked for earlier: a client that loses
 * its server in the middle of an upgrade would not close for a while.
 */
export function atEnd(t, f) {
  if (!ends.has(t)) {
    ends.set(t, []);
    t.after(async () => { for (const end of ends.get(t).reverse()) await end(); });
  }
  ends.get(t).push(f);
}

/**
 * Starts a program and resolves once it has printed its address.
 * CONFORMANCE_SERVER is another program to run instead of ours, to try the tests themselves.
 */
async function run(t, command, args) {
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
  return { url, stop, log: () => log, out: () => out };
}

/** The server of ./server, with its flags. */
export const serve = (t, ...flags) => run(t, process.env.CONFORMANCE_SERVER ?? `${here}.bin/server`, flags);

/** The ready binary, with its flags. */
export const parley = (t, ...flags) => run(t, `${here}.bin/parley`, flags);

/** A client that is closed when the test ends; quick to come back unless told otherwise. */
export function client(t, url, { connect = io, ...options } = {}) {
  const socket = connect(url, { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100, ...options });
  atEnd(t, () => socket.disconnect());
  return socket;
}

/** A client that is connected, at the first attempt. */
export async function connected(t, url, options) {
  const socket = client(t, url, options);
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  return socket;
}

/** Resolves with the first argument of the next such event; fails when there is none in time. */
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

/** Resolves when all that the server has sent to the socket so far has arrived. */
export const settled = (socket) => socket.timeout(PATIENCE).emitWithAck('message-with-ack');

/** Resolves when the client has upgraded to WebSocket, at once if it does not begin with polling. */
export async function upgraded(socket) {
  const { engine } = socket.io;
  if (engine.transport.name !== 'websocket') await next(engine, 'upgrade');
}

/** [0, 1, … n-1] */
export const count = (n) => Array.from({ length: n }, (_, i) => i);
