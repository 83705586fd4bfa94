import type { Client } from './parley.js';
import type { LiveRoom, LiveRoomOptions, Snapshot } from './live.js';

/** A room at one moment, and what you can do with it. The functions stay the same as long as the room and the options do. */
export type UsedRoom = Snapshot & Pick<LiveRoom, 'send' | 'retry' | 'discard' | 'loadOlder'>;

/**
 * Joins a room while the component is mounted. Components that use the same room of a client share it, with the limit and the
 * storage of the first one. Without a client or a roomId it waits. The functions throw before the component is mounted.
 */
export function useRoom(client: Client<any, any> | null | undefined, roomId: string | null | undefined, options?: Omit<LiveRoomOptions, 'roomId'>): UsedRoom;
