// The contract of Parley. Generated from Go types: do not edit.

/** Why the server refuses an event. */
export type RefusalCode =
  | 'bad_payload'
  | 'bad_room'
  | 'not_joined'
  | 'bad_token'
  | 'token_expired'
  | 'identity_mismatch'
  | 'forbidden'
  | 'banned'
  | 'too_late'
  | 'not_found'
  | 'gone'
  | 'conflict'
  | 'too_large'
  | 'key_reuse'
  | 'too_many_rooms'
  | 'rate_limited'
  | 'unknown_event'
  | 'not_ready'
  | 'unavailable'
  | 'unknown_outcome'
  | 'internal';

/** The acknowledgement of a refused event. */
export interface Refusal {
  error: { code: RefusalCode; message: string; data?: RefusalData };
}

export interface Content {
  /** at most 10,000 characters */
  text?: string;
  format?: 'md';
  name?: string;
  /** at most 10 */
  files?: FileRef[];
  replyTo?: ReplyTo;
  /** at most 6 of at most 60 characters: buttons that send their text */
  choices?: string[];
  auto?: 'greeting' | 'away' | 'bot';
}

export interface FileRef {
  id: string;
  name: string;
  type: string;
  size: number;
  width?: number;
  height?: number;
  /** 4 by 3 colors of 3 hexadecimal digits each */
  blur?: string;
}

export interface ReplyTo {
  seq: number;
  /** at most 120 characters */
  excerpt: string;
}

export interface NoteContent {
  text?: string;
  format?: 'md';
  files?: FileRef[];
  /** operatorIds */
  mentions?: string[];
  /** what was done; then the author is who did it */
  event?: 'claimed' | 'transferred' | 'closed' | 'reopened' | 'answered' | 'updated' | 'labelled' | 'merged' | 'banned' | 'edited' | 'deleted';
  from?: string;
  to?: string;
  note?: string;
  /** of the message that was changed */
  seq?: number;
  /** labels */
  added?: string[];
  /** labels */
  removed?: string[];
}

export interface HelloRequest {
  page?: VisitedPage;
  /** at most 35 bytes */
  locale?: string;
  /** at most 64 bytes */
  timezone?: string;
  /** name and version of the program; at most 100 bytes */
  client?: string;
}

export interface VisitedPage {
  /** at most 2,000 bytes */
  url: string;
  /** at most 200 bytes */
  title?: string;
  /** at most 2,000 bytes */
  referrer?: string;
}

export interface HelloAnswer {
  me: Me;
  expiresAt?: string;
  /** the user's open conversations; of an operator, those that it has; at most 50 */
  open: Room[];
  settings: Settings;
}

export interface Me {
  userId?: string;
  operatorId?: string;
  name?: string;
  role?: 'user' | 'operator' | 'admin' | 'service';
  /** the server made this user up */
  visitor?: boolean;
  /** ids of the visitors that this user was: their messages are its own */
  was?: string[];
}

export interface Room {
  roomId: string;
  status?: 'open' | 'closed';
  userId?: string;
  user?: User;
  /** who has the conversation; absent: nobody */
  operatorId?: string;
  operator?: OperatorShown;
  subject?: string;
  /** for operators; others get none */
  labels: string[];
  /** an object; for operators */
  attributes?: unknown;
  /** the room's newest number */
  lastSeq: number;
  lastMessage?: Excerpt;
  lastAt: string;
  /** the time of the user's first message that nobody has answered */
  waitingSince?: string;
  createdAt: string;
  closedAt?: string;
  /** messages that the asker has not read; 100 stands for 100 or more. Not in roomChanged */
  unread?: number;
  /** the asker's mark. Not in roomChanged */
  readSeq?: number;
  /** the highest mark of any operator */
  operatorsReadSeq: number;
  /** the user's mark */
  userReadSeq: number;
  /** where the visitor is now; not stored */
  page?: VisitedPage;
  /** for operators: the number of the last change among all conversations */
  change: number;
}

export interface User {
  name?: string;
  email?: string;
  /** name and address come from a signed token */
  verified: boolean;
  online: boolean;
}

export interface OperatorShown {
  name: string;
  online: boolean;
}

export interface Excerpt {
  seq: number;
  by: 'user' | 'operator';
  name?: string;
  /** one line of at most 140 characters */
  excerpt: string;
  timestamp: string;
  /** the name of the first file */
  file?: string;
  deleted?: boolean;
}

export interface Settings {
  /** the server believes who clients say they are */
  open: boolean;
  /** operators see what visitors type */
  preview: boolean;
  /** bytes of compact JSON */
  maxMessage: number;
  /** milliseconds in which users may change their messages */
  editWindow: number;
  /** operators can search in all rooms */
  search: boolean;
}

export interface StartRequest {
  /** at most 200 bytes */
  subject?: string;
  /** the first message, stored in the same commit */
  message?: unknown;
  /** of the message */
  clientId?: string;
  /** an object of at most 4 KiB */
  attributes?: unknown;
  page?: VisitedPage;
}

export interface Started extends Room {
  /** the stored first message */
  message?: Message;
  /** the user has as many open conversations as allowed; this is the newest */
  existing?: boolean;
}

export interface Message {
  id: string;
  roomId: string;
  /** its number in the room, by which messages are ordered */
  seq: number;
  /** the number of its last change; absent if there was none */
  rev?: number;
  /** the author, unless operatorId is present; otherwise the user whose conversation it is */
  userId?: string;
  /** the author, if it is an operator */
  operatorId?: string;
  /** any JSON; null if the message was deleted */
  message: any;
  timestamp: string;
  /** the sender's own id of the message */
  clientId?: string;
  /** the time of the last change */
  editedAt?: string;
  /** the message is a tombstone */
  deleted?: boolean;
}

export interface JoinRequest {
  roomId: string;
  /** who the client says it is, in open mode */
  userId?: string;
  /** who the client says it is, in open mode */
  operatorId?: string;
  /** for people */
  name?: string;
  /** lastSeq of what the client has: only changes since are sent */
  after?: number;
  /** of after */
  epoch?: string;
  /** messages of the page */
  limit?: number;
  /** operators: join the notes as well */
  notes?: boolean;
  /** the same as after, for the notes */
  notesAfter?: number;
}

export interface Joined extends Page {
  /** the server could not continue from after */
  reset?: boolean;
  /** the client itself */
  member: Member;
  /** those that are shown, in the order of joining */
  members: Member[];
  /** of all members; for the user of a conversation, of those that it sees */
  count: number;
  /** of a conversation */
  room?: Room;
  /** of a conversation */
  read?: ReadSeqs;
  /** the notes, with which newNote continues without a gap */
  notes?: Page;
}

export interface Page {
  roomId: string;
  /** ascending by seq; after an absence, ascending by the number of their last change */
  messages: Message[];
  /** there are more in the direction that was asked for */
  hasMore: boolean;
  /** there are older ones */
  hasBefore: boolean;
  /** there are newer ones */
  hasAfter: boolean;
  /** the newest number that the page covers */
  lastSeq: number;
  /** of lastSeq */
  epoch: string;
  /** the names of the operators who wrote these messages, by their ids, as far as the server knows them */
  operatorNames?: Record<string, string>;
}

export interface Member {
  /** the id by which others know the connection */
  id: string;
  userId?: string;
  operatorId?: string;
  name?: string;
}

export interface ReadSeqs {
  operators: number;
  user: number;
}

export interface RoomRequest {
  roomId: string;
}

export interface SendRequest {
  roomId: string;
  /** who the client says it is, or for operators the user whose conversation it is */
  userId?: string;
  /** who the client says it is, in open mode */
  operatorId?: string;
  /** the sender's own random id; a message is stored once however often it is sent */
  clientId?: string;
  /** any JSON; see Content for what the pages write */
  message: unknown;
}

export interface EditRequest {
  roomId: string;
  seq: number;
  /** the new content, any JSON */
  message: unknown;
  /** the message's rev, or its seq if it was never changed; otherwise conflict */
  ifRev?: number;
}

export interface DeleteRequest {
  roomId: string;
  seq: number;
  /** as in EditRequest */
  ifRev?: number;
}

export interface HistoryRequest {
  roomId: string;
  /** the last messages with a smaller seq */
  before?: number;
  /** the first messages that have changed after this number; 0: from the beginning */
  after?: number;
  /** the messages before and after this seq */
  around?: number;
  /** messages of the page */
  limit?: number;
  /** operators: of the notes */
  notes?: boolean;
}

export interface MarkRequest {
  roomId: string;
  /** of the last message that was read; of markUnread, the first one that was not */
  seq: number;
}

export interface Marked {
  roomId: string;
  /** the mark now */
  seq: number;
  /** 100 stands for 100 or more */
  unread: number;
}

export interface TypingRequest {
  roomId: string;
  /** true if absent */
  typing?: boolean;
  /** what is being typed, at most 500 characters, if settings.preview */
  text?: string;
}

export interface ListRequest {
  filter?: Filter;
  /** activity if absent; waiting: the longest first */
  sort?: 'activity' | 'waiting' | 'created';
  /** conversations of the page, at most 100 */
  limit?: number;
  /** next of the page before, which was asked for with the same filter and order */
  cursor?: string;
}

export interface Filter {
  /** open if absent */
  status?: 'open' | 'closed' | 'all';
  assignee?: 'me' | 'none' | 'others' | 'any' | { operatorId: string };
  /** only those that wait */
  waiting?: boolean;
  /** only those with messages that the asker has not read */
  unread?: boolean;
  label?: string;
  userId?: string;
}

export interface RoomList {
  rooms: Room[];
  /** the cursor of the next page */
  next?: string;
  /** operators: with the first page */
  counts?: RoomCounts;
}

export interface RoomCounts {
  open: number;
  waiting: number;
  unassigned: number;
  mine: number;
}

export interface WatchRequest {
  /** the position that the client has */
  after?: number;
  /** of the position */
  epoch?: string;
  /** of the first page */
  filter?: Filter;
  sort?: 'activity' | 'waiting' | 'created';
  /** conversations of the first page, at most 100 */
  limit?: number;
}

export interface Watched {
  /** with after: the conversations that have changed since, as many as fit, and the others follow as roomChanged; otherwise the first page */
  rooms: Room[];
  position: number;
  epoch: string;
  /** drop what you have: the server cannot go on from after, and this is the first page */
  reset?: boolean;
  /** the cursor of the next page, for listRooms */
  next?: string;
  /** of operators who may read all conversations */
  counts?: RoomCounts;
  operators: OperatorPresence[];
}

export interface OperatorPresence {
  operatorId: string;
  name: string;
  status: 'online' | 'away' | 'offline';
  /** rooms that the operator is in */
  viewing?: string[];
  /** conversations that the operator has */
  open: number;
}

export type Empty = Record<string, never>;

export interface TransferRequest {
  roomId: string;
  /** null: to nobody */
  operatorId: string | null;
  /** the operator that the sender believes has it, null for nobody; compared if present */
  from?: string | null;
  /** at most 2,000 bytes */
  note?: string;
}

export interface CloseRequest {
  roomId: string;
  /** of an operator; at most 2,000 bytes */
  note?: string;
}

export interface UpdateRequest {
  roomId: string;
  /** at most 200 bytes */
  subject?: string;
  /** of at most 40 bytes; a conversation has at most 20 */
  addLabels?: string[];
  removeLabels?: string[];
  /** a merge patch of an object of at most 4 KiB: null deletes a member */
  attributes?: unknown;
}

export interface NoteRequest {
  roomId: string;
  /** with text or files, and no other members than these, format and mentions: the rest is for what the server writes */
  message: NoteContent;
  /** the sender's own random id, as in sendMessage */
  clientId?: string;
}

export interface SearchRequest {
  /** words, of which the last may be a beginning; at most 200 bytes */
  query: string;
  /** only in this room */
  roomId?: string;
  /** operators: in conversations of this user */
  userId?: string;
  /** operators: written by this operator */
  operatorId?: string;
  /** from this time on */
  since?: string;
  /** up to this time */
  until?: string;
  /** operators: in notes as well */
  notes?: boolean;
  /** hits of the page */
  limit?: number;
  /** next of the page before, of the same search */
  cursor?: string;
}

export interface Found {
  hits: Hit[];
  /** the cursor of the next page */
  next?: string;
  /** false while the index is being built */
  complete: boolean;
}

export interface Hit {
  roomId: string;
  seq: number;
  timestamp: string;
  by: 'user' | 'operator';
  /** it is a note */
  note?: boolean;
  excerpt: string;
  /** from and to of each match in excerpt, in UTF-16 code units */
  marks: [number, number][];
}

export interface TokenRequest {
  token: string;
}

export interface Identified {
  me: Me;
  /** conversations that became the user's */
  merged: number;
}

export interface Expiry {
  /** absent: never */
  expiresAt?: string;
}

export interface StatusRequest {
  status: 'online' | 'away';
}

export interface PersonRequest {
  userId: string;
}

export interface PersonAnswer {
  person: Person;
  /** those that the asker may read, at most 50 */
  rooms: Room[];
}

export interface Person {
  userId: string;
  name?: string;
  email?: string;
  /** an object */
  attributes?: unknown;
  verified: boolean;
  /** the user into whom this visitor was merged */
  became?: string;
  createdAt?: string;
  seenAt?: string;
  online: boolean;
}

export interface PersonUpdate {
  userId: string;
  /** at most 200 bytes; what a signed token says of a user cannot be changed */
  name?: string;
  /** the same */
  email?: string;
  /** a merge patch of an object of at most 4 KiB */
  attributes?: unknown;
}

export interface RoomNews {
  room: Room;
  /** in the lobby: the change up to which the client now lacks nothing */
  position?: number;
}

export interface OwnRoomNews {
  room: OwnRoom;
}

export interface OwnRoom {
  roomId: string;
  status: 'open' | 'closed';
  /** absent: nobody has the conversation */
  operator?: OperatorShown;
  subject?: string;
}

export interface RoomLoss {
  roomId: string;
  position?: number;
}

export interface ReadNews {
  roomId: string;
  /** everything up to it was read */
  seq: number;
  by: 'user' | 'operators';
  /** operators: who */
  operatorId?: string;
}

export interface TypingNews {
  roomId: string;
  userId?: string;
  operatorId?: string;
  name?: string;
  typing: boolean;
  /** operators: what is being typed */
  text?: string;
}

export interface PresenceNews {
  roomId: string;
  /** join: the member is new or has changed; leave: it is gone; count: only the number has changed */
  type: 'join' | 'leave' | 'count';
  /** absent if only the number has changed */
  member?: Member;
  /** of all members; the user of a conversation does not learn it */
  count?: number;
}

export interface VisitorNews {
  userId: string;
  page?: VisitedPage;
  online: boolean;
}

export interface Notice {
  code: RefusalCode;
  /** for people */
  message: string;
  data?: RefusalData;
  /** the name of the refused event */
  event: string;
}

export interface RefusalData {
  /** of rate_limited: seconds */
  retryAfter?: number;
  /** of conflict: the conversation as it is */
  room?: Room;
  /** of conflict: the message as it is */
  message?: Message;
  /** of forbidden: a room that was left because a right is gone */
  roomId?: string;
}

/** What the server sends, for socket.io-client and parley.js. */
export type ServerToClientEvents = {
  /** a message was stored. To everyone in the room, the sender included */
  newMessage: (argument: Message) => void;
  /** a message was changed or deleted. To everyone in the room */
  messageChanged: (argument: Message) => void;
  /** a note was added. To operators who joined with `notes` */
  newNote: (argument: Message) => void;
  /** a note was changed or deleted. To operators who joined with `notes` */
  noteChanged: (argument: Message) => void;
  /** a conversation has changed. To the lobby, at most once in 250 ms for each; and to everyone in the room and all connections of its user, unless what has changed follows from a message: its user gets an OwnRoomNews, also of a new conversation and of one that a message has reopened */
  roomChanged: (argument: RoomNews | OwnRoomNews) => void;
  /** a room was erased. To the lobby, if it was a conversation, and to everyone in it */
  roomGone: (argument: RoomLoss) => void;
  /** somebody has read. To everyone in the room; only operators learn which operator. After `markUnread`, to the operator's own connections, with the mark that was set back */
  read: (argument: ReadNews) => void;
  /** a member types or has stopped. To the others in the room */
  typing: (argument: TypingNews) => void;
  /** the members have changed. To the others in the room */
  presence: (argument: PresenceNews) => void;
  /** an operator has come, gone or changed. To the lobby */
  operatorChanged: (argument: OperatorPresence) => void;
  /** a visitor has come, gone or is on another page; at most once in 2 s for each. To operators who see one of its conversations */
  visitorChanged: (argument: VisitorNews) => void;
  /** the client's token ends in 60 s: send `refresh` */
  tokenExpiring: (argument: Expiry) => void;
  /** the answer to `history` or `joinRoom`. To a client that asked for no acknowledgement */
  history: (argument: Page | Joined) => void;
  /** an event was refused. To a client that asked for no acknowledgement */
  error: (argument: Notice) => void;
};

/** What clients send, for socket.io-client. The answer is an acknowledgement. */
export type ClientToServerEvents = {
  /** says who the client is, and tells the server about it */
  hello: (argument: HelloRequest, answer: (answer: HelloAnswer | Refusal) => void) => void;
  /** starts a conversation, or returns the one that is open. Without a message, nothing is stored, and only its user knows of it, until the user joins it and sends the first one, however much later */
  startConversation: (argument: StartRequest, answer: (answer: Started | Refusal) => void) => void;
  /** makes the client a member of a room: after the answer it gets what happens there */
  joinRoom: (argument: JoinRequest, answer: (answer: Joined | Refusal) => void) => void;
  /** ends the membership, also if there was none */
  leaveRoom: (argument: RoomRequest, answer: (answer: RoomRequest | Refusal) => void) => void;
  /** stores a message and sends it to everyone in the room */
  sendMessage: (argument: SendRequest, answer: (answer: Message | Refusal) => void) => void;
  /** changes a message; the earlier content is not kept */
  editMessage: (argument: EditRequest, answer: (answer: Message | Refusal) => void) => void;
  /** makes a message a tombstone */
  deleteMessage: (argument: DeleteRequest, answer: (answer: Message | Refusal) => void) => void;
  /** returns a page of messages */
  history: (argument: HistoryRequest, answer: (answer: Page | Refusal) => void) => void;
  /** says how far the client has read; a mark never goes back */
  markRead: (argument: MarkRequest, answer: (answer: Marked | Refusal) => void) => void;
  /** sets the mark back, so that a message is the first unread one */
  markUnread: (argument: MarkRequest, answer: (answer: Marked | Refusal) => void) => void;
  /** tells the others that the client types or has stopped */
  typing: (argument: TypingRequest, answer: (answer: RoomRequest | Refusal) => void) => void;
  /** returns a page of the list of conversations */
  listRooms: (argument: ListRequest, answer: (answer: RoomList | Refusal) => void) => void;
  /** joins the lobby: after the answer the client gets every change of a conversation */
  watchRooms: (argument: WatchRequest, answer: (answer: Watched | Refusal) => void) => void;
  /** leaves the lobby */
  unwatchRooms: (argument: Empty, answer: (answer: Empty | Refusal) => void) => void;
  /** takes a conversation that nobody has */
  claimRoom: (argument: RoomRequest, answer: (answer: Room | Refusal) => void) => void;
  /** gives a conversation to an operator, or to nobody. A closed server must know the operator: by `parley operator add`, or because it has been here with a signed token */
  transferRoom: (argument: TransferRequest, answer: (answer: Room | Refusal) => void) => void;
  /** closes a conversation */
  closeRoom: (argument: CloseRequest, answer: (answer: Room | Refusal) => void) => void;
  /** opens a closed conversation */
  reopenRoom: (argument: RoomRequest, answer: (answer: Room | Refusal) => void) => void;
  /** says that nobody has to answer */
  answered: (argument: RoomRequest, answer: (answer: Room | Refusal) => void) => void;
  /** changes subject, labels and attributes */
  updateRoom: (argument: UpdateRequest, answer: (answer: Room | Refusal) => void) => void;
  /** adds a note, which only operators see */
  addNote: (argument: NoteRequest, answer: (answer: Message | Refusal) => void) => void;
  /** finds messages by their words, the newest first */
  search: (argument: SearchRequest, answer: (answer: Found | Refusal) => void) => void;
  /** makes a visitor the user that a token of the site names, with the visitor's conversations */
  identify: (argument: TokenRequest, answer: (answer: Identified | Refusal) => void) => void;
  /** replaces the token of the connection */
  refresh: (argument: TokenRequest, answer: (answer: Expiry | Refusal) => void) => void;
  /** says whether an operator takes conversations */
  setStatus: (argument: StatusRequest, answer: (answer: StatusRequest | Refusal) => void) => void;
  /** returns a user with its conversations */
  getPerson: (argument: PersonRequest, answer: (answer: PersonAnswer | Refusal) => void) => void;
  /** describes a user */
  updatePerson: (argument: PersonUpdate, answer: (answer: PersonAnswer | Refusal) => void) => void;
};

/** What clients send, for parley.js, with the answers that request() resolves with. */
export type ClientRequests = {
  /** says who the client is, and tells the server about it */
  hello(argument: HelloRequest): HelloAnswer;
  /** starts a conversation, or returns the one that is open. Without a message, nothing is stored, and only its user knows of it, until the user joins it and sends the first one, however much later */
  startConversation(argument: StartRequest): Started;
  /** makes the client a member of a room: after the answer it gets what happens there */
  joinRoom(argument: JoinRequest): Joined;
  /** ends the membership, also if there was none */
  leaveRoom(argument: RoomRequest): RoomRequest;
  /** stores a message and sends it to everyone in the room */
  sendMessage(argument: SendRequest): Message;
  /** changes a message; the earlier content is not kept */
  editMessage(argument: EditRequest): Message;
  /** makes a message a tombstone */
  deleteMessage(argument: DeleteRequest): Message;
  /** returns a page of messages */
  history(argument: HistoryRequest): Page;
  /** says how far the client has read; a mark never goes back */
  markRead(argument: MarkRequest): Marked;
  /** sets the mark back, so that a message is the first unread one */
  markUnread(argument: MarkRequest): Marked;
  /** tells the others that the client types or has stopped */
  typing(argument: TypingRequest): RoomRequest;
  /** returns a page of the list of conversations */
  listRooms(argument: ListRequest): RoomList;
  /** joins the lobby: after the answer the client gets every change of a conversation */
  watchRooms(argument: WatchRequest): Watched;
  /** leaves the lobby */
  unwatchRooms(argument: Empty): Empty;
  /** takes a conversation that nobody has */
  claimRoom(argument: RoomRequest): Room;
  /** gives a conversation to an operator, or to nobody. A closed server must know the operator: by `parley operator add`, or because it has been here with a signed token */
  transferRoom(argument: TransferRequest): Room;
  /** closes a conversation */
  closeRoom(argument: CloseRequest): Room;
  /** opens a closed conversation */
  reopenRoom(argument: RoomRequest): Room;
  /** says that nobody has to answer */
  answered(argument: RoomRequest): Room;
  /** changes subject, labels and attributes */
  updateRoom(argument: UpdateRequest): Room;
  /** adds a note, which only operators see */
  addNote(argument: NoteRequest): Message;
  /** finds messages by their words, the newest first */
  search(argument: SearchRequest): Found;
  /** makes a visitor the user that a token of the site names, with the visitor's conversations */
  identify(argument: TokenRequest): Identified;
  /** replaces the token of the connection */
  refresh(argument: TokenRequest): Expiry;
  /** says whether an operator takes conversations */
  setStatus(argument: StatusRequest): StatusRequest;
  /** returns a user with its conversations */
  getPerson(argument: PersonRequest): PersonAnswer;
  /** describes a user */
  updatePerson(argument: PersonUpdate): PersonAnswer;
};
