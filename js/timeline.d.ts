import type { Message } from './protocol.js';

/** A message that the server has not stored yet. */
export interface Draft {
  clientId: string;
  message: any;
  error?: unknown;
}

/** Stored messages in the order of their seq, each once, and drafts, which the stored message with their clientId replaces. */
export class Timeline {
  readonly messages: Message[];
  drafts: Draft[];
  epoch: string | undefined;
  /** Whether the room has messages before the first one here. */
  hasOlder: boolean;
  /** Whether the room has messages after the last one here. Then live messages are not added: loading that part brings them. */
  hasNewer: boolean;
  /** The seq of the first message here. */
  get oldest(): number | undefined;
  get newest(): number | undefined;
  /** Adds a stored message. Returns false if it is here already, or if it is live and not next to the others. The newer version stays. */
  add(message: Message, how?: { live?: boolean }): boolean;
  /** Takes a changed message. If it is not here, the change counts when it comes. */
  change(message: Message): void;
  /** Drops messages if there are more than 500 (or 4,000,000 UTF-16 units of JSON), except those from seq `first` to seq `last`. */
  trim(first: number, last: number): void;
  /** Returns the index of the first message whose seq is at least the given one. */
  indexOf(seq: number): number;
  /** Drops the stored messages: the server has another history. */
  reset(epoch: string): void;
}

/** Returns a new clientId, a UUIDv7. Unlike crypto.randomUUID it works on plain HTTP, too. */
export function draftId(now?: number): string;

/** Reads the drafts that a page has kept as JSON. It leaves out all that is not a draft with a text. */
export function drafts(json: string): { clientId: string; message: { text: string; name?: string }; at: number; error?: string }[];

/** Identifies the author of a message, or a member. An operator is one person in the conversations of all users. */
export function personKey(person: { id?: string; userId?: string; operatorId?: string }): string;

/** The number of a message's last change. Of two versions of a message, the newer one has the larger number. */
export function numberOf(message: Pick<Message, 'seq' | 'rev'>): number;
