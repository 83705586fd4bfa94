import { connect } from '@parley/client';
import type { ClientToServerEvents, ServerToClientEvents } from '@parley/client/protocol';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Room } from './Room';

const client = connect<ServerToClientEvents, ClientToServerEvents>('http://127.0.0.1:8080');
const name = new URLSearchParams(location.search).get('name') ?? `guest-${Math.floor(Math.random() * 1000)}`;

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <Room client={client} roomId="lobby" userId={name} />
  </StrictMode>,
);
