// node client.mjs URL: does something with either server, and prints what it sees.
import { once } from 'node:events';
import { io } from 'socket.io-client';

const url = process.argv[2] ?? 'http://127.0.0.1:3001';
const first = async (arguments_) => (await arguments_)[0]; // servers that recover connections append an offset
const print = (...what) => console.log(...what.map((x) => (typeof x === 'string' ? x : JSON.stringify(x))));

const stranger = io(url);
const [refusal] = await once(stranger, 'connect_error');
print('stranger:', refusal.message, refusal.data);
stranger.close();

const connect = async (name) => {
  const socket = io(url, { auth: { token: `token-of-${name}` } });
  await once(socket, 'connect');
  socket.on('question', (question, answer) => answer(`${name} on ${question}`));
  return socket;
};
const ann = await connect('ann');
const bob = await connect('bob');

print('ann enters:', await ann.emitWithAck('enter', 'tea'));
print('bob says:', await bob.emitWithAck('say', 'tea', 'hello'));
const entered = once(ann, 'entered');
print('bob enters:', await bob.emitWithAck('enter', 'tea'));
print('ann hears of', await first(entered));

const said = [once(ann, 'said'), once(bob, 'said')];
print('bob says:', await bob.emitWithAck('say', 'tea', 'hello'));
print('both hear', await first(said[0]), await first(said[1]));

const typing = once(ann, 'typing');
bob.emit('typing', 'tea');
print('ann sees typing:', await first(typing));
print('file:', await bob.emitWithAck('file', 'dots.bin', Uint8Array.of(1, 2, 3)));

const no = io(`${url}/admin`, { auth: { token: 'token-of-bob' }, forceNew: true });
print('bob in /admin:', (await once(no, 'connect_error'))[0].message);
no.close();
const admin = io(`${url}/admin`, { auth: { token: 'token-of-ann' } });
print('answers:', await admin.emitWithAck('ask', 'tea'));

const left = once(ann, 'left');
bob.close();
print('gone:', await first(left));
admin.close();
ann.close();
