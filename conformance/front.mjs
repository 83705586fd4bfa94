// Starts nginx or HAProxy in front of a server, with the configurations of docs/proxies.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { atEnd, parley } from './harness.mjs';

const documented = new URL('../docs/proxies/', import.meta.url);

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Makes a temporary folder and removes it when the test ends. */
export async function folder(t) {
  const dir = await mkdtemp(join(tmpdir(), 'proxy-'));
  atEnd(t, () => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** Replaces a text, which must occur. */
export function replace(text, what, by) {
  assert.ok(text.includes(what), `the configuration has no "${what}"`);
  return text.replaceAll(what, by);
}

const nginx = {
  file: 'nginx.conf',
  http: ['listen 80;', (port) => `listen 127.0.0.1:${port};`],
  https: ['listen 443 ssl', (port) => `listen 127.0.0.1:${port} ssl`],
  server: '127.0.0.1:8080',
  // Puts all files that nginx reads and writes into the test's folder.
  local: (text, dir) => [
    ...nginx.folders(dir),
    ['/etc/nginx/chat.example.com.pem', `${dir}/cert.pem`], ['/etc/nginx/chat.example.com.key', `${dir}/key.pem`],
  ].reduce((all, [what, by]) => replace(all, what, by), text),
  folders: (dir) => [
    ['http {', `pid ${dir}/pid;\nhttp {\n    access_log off;\n${
      ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `    ${kind}_temp_path ${dir}/${kind};`).join('\n')}`],
  ],
  command: (file) => ['/usr/sbin/nginx', '-c', file, '-e', 'stderr', '-g', `daemon off;${process.getuid() === 0 ? ' user root;' : ''}`],
  reload: 'SIGHUP',
  /** Makes workers end their connections one second after a reload. */
  hasty: (text) => `worker_shutdown_timeout 1s;\n${text}`,
};

const haproxy = {
  file: 'haproxy.cfg',
  http: ['bind :80', (port) => `bind 127.0.0.1:${port}`],
  https: ['bind :443', (port) => `bind 127.0.0.1:${port}`],
  server: '127.0.0.1:8080',
  local: (text, dir) => replace(text, '/etc/haproxy/chat.example.com.pem', `${dir}/both.pem`),
  command: (file) => ['/usr/sbin/haproxy', '-W', '-db', '-q', '-f', file],
  reload: 'SIGUSR2',
  hasty: (text) => `global\n    hard-stop-after 1s\n${text}`,
};

export const proxies = { nginx, haproxy };

/** The configurations for clusters of two servers. */
export const clusters = {
  nginx: { ...nginx, file: 'nginx-cluster.conf', server: '127.0.0.1:8081', second: '127.0.0.1:8082' },
  haproxy: { ...haproxy, file: 'haproxy-cluster.cfg', server: '127.0.0.1:8081', second: '127.0.0.1:8082' },
};

/** That of examples/compose-nginx. */
export const composed = {
  ...nginx, file: '../../examples/compose-nginx/nginx.conf', https: undefined, server: 'node-1:8080', second: 'node-2:8080',
  local: (text, dir) => nginx.folders(dir).reduce((all, [what, by]) => replace(all, what, by), text),
};

/** The HAProxy configuration that passes TLS through. */
export const passthrough = { ...haproxy, file: 'haproxy-tls.cfg', http: undefined, server: '127.0.0.1:8443', local: (text) => text };

const certificates = new Map();

/** Lets the binary make a self-signed certificate for 127.0.0.1. Returns it and its key as PEM. */
async function makeCertificate(t) {
  const dir = await folder(t);
  const { stop } = await parley(t, '--addr', '127.0.0.1:0', '--data', dir, '--tls-self-signed');
  await stop('SIGTERM');
  const [cert, key] = await Promise.all(['cert', 'key'].map((half) => readFile(join(dir, `self-signed-${half}.pem`), 'utf8')));
  return { cert, key };
}

/**
 * Starts the proxy in front of the server. change may edit the proxy's configuration. The result has the
 * addresses http and https, and the certificate to trust, ca. Its ends() reloads the configuration and
 * resolves when the old workers have ended. Its begins() reloads too, but only waits for a new worker.
 */
export async function front(t, proxy, server, change = (text) => text) {
  const dir = await folder(t);
  const self = {};
  let text = replace(await readFile(new URL(proxy.file, documented), 'utf8'), proxy.server, new URL(server).host);
  const ports = [];
  for (const scheme of ['http', 'https'].filter((s) => proxy[s])) {
    const port = await freePort();
    ports.push(port);
    text = replace(text, proxy[scheme][0], proxy[scheme][1](port));
    self[scheme] = `${scheme}://127.0.0.1:${port}`;
  }
  if (proxy !== passthrough) {
    if (!certificates.has('pem')) certificates.set('pem', await makeCertificate(t));
    const { cert, key } = certificates.get('pem');
    self.ca = cert;
    for (const [name, content] of Object.entries({ cert, key, both: cert + key })) await writeFile(join(dir, `${name}.pem`), content);
  }
  const file = join(dir, basename(proxy.file));
  await writeFile(file, change(proxy.local(text, dir)));
  const [program, ...args] = proxy.command(file);
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (chunk) => { log += chunk; });
  const exited = new Promise((resolve) => child.once('exit', resolve).once('error', resolve));
  atEnd(t, () => { child.kill(); return exited; });
  const alive = async () => assert.equal(await Promise.race([exited.then(() => true), sleep(20)]), undefined, `${program} ended:\n${log}`);
  const opens = (port) => new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
    socket.unref().once('connect', () => socket.destroy());
  });
  for (const port of ports) while (!await opens(port)) await alive();

  const workers = async () => (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')).trim().split(' ');
  const reload = async (done) => {
    const before = await workers();
    child.kill(proxy.reload);
    while (!done(before, await workers())) await alive();
  };
  self.begins = () => reload((before, now) => now.some((pid) => !before.includes(pid)));
  self.ends = () => reload((before, now) => now.length > 0 && !now.some((pid) => before.includes(pid)));
  return self;
}
