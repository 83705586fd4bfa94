import type { ParleyError } from './parley.js';
import type { Message } from './protocol.js';
import type { Room } from './room.js';

/** A message that the server has not stored yet. */
export interface Unsent {
  readonly clientId: string;
  readonly message: any;
  /** When it was written, as Date.now(). */
  readonly at: number;
  /** Why the server has refused it. It waits for retry or discard. */
  readonly error?: { readonly code: ParleyError['code']; readonly message: string };
}

export interface OutboxOptions {
  /**
   * Where drafts survive a reload. Default: sessionStorage, which ends with the tab. localStorage keeps them
   * longer, readable for whoever uses this browser. null: nowhere.
   */
  storage?: Storage | null;
  /** The most drafts. Default 100. */
  limit?: number;
  /** How long a draft stays in the storage, in ms. Default one day. */
  maxAge?: number;
  /** Called when drafts have changed. */
  onchange?(drafts: readonly Unsent[]): void;
  /** Called when the server has stored a message. The room delivers it as well, before or after, unless it was stored long ago. */
  onsent?(message: Message): void;
}

/** The messages of one user in one room that the server has not stored yet. It sends them in order when the room is joined. */
export class Outbox {
  constructor(room: Room, options?: OutboxOptions);
  /** In the order in which they are sent. Each change makes a new array. */
  readonly drafts: readonly Unsent[];
  /** Sends a message of any JSON, or keeps it until that is possible. Returns its clientId. Throws a ParleyError, 'buffer_full', if too many wait. */
  send(message: unknown): string;
  /** Sends a draft again that the server has refused. */
  retry(clientId: string): void;
  /** Drops a draft. If it is being sent, the server may store it anyway. */
  discard(clientId: string): void;
  /** Ends the outbox. What is not sent stays in the storage, for the next outbox of this user in this room. */
  close(): void;
  /** Removes the drafts of all users and rooms from a storage, for example when a user signs out. Default: sessionStorage. */
  static clear(storage?: Storage | null): void;
}
