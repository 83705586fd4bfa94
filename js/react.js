/**
 * A room in React, version 18 or later:
 *
 *   const client = connect('https://chat.example'); // once, outside of components; null on a server that renders pages
 *
 *   function Chat({ roomId }) {
 *     const { messages, drafts, members, state, send, loadOlder } = useRoom(client, roomId, { userId: 'ada' });
 *     …
 *   }
 *
 * Components that use the same room share it. It is left after the last of them has gone. live.js does
 * the work. The types are in react.d.ts.
 */
import { useMemo, useSyncExternalStore } from 'react';
import { LiveRoom, NOTHING } from './live.js';

/** By client, then by roomId: {live, users}. A server knows each connection once in a room, so one component must not leave it for the others. */
const shared = new WeakMap();

export function useRoom(client, roomId, { userId, operatorId, name, limit, storage } = {}) {
  const { subscribe, read, actions } = useMemo(
    () => use(client, roomId, { userId, operatorId, name }, { limit, storage }),
    [client, roomId, userId, operatorId, name, limit, storage],
  );
  const snapshot = useSyncExternalStore(subscribe, read, () => NOTHING);
  return useMemo(() => ({ ...snapshot, ...actions }), [snapshot, actions]);
}

/** What one component does with a room. It begins with subscribe, because React may render components that it never shows. */
function use(client, roomId, who, options) {
  const find = () => shared.get(client)?.get(roomId);

  function subscribe(listener) {
    if (!client || roomId == null) return () => {};
    if (!shared.has(client)) shared.set(client, new Map());
    const rooms = shared.get(client);
    const known = rooms.get(roomId);
    const entry = known ?? { live: new LiveRoom(client, { roomId, ...who, ...options }), users: 0 };
    if (!known) rooms.set(roomId, entry);
    else if (Object.keys(who).some((name) => who[name] !== known.live.room.who[name])) known.live.room.join(who);
    entry.users++;
    const stop = entry.live.subscribe(listener);
    return () => {
      stop();
      entry.users--;
      // Another component may take the room over in the same moment. In strict mode, the same one does.
      queueMicrotask(() => {
        if (entry.users > 0 || rooms.get(roomId) !== entry) return;
        rooms.delete(roomId);
        entry.live.leave();
      });
    };
  }

  const act = (name) => (...args) => {
    const entry = find();
    if (!entry) throw new Error(`useRoom: ${name} before the component is mounted`);
    return entry.live[name](...args);
  };
  return {
    subscribe,
    read: () => find()?.live.snapshot ?? NOTHING,
    actions: { send: act('send'), retry: act('retry'), discard: act('discard'), loadOlder: act('loadOlder') },
  };
}
