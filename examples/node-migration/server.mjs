// A chat on Node.js. main.go does the same in Go.
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const port = Number(process.argv[2] ?? 3001);
const http = createServer();
const io = new Server(http, {
  cors: { origin: 'http://localhost:5173' },
  connectionStateRecovery: { maxDisconnectionDuration: 120_000 },
});

const names = { 'token-of-ann': 'ann', 'token-of-bob': 'bob' };

io.use((socket, next) => {
  const name = names[socket.handshake.auth.token];
  if (!name) {
    const error = new Error('Log in first');
    error.data = { code: 'bad_token' };
    return next(error);
  }
  socket.data.name = name;
  next();
});

io.on('connection', (socket) => {
  if (!socket.recovered) socket.join('everybody');

  socket.on('enter', (room, answer) => {
    if (typeof room !== 'string' || typeof answer !== 'function') return;
    socket.join(room);
    socket.to(room).emit('entered', socket.data.name);
    answer({ members: io.sockets.adapter.rooms.get(room).size });
  });

  socket.on('say', (room, text, answer) => {
    if (!socket.rooms.has(room)) return answer?.({ error: { code: 'not_in_room', message: 'Enter the room first' } });
    io.to(room).emit('said', { from: socket.data.name, text });
    answer?.({});
  });

  socket.on('typing', (room) => {
    socket.volatile.to(room).emit('typing', socket.data.name);
  });

  socket.on('file', (name, data, answer) => {
    answer({ name, size: data.length });
  });

  socket.on('disconnecting', () => {
    for (const room of socket.rooms) {
      if (room !== socket.id) socket.to(room).emit('left', socket.data.name);
    }
  });
});

const admin = io.of('/admin');
admin.use((socket, next) => {
  next(socket.handshake.auth.token === 'token-of-ann' ? undefined : new Error('Administrators only'));
});
admin.on('connection', (socket) => {
  socket.on('ask', async (question, answer) => {
    const answers = await io.timeout(5_000).emitWithAck('question', question);
    answer(answers.sort());
  });
});

http.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${http.address().port}`));
process.on('SIGTERM', () => io.close());
