// Facts about servers on Node.js that matter to servers in one cluster with them. docs/testing.md lists them by
// their numbers.
import assert from 'node:assert/strict';
import { connected, count, next, PATIENCE, test } from './harness.mjs';
import { four, isOurs, until } from './four.mjs';

test('1.1/5, 1.1/6: servers on Node.js that recover clients, on a wire that knows no offsets', async (t) => {
  const recovering = { recovery: true };
  const { clients } = await four(t, { wire: 'sharded', nodes: [recovering, recovering], flags: ['-recovery'] });
  for (const [i, c] of clients.all.entries()) {
    await c.do('emit', { event: 'all' }, i);
    await until('the event', () => clients.all.every(({ heard }) => heard.length > 0));
    for (const [j, { heard }] of clients.all.entries()) {
      const [[, number, offset], ...more] = heard.splice(0);
      // Each server adds an argument of its own, after the event has crossed. Node.js has none to add, and does.
      assert.equal(number, i);
      if (isOurs(j)) assert.match(offset, /^[\w-]+\.\d+$/);
      else assert.equal(offset, i === j ? '' : null);
      assert.deepEqual(more, []);
    }
  }
  // Each socket.emit crosses, too, even one that awaits an acknowledgement.
  const { replies } = await clients.all[0].do('ask self', { event: 'question', timeout: PATIENCE }, 'q');
  assert.deepEqual(replies, ['qnode 1']);
  await clients.reach();
  for (const { heard } of clients.all) assert.deepEqual(heard, []);
});

const facts = {
  async '1.1/8: what a server on Node.js sends after socketsJoin reaches our sockets'({ clients: { all }, wire }) {
    if (wire !== 'classic') return; // on the other wire it does not
    for (const round of count(10)) await all[0].do('join and emit', { rooms: [`gathered ${round}`], event: 'gathered' }, round);
    for (const c of all.filter((_, i) => isOurs(i))) {
      await until('the events', () => c.heard.length === 10);
      assert.deepEqual(c.heard, count(10).map((round) => ['gathered', round]));
    }
    for (const c of all) c.heard.splice(0);
  },

  async '1.1/12: the handshakes of our sockets look like those of Node.js'({ clients: { all } }) {
    const found = await all[0].do('describe', {});
    const shape = (v) => (v && typeof v === 'object' ? Object.fromEntries(Object.entries(v).sort().map(([name, w]) => [name, shape(w)])) : typeof v);
    const of = (i) => found.find(({ id }) => id === all[i].id).handshake;
    // Headers that only concern one connection are left out here.
    assert.deepEqual(shape({ ...of(2), headers: 0 }), shape({ ...of(1), headers: 0 }));
    for (const [name, value] of Object.entries(of(2).headers)) assert.deepEqual([name, typeof value], [name.toLowerCase(), 'string']);
    for (const { handshake } of found) {
      assert.match(handshake.time, /^\w{3} \w{3} \d\d \d{4} \d\d:\d\d:\d\d GMT\+0000 \(Coordinated Universal Time\)$/);
      assert.equal(handshake.address.replace('::ffff:', ''), '127.0.0.1');
      assert(Math.abs(handshake.issued - Date.now()) < 3_600_000);
      assert.deepEqual(handshake.auth, {});
    }
  },

  async '1.1/20: the lengths of the ids of sockets'({ clients: { all }, wire }) {
    for (const [i, { id }] of all.entries()) assert.match(id, isOurs(i) && wire === 'classic' ? /^[\w-]{20}\.[\w-]{4}$/ : /^[\w-]{20}$/);
  },

  async 'the admin UI observes and changes the sockets of all servers'({ t, servers, clients }) {
    const ui = await connected(t, `${servers[0].url}/admin`, { transports: ['websocket'] });
    const lists = [];
    ui.on('all_sockets', (list) => lists.push(list));
    ui.disconnect().connect();
    const list = (await until('the list', () => lists.find((l) => clients.all.every(({ id }) => l.some((s) => s.id === id)))));
    assert.deepEqual(list.filter(({ nsp }) => nsp === '/').map(({ id }) => id).sort(), clients.all.map(({ id }) => id).sort());

    ui.emit('emit', '/', undefined, 'all', 1);
    ui.emit('emit', '/', clients.all[3].id, 'one', 2);
    await clients.heard((i) => [['all', 1], ...(i === 3 ? [['one', 2]] : [])], 'sent by the UI');
    const rooms = async (i) => clients.all[i].do('rooms', {});
    ui.emit('join', '/', 'observed', clients.all[2].id);
    await until('the join', async () => (await rooms(2)).includes('observed'));
    assert(!(await rooms(3)).includes('observed'));
    ui.emit('leave', '/', 'observed', clients.all[2].id);
    await until('the leave', async () => !(await rooms(2)).includes('observed'));
    const gone = next(clients.all[2].socket, 'disconnect');
    ui.emit('_disconnect', '/', true, clients.all[2].id);
    assert.equal(await gone, 'io server disconnect');
    await clients.heard(() => [], 'beside what was asked for');
  },
};

for (const wire of ['classic', 'sharded']) {
  test(`facts about servers on Node.js (${wire})`, async (t) => {
    const { servers, clients } = await four(t, { wire, nodes: [{ admin: true }, { admin: true }] });
    for (const [name, check] of Object.entries(facts)) await t.test(name, () => check({ t, wire, servers, clients }));
  });
}
