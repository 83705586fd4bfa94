// Four servers of a cluster, two on Node.js and two of ours, with a client each.
import assert from 'node:assert/strict';
import { connected, count, member, nodeMember, PATIENCE, redis } from './harness.mjs';

export const names = ['node 1', 'node 2', 'ours 1', 'ours 2'];
export const isOurs = (i) => i >= 2;

/** Resolves when ok returns something true. */
export async function until(what, ok) {
  for (const end = Date.now() + PATIENCE; ;) {
    const found = await ok();
    if (found) return found;
    assert(Date.now() < end, `waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Makes plain data of what a client has received. */
const plain = (v) => {
  if (Buffer.isBuffer(v)) return `binary ${v.toString('hex')}`;
  if (Array.isArray(v)) return v.map(plain);
  return v && typeof v === 'object' ? Object.fromEntries(Object.entries(v).map(([name, w]) => [name, plain(w)])) : v;
};

/** Connects a client that writes down what it hears, and answers questions with its name. */
async function listener(t, url, name) {
  const socket = await connected(t, url, { transports: ['websocket'], query: { who: name } });
  const heard = [];
  const markers = new Set();
  socket.onAny((event, ...args) => {
    if (event === 'marker') markers.add(args[0]);
    else if (event === 'question') args.pop()(plain(args[0]) + name);
    else if (event === 'mute question') args.pop()();
    else if (event !== 'silence') heard.push([event, ...args.map(plain)]);
  });
  const order = (op, more, ...args) => socket.timeout(PATIENCE).emitWithAck('do', { op, ...more }, ...args);
  return { socket, heard, markers, order, id: socket.id, /** Resolves with an order's result. */ do: async (...args) => {
    const answer = await order(...args);
    assert(!answer?.error, answer?.error);
    return answer;
  } };
}

let made = 0;

/** Four clients of one namespace. */
class Clients {
  constructor(all) { this.all = all; }

  async do(...args) { return Promise.all(this.all.map((c) => c.do(...args))); }

  /** Waits until what is sent to these rooms by anybody reaches their members. */
  async reach(rooms = [null]) {
    const connected = this.all.filter(({ socket }) => socket.connected);
    await Promise.all(rooms.flatMap((room) => connected.map(async (from) => {
      const members = room ? (await Promise.all(connected.map(async (c) => (await c.do('rooms')).includes(room) && c))).filter(Boolean) : connected;
      const sent = [];
      await until('a marker', async () => {
        if (sent.length % 20 === 0) await from.do('emit', { event: 'marker', to: room ? [room] : [] }, sent[sent.push(++made) - 1]);
        else sent.push(0);
        return members.every((c) => sent.some((marker) => c.markers.has(marker)));
      });
    })));
  }

  /** Makes the clients enter rooms: rooms(i) returns those of the one with number i. */
  async enter(rooms) {
    await Promise.all(this.all.map((c, i) => c.do('enter', { rooms: rooms(i) })));
    await this.reach([...new Set(count(4).flatMap(rooms))]);
  }

  /** Waits for the events want(i) at the client with number i, and that no others come. */
  async heard(want, what, { ordered = true } = {}) {
    const wanted = count(4).map(want);
    await until(`${what}: ${JSON.stringify(wanted)}`, () => this.all.every(({ heard }, i) => heard.length >= wanted[i].length)).catch((error) => {
      assert.deepEqual(this.all.map(({ heard }) => heard), wanted, what);
      throw error;
    });
    await this.reach();
    const order = (list) => (ordered ? list : list.map((v) => JSON.stringify(v)).sort());
    assert.deepEqual(this.all.map(({ heard }) => order(heard.splice(0))), wanted.map(order), what);
  }
}

/**
 * Starts the servers. wire is "classic" or "sharded"; nodes says how the two on Node.js differ, and flags are
 * for both of ours.
 */
export async function four(t, { wire = 'classic', nodes = [{}, {}], options = {}, flags = [], addresses } = {}) {
  addresses ??= [await redis(t)];
  const start = (i) => (isOurs(i)
    ? member(t, '-redis', addresses.join(), '-wire', wire, '-name', names[i], ...flags)
    : nodeMember(t, { redis: addresses, name: names[i], sharded: wire === 'sharded', options, ...nodes[i] }));
  const servers = await Promise.all(count(4).map(start));
  /** Connects to a namespace. */
  const of = async (nsp) => {
    const all = new Clients(await Promise.all(servers.map(({ url }, i) => listener(t, url + nsp, names[i]))));
    await all.reach();
    return all;
  };
  const clients = await of('/');
  return { addresses, servers, clients, of, start, visit: (i) => listener(t, servers[i].url, 'visitor') };
}
