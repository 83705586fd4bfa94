// Our MessagePack of the wires between servers, beside that of the reference and JSON.stringify.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { atEnd, count, soak, test } from './harness.mjs';

/** A repeatable source of numbers from 0 to 1. */
function random(seed) {
  let s = seed;
  return () => { s = (Math.imul(s, 1664525) + 1013904223) >>> 0; return s / 2 ** 32; };
}

// notepack breaks whole numbers from 2^64 on, and texts that are no Unicode, so there are none here.
const edges = [0, 1, -1, 31, 32, 127, 128, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, -(2 ** 53 - 1), -32, -33, -128, -129, -32768, -32769, -(2 ** 31), -(2 ** 31) - 1, 0.5, -0.1, 5e-324, 123456.789];
const texts = ['', 'a', 'é€😀', '\u2028\0"\\\n', 'x'.repeat(31), 'x'.repeat(32), 'y'.repeat(255), 'y'.repeat(256), 'z'.repeat(65536), '__proto__', 'toString'];

/** Makes a value as events have them. */
function make(r, depth = 0) {
  const pick = (list) => list[Math.floor(r() * list.length)];
  const kind = r() * (depth > 4 ? 7 : 10);
  if (kind < 2) return pick(edges);
  if (kind < 3) return Math.floor((r() - 0.5) * 2 ** (r() * 53));
  if (kind < 4) return pick(texts);
  if (kind < 5) return pick([true, false, null, undefined]);
  if (kind < 6) return new Date(Math.floor(r() * 4e12));
  if (kind < 7) return Buffer.from(count(Math.floor(r() * 300)).map(() => Math.floor(r() * 256)));
  if (kind < 8.5) return count(Math.floor(r() * (r() < 0.05 ? 70 : 5))).map(() => make(r, depth + 1));
  return Object.fromEntries(count(Math.floor(r() * (r() < 0.05 ? 70 : 5))).map((i) => [`${pick(texts).slice(0, 40)}${i}`, make(r, depth + 1)]));
}

/** Takes binary data out of a value; the rest as JSON.stringify writes it. */
function take(value) {
  const attachments = [];
  const out = (v) => {
    if (Buffer.isBuffer(v)) return { _placeholder: true, num: attachments.push(v.toString('hex')) - 1 };
    if (Array.isArray(v)) return v.map(out);
    if (v && typeof v === 'object' && !(v instanceof Date)) return Object.fromEntries(Object.entries(v).map(([name, w]) => [name, out(w)]));
    return v;
  };
  return { json: JSON.stringify(out(value)), attachments };
}

// The versions of notepack that the adapters 8 and 7 have.
const require = createRequire(import.meta.url);
const notepacks = ['@socket.io/redis-adapter', 'redis-adapter-7'].map((adapter) => createRequire(require.resolve(adapter))('notepack.io'));

test('MessagePack of the wires between servers is that of notepack, and what it holds is that of JSON.stringify', async (t) => {
  const child = spawn(new URL('.bin/packer', import.meta.url).pathname, { stdio: ['pipe', 'pipe', 'inherit'] });
  atEnd(t, () => { child.kill(); });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const convert = async (line) => {
    child.stdin.write(`${JSON.stringify(line)}\n`);
    return JSON.parse((await answers.next()).value);
  };
  const r = random(7);
  for (const [i, notepack] of count(soak(500, 200_000)).map((i) => [i, notepacks[i % 2]])) {
    const value = [make(r)]; // as the arguments of an event
    const want = take(value);
    const ours = await convert({ packed: notepack.encode(value).toString('hex') });
    assert.equal(ours.json, want.json, `value ${i}`);
    assert.deepEqual(ours.attachments ?? [], want.attachments, `value ${i}`);
    const { packed } = await convert(want);
    assert.deepEqual(take(notepack.decode(Buffer.from(packed, 'hex'))), want, `value ${i}`);
  }
});
