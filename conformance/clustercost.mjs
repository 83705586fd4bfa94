// What a message costs that crosses from one server of a cluster to another: two servers on Node.js, and
// two of ours, on one Redis, in turns. "make perf" runs it: node clustercost.mjs
//
// It prints a line for each bar, with PASS or FAIL, and fails if one fails.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connected, count, member, nodeMember, redis, test } from './harness.mjs';

const messages = 50_000;
const burst = 500;
const window = 4; // bursts under way
const rounds = 9; // of three, the least varies by a third
const payload = 'x'.repeat(300);

/** The CPU time of a process, in µs. */
function cpu({ pid }) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** Sends messages from the first server to a client of the second one. */
async function measure([from, to]) {
  let heard = 0;
  let progress = () => {};
  to.client.removeAllListeners('burst').on('burst', () => { heard++; progress(); });
  const at = performance.now();
  const before = [from, to].map(cpu);
  for (let sent = 0; sent < messages; sent += burst) {
    from.client.emit('do', { op: 'burst', to: ['room'], event: 'burst', times: burst }, payload, () => {});
    while (heard < sent + burst - window * burst) await new Promise((resolve) => { progress = resolve; });
  }
  while (heard < messages) await new Promise((resolve) => { progress = resolve; });
  const seconds = (performance.now() - at) / 1000;
  const [sender, receiver] = [from, to].map((server, i) => (cpu(server) - before[i]) / messages);
  return { sender, receiver, interval: (seconds * 1e6) / messages };
}

test('what a message between servers costs', async (t) => {
  const address = await redis(t);
  const start = {
    node: (name) => nodeMember(t, { redis: [address], name, options: { key: 'a' } }),
    'sharded node': (name) => nodeMember(t, { redis: [address], name, sharded: true, options: { channelPrefix: 'c' } }),
    sharded: (name) => member(t, '-redis', address, '-name', name, '-wire', 'sharded', '-key', 'd'),
    classic: (name) => member(t, '-redis', address, '-name', name, '-key', 'b'),
    native: (name) => member(t, '-redis', address, '-name', name, '-wire', 'native'),
  };
  const pairs = {};
  for (const [kind, run] of Object.entries(start)) {
    pairs[kind] = await Promise.all(['a', 'b'].map(async (name) => {
      const server = await run(`${kind} ${name}`);
      return { pid: server.pid, client: await connected(t, server.url, { transports: ['websocket'] }) };
    }));
    await pairs[kind][1].client.emitWithAck('do', { op: 'enter', rooms: ['room'] });
  }
  const least = {};
  for (const _ of count(rounds)) {
    for (const [kind, pair] of Object.entries(pairs)) {
      const figures = await measure(pair);
      least[kind] ??= figures;
      for (const [name, v] of Object.entries(figures)) least[kind][name] = Math.min(least[kind][name], v);
    }
  }
  let failed = 0;
  for (const [what, name, kind, most, beside = 'node'] of [
    ['CPU of the sender, on the sharded wire of Node.js', 'sender', 'sharded', 0.2, 'sharded node'],
    ['CPU of the receiver, on the sharded wire of Node.js', 'receiver', 'sharded', 0.5, 'sharded node'],
    ['time between messages, on the sharded wire of Node.js', 'interval', 'sharded', 1 / 3, 'sharded node'],
    ['CPU of the sender, on the wire of Node.js', 'sender', 'classic', 0.2],
    ['CPU of the receiver, on the wire of Node.js', 'receiver', 'classic', 0.5],
    ['CPU of the sender, natively', 'sender', 'native', 0.2],
    ['CPU of the receiver, natively', 'receiver', 'native', 0.35],
    ['time between messages, on the wire of Node.js', 'interval', 'classic', 1 / 3],
    ['time between messages, natively', 'interval', 'native', 1 / 3],
  ]) {
    const [ours, theirs] = [least[kind][name], least[beside][name]];
    if (ours / theirs > most) failed++;
    console.log(`${ours / theirs <= most ? 'PASS' : 'FAIL'}  ${what}: ${ours.toFixed(1)} µs; Node.js: ${theirs.toFixed(1)} µs; ${(ours / theirs).toFixed(2)} ×, ≤ ${most.toFixed(2)} ×`);
  }
  assert.equal(failed, 0, `${failed} bars failed`);
});
