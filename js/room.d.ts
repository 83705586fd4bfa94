import type { Client, ParleyError } from './parley.js';

// The events of conversations. docs/protocol.md describes them.

/** The identity that a client claims. */
export interface Identity {
  userId?: string;
  operatorId?: string;
  name?: string;
}

/** A connection in a room. */
export interface Member extends Identity {
  id: string;
}

export interface Message {
  id: string;
  roomId: string;
  /** The message's number in its room: 1, 2, 3 and so on. */
  seq: number;
  userId?: string;
  operatorId?: string;
  message: any;
  /** RFC 3339, in UTC. */
  timestamp: string;
  clientId?: string;
}

export interface Page {
  roomId: string;
  messages: Message[];
  hasMore: boolean;
  lastSeq: number;
  epoch: string;
}

export interface Joined extends Page {
  reset?: boolean;
  member: Member;
  members: Member[];
  count: number;
}

/** If the server refuses an event, request() rejects with a ParleyError that has this code. */
export type RefusalCode =
  | 'bad_payload'
  | 'bad_room'
  | 'not_joined'
  | 'identity_mismatch'
  | 'too_large'
  | 'key_reuse'
  | 'too_many_rooms'
  | 'unknown_event'
  | 'unavailable'
  | 'unknown_outcome'
  | 'internal';

/** The acknowledgement of a refused event on the wire. Official clients get it in this form. */
export interface Refusal {
  error: { code: RefusalCode; message: string; data?: unknown };
}

/** The events that the server sends: the first type argument of Client, and of socket.io-client's Socket. */
export type FromServer = {
  newMessage(message: Message): void;
  presence(presence: { roomId: string; count: number } & ({ type: 'join' | 'leave'; member: Member } | { type: 'count'; member?: undefined })): void;
  typing(typing: Identity & { roomId: string; typing: boolean }): void;
  history(page: Page | Joined): void;
  error(error: Refusal['error'] & { event: string }): void;
};

/** The events that the server takes, with its answers: the second type argument of Client. */
export type ToServer = {
  joinRoom(join: Identity & { roomId: string; after?: number; epoch?: string; limit?: number }): Joined;
  sendMessage(send: Omit<Identity, 'name'> & { roomId: string; message: any; clientId?: string }): Message;
  history(page: { roomId: string; before?: number; after?: number; limit?: number }): Page;
  typing(typing: { roomId: string; typing?: boolean }): { roomId: string };
  leaveRoom(room: { roomId: string }): { roomId: string };
};

export type RoomState = 'waiting' | 'joining' | 'joined' | 'refused' | 'left';

export interface RoomOptions extends Identity {
  roomId: string;
  /** The number of messages in a page. By default the server chooses. */
  limit?: number;
  /**
   * Gets each message once, in the order of seq. reset: these are the newest messages, so drop all
   * earlier ones; the first call has it too. hasMore: the room has older messages. live: they have just been sent.
   */
  onmessages?(messages: Message[], how: { reset: boolean; hasMore: boolean; live: boolean }): void;
  /** Called when members, count or member changes. */
  onmembers?(): void;
  ontyping?(typing: Identity & { roomId: string; typing: boolean }): void;
  onstate?(state: RoomState): void;
}

/** A room that you join. It joins again after each disconnect and keeps the messages in order. */
export class Room {
  constructor(client: Client<any, any>, options: RoomOptions);
  readonly state: RoomState;
  /** The reason if the state is refused, otherwise null. */
  readonly error: ParleyError | null;
  readonly member: Member | undefined;
  /** The members by id. In a large room this is only a part of them; count has the total. Empty while not connected. */
  readonly members: ReadonlyMap<string, Member>;
  readonly count: number;
  readonly epoch: string | undefined;
  readonly lastSeq: number;
  /** Joins again after a refusal, or under another identity. */
  join(who?: Identity): void;
  /** Leaves the room. It calls no handler afterwards. */
  leave(): void;
}
