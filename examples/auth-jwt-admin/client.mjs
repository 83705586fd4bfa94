// node client.mjs NAME PASSWORD [BLOCK]: logs in, connects, and, as an administrator, blocks somebody.
import { connect } from '../../js/parley.js';

const [name, password, block] = process.argv.slice(2);
const url = process.env.URL ?? 'http://127.0.0.1:3000';

/** Called for each connection, so that no old token is sent again. */
async function auth() {
  const response = await fetch(`${url}/login`, { method: 'POST', body: new URLSearchParams({ name, password }) });
  if (!response.ok) throw new Error(await response.text());
  return { token: await response.text() };
}

const socket = connect(url, { auth });
socket.on('connect', async () => console.log('I am', await socket.request('whoAmI')));
socket.on('connect_error', (error) => console.log('refused:', error.message));
socket.on('disconnect', (reason) => console.log('disconnected:', reason));
socket.on('tokenExpiring', async () => socket.request('renew', await auth()));

const admin = connect(url, { namespace: '/admin', auth });
admin.on('connect_error', (error) => console.log('/admin:', error.message));
admin.on('connect', async () => {
  console.log('/admin: welcome');
  if (!block) return;
  await admin.request('block', block);
  console.log('/admin: blocked', block);
});
