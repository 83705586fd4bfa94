import type { Client, ParleyError } from './parley.js';

// The conversations, as docs/protocol.md describes them.

/** Who somebody says they are. */
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
  /** 1, 2, 3 and so on: the order of a room's messages. */
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

/** The code of the ParleyError with which request() rejects when the server refuses an event. */
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

/** The acknowledgement of a refused event, as it is on the wire: official clients get it. */
export interface Refusal {
  error: { code: RefusalCode; message: string; data?: unknown };
}

/** What the server sends: the first type argument of Client, and of socket.io-client's Socket. */
export type FromServer = {
  newMessage(message: Message): void;
  presence(presence: { roomId: string; count: number } & ({ type: 'join' | 'leave'; member: Member } | { type: 'count'; member?: undefined })): void;
  typing(typing: Identity & { roomId: string; typing: boolean }): void;
  history(page: Page | Joined): void;
  error(error: Refusal['error'] & { event: string }): void;
};

/** What it takes, and answers: the second type argument of Client. */
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
  /** Messages of a page; the server's choice if left out. */
  limit?: number;
  /**
   * Gets each message once, in the order of seq. reset: they are the newest ones, and what came
   * before is to be dropped; so are the first ones. hasMore: there are older ones. live: they have just been sent.
   */
  onmessages?(messages: Message[], how: { reset: boolean; hasMore: boolean; live: boolean }): void;
  /** members, count or member has changed. */
  onmembers?(): void;
  ontyping?(typing: Identity & { roomId: string; typing: boolean }): void;
  onstate?(state: RoomState): void;
}

/** A room that is joined again after each break, with its messages in order. */
export class Room {
  constructor(client: Client<any, any>, options: RoomOptions);
  readonly state: RoomState;
  /** Why the state is refused. */
  readonly error: ParleyError | null;
  readonly member: Member | undefined;
  /** By id; of a large room a part of the count. Empty while not connected. */
  readonly members: ReadonlyMap<string, Member>;
  readonly count: number;
  readonly epoch: string | undefined;
  readonly lastSeq: number;
  /** Joins again: after a refusal, or as somebody else. */
  join(who?: Identity): void;
  /** Leaves the room. No handler is called any more. */
  leave(): void;
}
