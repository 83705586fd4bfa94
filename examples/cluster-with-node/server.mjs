// A Socket.IO server on Node.js that forms a cluster with the one in main.go.
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const [port = '3001', redis = 'redis://127.0.0.1:6379'] = process.argv.slice(2);
const pub = createClient({ url: redis });
const sub = pub.duplicate();
for (const client of [pub, sub]) client.on('error', console.error);
await Promise.all([pub.connect(), sub.connect()]);

const http = createServer();
const io = new Server(http, { adapter: createAdapter(pub, sub) });

io.on('connection', (socket) => {
  socket.join('lobby');
  socket.on('say', (text) => io.to('lobby').emit('said', text, 'Node.js')); // reaches the sockets of both servers
});

http.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${http.address().port}`));
