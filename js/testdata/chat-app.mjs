// The chat application in memory, on the reference server. Use it to develop and test the page:
//   node js/testdata/chat-app.mjs 8080
// It refuses the message "/refuse" and rooms with a long id. Like a database, its history outlives stop() and start(); forget() drops it.
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { Server } from 'socket.io';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const embed = await readFile(here('../../web/embed.go'), 'utf8');
const policy = [.../ContentSecurityPolicy = ((?:".*"[ +\n\t]*)+)/.exec(embed)[1].matchAll(/"(.*?)"/g)].map((part) => part[1]).join('');
const types = { html: 'text/html', css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml' };

async function page(request, response) {
  const path = new URL(request.url, 'http://x').pathname;
  const name = path === '/' ? 'index.html' : path.slice(1);
  const file = existsSync(here(`../${name}`)) ? here(`../${name}`) : here(`../../web/${name}`);
  try {
    if (!/^[a-z]+\.(html|css|js|svg)$/.test(name)) throw new Error('not a page');
    response.setHeader('Content-Type', `${types[name.split('.')[1]]}; charset=utf-8`);
    response.setHeader('Content-Security-Policy', policy);
    response.end(await readFile(file));
  } catch {
    response.writeHead(404).end();
  }
}

export async function chatApp(port = 0) {
  const rooms = new Map();
  const roomOf = (roomId) => rooms.get(roomId) ?? rooms.set(roomId, { messages: [], members: new Map() }).get(roomId);
  let epoch = randomUUID();
  let http, io;

  function read({ roomId, before, after, around, limit = 50 }) {
    const { messages } = roomOf(roomId);
    const answer = (part, more) => ({
      roomId, messages: part, lastSeq: messages.length, epoch, hasMore: more,
      hasBefore: part.length > 0 && part[0].seq > 1, hasAfter: part.length > 0 && part.at(-1).seq < messages.length,
    });
    if (around !== undefined) {
      const first = Math.max(0, around - 1 - limit / 2);
      return answer(messages.slice(first, first + limit), false);
    }
    const found = messages.filter(({ seq }) => (before === undefined || seq < before) && (after === undefined || seq > after));
    const part = after === undefined ? found.slice(-limit) : found.slice(0, limit);
    return answer(part, part.length < found.length);
  }

  function serve(socket) {
    let member;
    const leave = (roomId) => {
      if (!roomOf(roomId).members.delete(socket.id)) return;
      socket.leave(roomId);
      io.to(roomId).emit('presence', { roomId, type: 'leave', member, count: roomOf(roomId).members.size });
    };
    socket.on('joinRoom', ({ roomId, userId, operatorId, name, ...page }, done) => {
      if (roomId.length > 100) return done({ error: { code: 'bad_room', message: 'the id is too long' } });
      member = { id: socket.id, userId, operatorId, name };
      const { members } = roomOf(roomId);
      members.set(socket.id, member);
      socket.join(roomId);
      socket.to(roomId).emit('presence', { roomId, type: 'join', member, count: members.size });
      const known = page.epoch === epoch;
      done({ ...read({ roomId, limit: page.limit, ...(known && { after: page.after }) }), member, members: [...members.values()], count: members.size, ...(page.epoch && !known && { reset: true }) });
    });
    socket.on('sendMessage', ({ roomId, message, clientId }, done) => {
      if (message?.text === '/refuse') return done({ error: { code: 'forbidden', message: 'this message is not allowed' } });
      const { messages } = roomOf(roomId);
      const again = clientId && messages.find((old) => old.clientId === clientId);
      if (again) return done(again);
      const stored = { id: randomUUID(), roomId, seq: messages.length + 1, userId: member?.userId, operatorId: member?.operatorId, message, timestamp: new Date().toISOString(), clientId };
      messages.push(stored);
      io.to(roomId).emit('newMessage', stored);
      done(stored);
    });
    socket.on('history', (page, done) => done(read(page)));
    socket.on('typing', ({ roomId, typing }) => socket.to(roomId).emit('typing', { roomId, ...member, typing }));
    socket.on('leaveRoom', ({ roomId }, done) => { leave(roomId); done?.({ roomId }); });
    socket.on('disconnecting', () => [...socket.rooms].filter((room) => room !== socket.id).forEach(leave));
  }

  async function start() {
    http = createServer(page);
    io = new Server(http);
    io.on('connection', serve);
    await new Promise((resolve) => http.listen(port, '127.0.0.1', resolve));
    port = http.address().port;
  }
  const forget = () => { rooms.clear(); epoch = randomUUID(); };
  const stop = () => new Promise((resolve) => { io.close(resolve); http.closeAllConnections(); });

  await start();
  return { url: `http://127.0.0.1:${port}`, start, stop, forget, roomOf };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log((await chatApp(Number(process.argv[2] ?? 8080))).url);
