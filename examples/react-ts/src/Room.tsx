import type { Client } from '@parley/client';
import type { ClientToServerEvents, ServerToClientEvents } from '@parley/client/protocol';
import { useRoom } from '@parley/client/react';
import { useState } from 'react';

interface Props {
  client: Client<ServerToClientEvents, ClientToServerEvents>;
  roomId: string;
  userId: string;
}

export function Room({ client, roomId, userId }: Props) {
  const { messages, drafts, members, state, hasOlder, send, loadOlder } = useRoom(client, roomId, { userId });
  const [text, setText] = useState('');
  return (
    <main>
      <h1>{roomId}</h1>
      <p>
        {state === 'joined' ? 'Here' : state}: {members.map((member) => member.name ?? member.userId ?? member.operatorId).join(', ')}
      </p>
      {hasOlder && <button onClick={() => void loadOlder()}>Older messages</button>}
      <ol>
        {messages.map((message) => (
          <li key={message.seq}>
            <b>{message.operatorId ?? message.userId}</b> {String(message.message)}
          </li>
        ))}
        {drafts.map((draft) => (
          <li key={draft.clientId}>
            <i>{String(draft.message)} (not sent yet)</i>
          </li>
        ))}
      </ol>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (text === '') return;
          void send(text);
          setText('');
        }}
      >
        <input value={text} onChange={(event) => setText(event.target.value)} autoFocus />
        <button>Send</button>
      </form>
    </main>
  );
}
