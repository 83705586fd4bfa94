import type { Client, ParleyError } from './parley.js';
import type { ClientRequests, Member, Message, PresenceNews, ReadSeqs, Room as Conversation, ServerToClientEvents } from './protocol.js';

// protocol.d.ts has the types of all events. docs/protocol.md describes them.
export type { Joined, Member, Message, Page, Refusal, RefusalCode } from './protocol.js';

/** The identity that a client claims. */
export interface Identity {
  userId?: string;
  operatorId?: string;
  name?: string;
}

/** The events that the server sends: the first type argument of Client, and of socket.io-client's Socket. */
export type FromServer = Omit<ServerToClientEvents, 'presence'> & {
  presence(presence: PresenceNews & ({ type: 'join' | 'leave'; member: Member } | { type: 'count'; member?: undefined })): void;
};

/** The events that the server takes, with its answers: the second type argument of Client. */
export type ToServer = ClientRequests;

export type RoomState = 'waiting' | 'joining' | 'joined' | 'refused' | 'left';

export interface RoomOptions extends Identity, RoomHandlers {
  roomId: string;
  /** The number of messages in a page. By default the server chooses. */
  limit?: number;
  /** For operators: join the notes of the conversation as well. */
  notes?: boolean;
}

/** What a room calls. */
export interface RoomHandlers {
  /**
   * Gets each message once, in the order of seq. reset: these are the newest messages, so drop all
   * earlier ones; the first call has it too. hasMore: the room has older messages. live: they have just been sent.
   */
  onmessages?(messages: Message[], how: { reset: boolean; hasMore: boolean; live: boolean }): void;
  /**
   * Gets messages that were edited or deleted, each change once and in order, except those that a later
   * change of the same message has replaced. Show each in place of the one with its seq. Keep those
   * that you have not loaded: a page that was read before the change may arrive later.
   */
  onchanges?(messages: Message[], how: { live: boolean }): void;
  /** Called when members, count or member changes. */
  onmembers?(): void;
  ontyping?(typing: Identity & { roomId: string; typing: boolean }): void;
  onstate?(state: RoomState): void;
  /** Called when conversation or read changes. */
  onconversation?(): void;
  /** With `notes`. reset: these are the newest notes, so drop all earlier ones. Otherwise they are new, or replace those with their seq. */
  onnotes?(notes: Message[], how: { reset: boolean }): void;
  /** Called when the conversation was erased. */
  ongone?(): void;
}

/** A room that you join. It joins again after each disconnect and keeps the messages in order. */
export class Room {
  constructor(client: Client<any, any>, options: RoomOptions);
  readonly client: Client<any, any>;
  readonly roomId: string;
  /** The identity that this client claims. `member` is what the server makes of it. */
  readonly who: Readonly<Identity>;
  readonly state: RoomState;
  /** The reason if the state is refused, otherwise null. */
  readonly error: ParleyError | null;
  readonly member: Member | undefined;
  /** The members by id. In a large room this is only a part of them; count has the total. Empty while not connected. */
  readonly members: ReadonlyMap<string, Member>;
  readonly count: number;
  readonly epoch: string | undefined;
  readonly lastSeq: number;
  /** The conversation that the room is, as far as you may know it. Undefined for other rooms. */
  readonly conversation: Conversation | undefined;
  /** Of a conversation: the last messages that its operators and its user have read. */
  readonly read: ReadSeqs;
  /** The names of operators who have written here, by their ids, as far as the server knows them. Those in `members` are newer. */
  readonly operatorNames: ReadonlyMap<string, string>;
  /** Joins again after a refusal, or under another identity. */
  join(who?: Identity): void;
  /** Adds handlers to those of the options. Returns a function that removes them. */
  watch(handlers: RoomHandlers): () => void;
  /** Leaves the room. It calls no handler afterwards. */
  leave(): void;
}

/** The number of a message's last change in the room's order of changes. Of two versions of a message, the newer one has the larger number. */
export function numberOf(message: Pick<Message, 'seq' | 'rev'>): number;
