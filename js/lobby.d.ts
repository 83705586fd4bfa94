import type { Client, ParleyError } from './parley.js';
import type { Filter, OperatorPresence, Room, RoomCounts } from './protocol.js';

export type { Filter, OperatorPresence } from './protocol.js';

export type LobbyState = 'waiting' | 'joining' | 'joined' | 'refused' | 'left';
export type Sort = 'activity' | 'waiting' | 'created';

/** A conversation, with what this operator has read. Until its next page comes, unread is an estimate. */
export type Row = Room & { readSeq: number; unread: number };

export interface LobbyOptions {
  /** The operator as whom the client is connected. */
  operatorId: string;
  /** Default: open conversations. */
  filter?: Filter;
  /** Default 'activity': the newest message first. */
  sort?: Sort;
  /** The number of conversations in a page. By default the server chooses. */
  limit?: number;
  /** Called after something has changed, once for all that comes at once. */
  onchange?(): void;
  onstate?(state: LobbyState): void;
}

/** The list of conversations. It goes on after each disconnect and misses nothing. */
export class Lobby {
  constructor(client: Client<any, any>, options: LobbyOptions);
  readonly state: LobbyState;
  /** The reason if the state is refused, otherwise null. */
  readonly error: ParleyError | null;
  /** The operators that are there, by id. Empty while not connected. */
  readonly operators: ReadonlyMap<string, OperatorPresence>;
  /** The numbers of open conversations, as of the last page that was loaded from the beginning. */
  readonly counts: RoomCounts | undefined;
  /** Whether there are more conversations than rooms() returns. */
  readonly hasMore: boolean;
  readonly position: number;
  readonly epoch: string | undefined;
  /** The conversations that match the filter, in order, as far as they are loaded. */
  rooms(): Row[];
  /** What is known of a conversation, whether or not it matches the filter. */
  room(roomId: string): Row | undefined;
  /** Shows another list. It begins with what is known, and has its first page when the promise resolves. */
  show(list: { filter?: Filter; sort?: Sort }): Promise<void>;
  /** Loads the next page. */
  more(): Promise<void>;
  /** Tries again after a refusal. */
  watch(): void;
  /** Ends the list. It calls no handler afterwards. */
  leave(): void;
}
