// A server of a cluster on Node.js, with the reference's adapters. It does the same as the program
// member. Its argument is JSON: the addresses of Redis (several: of a Redis Cluster), its name, the adapter's
// package and options, whether the adapter is the sharded one, the package of the client of Redis ("redis" or
// "ioredis"), and whether the admin UI observes the server.
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { Emitter } from '@socket.io/redis-emitter';

const { redis, name, adapter = '@socket.io/redis-adapter', options = {}, sharded = false, client = 'redis', admin = false, recovery = false } = JSON.parse(process.argv[2]);
const { createAdapter, createShardedAdapter } = await import(adapter);

/** Returns two clients of Redis, connected. */
async function clients() {
  if (client === 'ioredis') {
    const { Cluster, Redis } = await import('ioredis');
    const one = () => {
      if (redis.length === 1) return new Redis(`redis://${redis[0]}`);
      return new Cluster(redis.map((address) => `redis://${address}`), { shardedSubscribers: true });
    };
    return [one(), one()];
  }
  const { createClient, createCluster } = await import('redis');
  const one = () => {
    if (redis.length === 1) return createClient({ url: `redis://${redis[0]}` });
    return createCluster({ rootNodes: redis.map((address) => ({ url: `redis://${address}` })) });
  };
  return [one(), one()];
}

const [pub, sub] = await clients();
for (const c of [pub, sub]) c.on('error', () => {});
if (client === 'redis') await Promise.all([pub.connect(), sub.connect()]);

const http = createServer();
const io = new Server(http, {
  adapter: (sharded ? createShardedAdapter : createAdapter)(pub, sub, options),
  ...(recovery ? { connectionStateRecovery: {} } : {}),
});
if (admin) {
  const { instrument } = await import('@socket.io/admin-ui');
  instrument(io, { auth: false });
}
const emitter = new Emitter(pub, { key: options.key ?? options.channelPrefix ?? 'socket.io' });

const failed = (run) => run.then((replies) => ({ replies, failed: false }), (error) => ({ replies: error.responses ?? [], failed: true }));

/** What JSON does not have. */
const exotic = [new Date(1e12), undefined, { a: undefined, b: [new Date(5), Buffer.from([7])] }, Buffer.from([1, 2]), 2 ** 53 - 1, -0.5];

function serve(nsp) {
  const heard = [];
  nsp.on('note', (...args) => heard.push(args));
  nsp.on('ask', (question, answer) => answer({ name, question }));
  nsp.on('connection', (socket) => {
    socket.data = { of: name };
    socket.on('do', async (order, ...rest) => {
      const answer = rest.pop();
      let b = (order.outside ? emitter.of(nsp.name) : nsp).to(order.to ?? []);
      if (order.except) b = b.except(order.except);
      if (order.volatile) b = b.volatile;
      if (order.local) b = b.local;
      /** The socket with the id order.to, as one of any server. */
      const remote = async () => (await nsp.fetchSockets()).find(({ id }) => id === order.to[0]);
      try {
        answer(await ({
          emit: () => { b.emit(order.event, ...rest); },
          exotic: () => { b.emit('exotic', ...exotic); },
          burst: () => { for (let i = 0; i < order.times; i++) b.emit(order.event, ...rest); },
          ack: () => failed(b.timeout(order.timeout).emitWithAck(order.event, ...rest)),
          join: () => b.socketsJoin(order.rooms),
          'join and emit': () => { b.socketsJoin(order.rooms); nsp.to(order.rooms).emit(order.event, ...rest); },
          leave: () => b.socketsLeave(order.rooms),
          disconnect: () => b.disconnectSockets(order.close),
          'remote emit': async () => { (await remote()).emit(order.event, ...rest); },
          'remote ack': async () => failed((await remote()).timeout(order.timeout).emitWithAck(order.event, ...rest).then((reply) => [reply])),
          'remote join': async () => { (await remote()).join(order.rooms); },
          'remote leave': async () => { for (const room of order.rooms) (await remote()).leave(room); },
          'remote disconnect': async () => { (await remote()).disconnect(order.close); },
          fetch: async () => (await b.fetchSockets()).map((s) => ({ id: s.id, rooms: [...s.rooms], data: s.data, query: s.handshake.query.who })),
          describe: async () => (await b.fetchSockets()).map(({ id, handshake }) => ({ id, handshake })),
          'ask self': () => failed(socket.timeout(order.timeout).emitWithAck(order.event, ...rest).then((reply) => [reply])),
          rooms: () => [...socket.rooms],
          enter: () => socket.join(order.rooms),
          note: () => { (order.outside ? emitter.of(nsp.name) : nsp).serverSideEmit('note', ...rest); },
          ask: () => failed(nsp.serverSideEmitWithAck('ask', ...rest)),
          heard: () => heard,
          'all rooms': async () => (sharded ? null : [...await nsp.adapter.allRooms()]),
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
