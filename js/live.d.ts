import type { Client, ParleyError } from './parley.js';
import type { Member, Message } from './protocol.js';
import type { Identity, Room, RoomState } from './room.js';
import type { OutboxOptions, Unsent } from './outbox.js';

export interface LiveRoomOptions extends Identity, Pick<OutboxOptions, 'storage'> {
  roomId: string;
  /** The number of messages in a page. By default the server chooses. */
  limit?: number;
}

/** A room at one moment. Nothing in it changes. */
export interface Snapshot {
  readonly state: RoomState;
  /** The reason if the state is refused, otherwise null. */
  readonly error: ParleyError | null;
  /** In the order of seq, each once, in its newest version. */
  readonly messages: readonly Message[];
  /** What the server has not stored yet, in order. Show it after the messages. */
  readonly drafts: readonly Unsent[];
  /** In a large room, only a part of the `count` members. Empty while not connected. */
  readonly members: readonly Member[];
  readonly count: number;
  /** Whether loadOlder would bring more. */
  readonly hasOlder: boolean;
  /** Whether loadOlder is under way. */
  readonly loading: boolean;
}

/** A room as one value, for user interfaces. It keeps the newest 500 messages, and those that loadOlder has brought. */
export class LiveRoom {
  constructor(client: Client<any, any>, options: LiveRoomOptions);
  readonly room: Room;
  /** The same object until something changes. */
  get snapshot(): Snapshot;
  /** Calls a listener at once, and then once after all changes that come at once. Returns a function that ends this. */
  subscribe(listener: (snapshot: Snapshot) => void): () => void;
  /** Sends a message of any JSON, or keeps it until that is possible. Returns its clientId. Throws a ParleyError, 'buffer_full', if 100 wait. */
  readonly send: (message: unknown) => string;
  /** Sends a draft again that the server has refused. */
  readonly retry: (clientId: string) => void;
  /** Drops a draft. */
  readonly discard: (clientId: string) => void;
  /** Loads a page of older messages. Rejects with a ParleyError if the server refuses or does not answer. */
  readonly loadOlder: () => Promise<void>;
  /** Leaves the room. Drafts stay in the storage. */
  leave(): void;
}

/** The snapshot before there is a room, as on a server that renders pages. */
export const NOTHING: Snapshot;
