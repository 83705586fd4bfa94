// `npm run types` compiles this file; nothing runs it. The declarations must accept it, except for the lines marked as errors.
import { Client, PollingTransport, SSETransport, WebSocketTransport, connect, type TransportClass } from '../parley.js';
import { JSONPTransport, WebTransportTransport, allForSocketIO, forSocketIO, socketIOTransports } from '../transports.js';
import { Feed } from '../feed.js';
import { Lobby } from '../lobby.js';
import { LiveRoom, type Snapshot } from '../live.js';
import { Outbox } from '../outbox.js';
import { Timeline, draftId, personKey } from '../timeline.js';
import { useRoom } from '../react.js';
import type { ClientToServerEvents, Content, Room as Conversation, ServerToClientEvents } from '../protocol.js';
import type { Socket } from 'socket.io';
import { Room, type FromServer as RoomEvents, type Refusal, type RefusalCode, type ToServer } from '../room.js';

interface FromServer {
  [event: string]: (...args: any[]) => void;
}
type Chat = {
  joinRoom(join: { roomId: string }): { lastSeq: number };
  typing(state: { roomId: string }): void;
};

const untyped = connect('https://chat.example', { transports: ['websocket', { transport: 'polling', timeout: 100 }] });
untyped.on('anything', (a, b) => a + b).emit('something', 1, new Uint8Array(1), (answer: string) => answer.length);

const client: Client<FromServer, Chat> = connect('', { auth: async () => ({ token: 'x' }) });
client.on('reconnecting', ({ at }) => at.toFixed());
client.on('disconnect', (reason) => reason === 'ping timeout');
client.request('joinRoom', { roomId: 'a' }).then(({ lastSeq }) => lastSeq.toFixed());
client.timeout(5).request('joinRoom', { roomId: 'a' }).then(({ lastSeq }) => lastSeq.toFixed());
client.emit('joinRoom', { roomId: 'a' }, ({ lastSeq }) => lastSeq.toFixed());
client.volatile('typing', { roomId: 'a' });
// @ts-expect-error no such event
client.emit('jionRoom', { roomId: 'a' });
// @ts-expect-error a wrong argument
client.request('joinRoom', { roomId: 1 });
// @ts-expect-error a wrong reason
client.on('disconnect', (reason) => reason === 'no reason');

export const transports: TransportClass[] = [WebSocketTransport, SSETransport, PollingTransport];

const feed = new Feed('/rooms/a/events', { lastEventId: 'earliest', onwait: ({ delay }) => delay.toFixed() });
feed.on('newMessage', ({ data, lastEventId }) => data + lastEventId).close();
// @ts-expect-error a wrong state
feed.state === 'done';

connect('', { transports: [WebTransportTransport, 'websocket', 'sse', { transport: PollingTransport, timeout: 100, options: { a: 1 } }, JSONPTransport] });
allForSocketIO([[SSETransport], [JSONPTransport, { timeout: 100 }]]).concat(socketIOTransports, forSocketIO(WebTransportTransport));
// @ts-expect-error a wrong name
connect('', { transports: ['jsonp'] });

client.timeout(5).emit('joinRoom', { roomId: 'a' }, (error, joined) => (error ? error.code.length : joined?.lastSeq.toFixed()));

const chat: Client<RoomEvents, ToServer> = connect<RoomEvents, ToServer>();
chat.request('joinRoom', { roomId: 'a', userId: 'u' }).then(({ members, reset }) => members.map(({ id }) => id + reset));
chat.request('sendMessage', { roomId: 'a', message: { any: 1 } }).catch((error) => error.code === ('key_reuse' satisfies RefusalCode));
chat.on('presence', (news) => (news.type === 'count' ? news.count : news.member.id)).on('error', ({ code, event }) => code + event);
const refusal: Refusal = { error: { code: 'bad_room', message: '' } };
refusal.error.data = { retryAfter: 1 };
// @ts-expect-error no such code
refusal.error.code = 'no_code';
// @ts-expect-error no message
chat.request('sendMessage', { roomId: 'a' });
const room = new Room(chat, { roomId: 'a', userId: 'u', onmessages: (messages, { reset }) => messages.map(({ seq }) => (reset ? 0 : seq)), onstate: (state) => state === 'refused' });
room.join({ name: 'Ada' });
room.error?.code;
// @ts-expect-error only the room may change it
room.count = 1;

chat.request('listRooms', { filter: { assignee: 'none' }, sort: 'waiting' }).then(({ rooms }) => rooms.map((row: Conversation) => row.user?.name));
chat.on('roomChanged', ({ room: row }) => row.operator?.online);
chat.request('transferRoom', { roomId: 'a', operatorId: null, from: 'anna' });
const content: Content = { text: 'Hi', choices: ['yes'] };
chat.request('sendMessage', { roomId: 'a', message: content });
// @ts-expect-error no such order
chat.request('listRooms', { sort: 'size' });

// The official client's Socket has the same types as this one.
declare const official: Socket<ServerToClientEvents, ClientToServerEvents>;
official.on('newMessage', (message) => message.seq.toFixed());
official.emit('joinRoom', { roomId: 'a' }, (joined) => ('error' in joined ? joined.error.code : joined.members.length));
official.timeout(5).emitWithAck('claimRoom', { roomId: 'a' }).then((row) => 'error' in row || row.change.toFixed());
// @ts-expect-error no such event
official.emit('jionRoom', { roomId: 'a' });

const lobby = new Lobby(chat, { operatorId: 'anna', filter: { assignee: { operatorId: 'bob' } }, sort: 'waiting', onchange: () => lobby.rooms().map(({ unread }) => unread.toFixed()) });
lobby.show({ filter: { status: 'all' } }).then(() => lobby.more());
lobby.operators.get('bob')?.status === 'away';
// @ts-expect-error a wrong order
lobby.show({ sort: 'size' });
const conversation = new Room(chat, { roomId: 'c', notes: true, onnotes: (notes, { reset }) => notes.map(({ seq }) => (reset ? 0 : seq)), ongone: () => conversation.leave() });
conversation.operatorNames.get('anna')?.concat('');
conversation.conversation?.operator?.name.concat(conversation.conversation.status ?? '').at(conversation.read.user);

// The events of socket.io-client fit our Client, too.
const both = connect<ServerToClientEvents, ClientToServerEvents>();
both.on('newMessage', (message) => message.seq.toFixed()).on('presence', ({ member }) => member?.id);
both.request('joinRoom', { roomId: 'a' }).then(({ members, epoch }) => members.map(({ id }) => id + epoch));
both.request('unwatchRooms', {}).then((none) => none);
both.emit('leaveRoom', { roomId: 'a' });
both.emit('leaveRoom', { roomId: 'a' }, (answer) => ('error' in answer ? answer.error.code : answer.roomId));
both.timeout(5).emit('sendMessage', { roomId: 'a', message: 1 }, (error, message) => error?.code ?? message?.seq.toFixed());
both.volatile('typing', { roomId: 'a' });
// @ts-expect-error a wrong argument
both.request('joinRoom', { roomId: 1 });
// @ts-expect-error no such event
both.emit('jionRoom', { roomId: 'a' });
// @ts-expect-error request() rejects if the server refuses: it resolves with no Refusal
both.request('joinRoom', { roomId: 'a' }).then(({ error }) => error);
const loose = connect<{}, { log(anything: any): void; none(): number; maybe(a?: string): string }>();
loose.emit('log', () => 1);
loose.request('none').then((n) => n.toFixed());
loose.request('maybe').then((s) => s.length);

const outbox = new Outbox(room, { storage: null, limit: 5, maxAge: 1000, onchange: (drafts) => drafts.map(({ at, error }) => error?.code ?? at.toFixed()), onsent: ({ seq }) => seq.toFixed() });
outbox.retry(outbox.send({ text: 'Hi' }).concat(''));
Outbox.clear();
// @ts-expect-error only the outbox may change it
outbox.drafts.push();
const live = new LiveRoom(both, { roomId: 'a', userId: 'u' });
live.subscribe(({ messages, drafts, hasOlder, count }: Snapshot) => messages.length + drafts.length + count > 0 && hasOlder)();
live.loadOlder().then(() => live.room.conversation?.subject);
// @ts-expect-error nothing in a snapshot changes
live.snapshot.messages.push();
new Timeline().add({ id: '1', roomId: 'a', seq: 1, message: null, timestamp: draftId() }) && personKey({ userId: 'u' }).at(0);
room.watch({ onmembers: () => room.roomId + room.who.userId })();
const { messages, send, loadOlder } = useRoom(chat, 'a', { name: 'Ada', storage: null });
messages.map(({ message }) => send(message)).concat(String(loadOlder()));
useRoom(null, undefined).state === 'waiting';
// @ts-expect-error no such option
useRoom(chat, 'a', { roomId: 'b' });
