// A client on each of two servers: what one says, both hear.
import { io } from 'socket.io-client';

const urls = process.argv.slice(2);
const clients = (urls.length ? urls : ['http://127.0.0.1:3001', 'http://127.0.0.1:3002']).map((url) => io(url));
await Promise.all(clients.map((client) => new Promise((resolve) => client.once('connect', resolve))));

for (const speaker of clients) {
  const heard = Promise.all(clients.map((client) => new Promise((resolve) => client.once('said', (text, server) => {
    console.log(`${clients.indexOf(client) + 1} hears "${text}" from ${server}`);
    resolve();
  }))));
  speaker.emit('say', `hello from client ${clients.indexOf(speaker) + 1}`);
  await heard;
}
for (const client of clients) client.disconnect();
