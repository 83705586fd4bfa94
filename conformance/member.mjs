// A server of a cluster on Node.js, with the reference's adapters. It does the same as the program
// member. Arguments: the address of Redis, a name, the adapter's package, its options as JSON.
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { createClient } from 'redis';

const [address, name, adapter, options] = process.argv.slice(2);
const { createAdapter } = await import(adapter);
const pub = createClient({ url: `redis://${address}` });
const sub = pub.duplicate();
for (const client of [pub, sub]) client.on('error', () => {});
await Promise.all([pub.connect(), sub.connect()]);

const http = createServer();
const io = new Server(http, { adapter: createAdapter(pub, sub, JSON.parse(options)) });

const failed = (run) => run.then((replies) => ({ replies, failed: false }), (error) => ({ replies: error.responses ?? [], failed: true }));

function serve(nsp) {
  const heard = [];
  nsp.on('note', (...args) => heard.push(args));
  nsp.on('ask', (question, answer) => answer({ name, question }));
  nsp.on('connection', (socket) => {
    socket.data = { of: name };
    socket.on('do', async (order, ...rest) => {
      const answer = rest.pop();
      let b = nsp.to(order.to ?? []);
      if (order.except) b = b.except(order.except);
      if (order.volatile) b = b.volatile;
      if (order.local) b = b.local;
      try {
        answer(await ({
          emit: () => { b.emit(order.event, ...rest); },
          burst: () => { for (let i = 0; i < order.times; i++) b.emit(order.event, ...rest); },
          ack: () => failed(b.timeout(order.timeout).emitWithAck(order.event, ...rest)),
          join: () => b.socketsJoin(order.rooms),
          'join and emit': () => { b.socketsJoin(order.rooms); nsp.to(order.rooms).emit(order.event, ...rest); },
          leave: () => b.socketsLeave(order.rooms),
          disconnect: () => b.disconnectSockets(order.close),
          fetch: async () => (await b.fetchSockets()).map((s) => ({ id: s.id, rooms: [...s.rooms], data: s.data, query: s.handshake.query.who })),
          rooms: () => [...socket.rooms],
          enter: () => socket.join(order.rooms),
          note: () => { nsp.serverSideEmit('note', ...rest); },
          ask: () => failed(nsp.serverSideEmitWithAck('ask', ...rest)),
          heard: () => heard,
          'all rooms': async () => [...await nsp.adapter.allRooms()],
        })[order.op]());
      } catch (error) {
        answer({ error: String(error) });
      }
    });
  });
}

serve(io.of('/'));
io.of(/^\/dynamic-/).on('connection', () => {});
io.on('new_namespace', serve);
http.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${http.address().port}`));
process.on('SIGTERM', () => io.close(() => process.exit()));
