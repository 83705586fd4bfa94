// The npm package: packed, installed into projects of their own, checked, bundled and run against the
// binary. The code of docs/clients/javascript.md is checked and run in the same way.
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { before, after, test as bare } from 'node:test';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { transform } from 'esbuild';
import { compile } from 'svelte/compiler';
import { build, folder, js, pack, project, run, start, tool, write } from './testdata/package.mjs';

const test = (name, body) => bare(name, { timeout: 600_000 }, body);
const manifest = JSON.parse(await readFile(join(js, 'package.json'), 'utf8'));
const guide = await readFile(join(js, '../docs/clients/javascript.md'), 'utf8');
const readme = await readFile(join(js, 'README.md'), 'utf8');
const WITH_NODE_MODULES = ['react', 'react-dom', '@types/react', 'socket.io-client', 'vue', 'svelte'];

let tarball, binary;
const ends = [];
before(async () => {
  const dir = await folder({ after: (end) => ends.push(end) });
  [tarball, binary] = await Promise.all([pack(dir), build(dir)]);
});
after(() => Promise.all(ends.map((end) => end())));

const server = (t) => start(t, binary, '--addr', '127.0.0.1:0', '--data', 'memory');

/** The blocks of code in a language. */
const blocks = (document, language) => [...document.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(([, code]) => code);

/** The block that contains a text. */
function block(language, contains) {
  const found = blocks(guide, language).filter((code) => code.includes(contains));
  assert.equal(found.length, 1, `blocks with ${contains}`);
  return found[0];
}

const strict = (more) => JSON.stringify({
  compilerOptions: {
    strict: true, noEmit: true, noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true, verbatimModuleSyntax: true, isolatedModules: true,
    target: 'es2023', lib: ['es2023', 'dom', 'dom.iterable'], types: [], jsx: 'react-jsx', ...more,
  },
});

test('the tarball has what package.json lists and the license, and the version of the binary', async () => {
  const listed = (await run(js, 'tar', '-tzf', tarball)).trim().split('\n').sort();
  const wanted = [...manifest.files, 'package.json', 'README.md', 'LICENSE'].map((name) => `package/${name}`).sort();
  assert.deepEqual(listed, wanted);
  const [, version] = /^parley ([^+ ]+)/.exec(await run(js, binary, 'version'));
  assert.equal(manifest.version, version);
  assert.ok(tarball.endsWith(`/parley-client-${version}.tgz`));
  const repository = await readFile(join(js, '../README.md'), 'utf8');
  for (const named of [...guide.matchAll(/parley-client-(.*?)\.tgz/g), ...repository.matchAll(/parley-client-(.*?)\.tgz/g)]) assert.equal(named[1], version);
});

for (const [name, options] of Object.entries({ nodenext: { module: 'nodenext' }, bundler: { module: 'esnext', moduleResolution: 'bundler' } })) {
  test(`every door has types in a strict project (${name})`, async (t) => {
    const doors = Object.keys(manifest.exports).filter((door) => door !== './package.json').map((door) => `@parley/client${door.slice(1)}`);
    const uses = `
      import { connect } from '@parley/client';
      import type { ClientToServerEvents, ServerToClientEvents } from '@parley/client/protocol';
      import { io, type Socket } from 'socket.io-client';
      const client = connect<ServerToClientEvents, ClientToServerEvents>();
      const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io();
      export const page = await client.request('joinRoom', { roomId: 'a' });
      export const same = await socket.emitWithAck('joinRoom', { roomId: 'a' });
      page.members.length + ('error' in same ? 0 : same.members.length);
    `;
    const dir = await project(t, tarball, {
      'tsconfig.json': strict(options),
      'all.ts': doors.map((door, i) => `import type * as m${i} from '${door}';\nexport type Names${i} = keyof typeof m${i};\n`).join(''),
      'uses.ts': uses,
    }, ['socket.io-client']);
    await tool(dir, 'tsc', '-p', '.');
    // It would notice.
    await write(dir, { 'wrong.ts': `${uses}\nclient.request('joinRoom', { roomId: 1 });\nsocket.emit('jionRoom');` });
    await assert.rejects(tool(dir, 'tsc', '-p', '.'), /wrong\.ts.*TS2322[^]*wrong\.ts.*TS2345/);
  });
}

test('the code of the guide and of the README is right in a strict project', async (t) => {
  const html = blocks(guide, 'html').map((page) => /<script type="module">\n(.*?)<\/script>/s.exec(page)[1].replaceAll(/'http:\/\/127\.0\.0\.1:8080\/(\w+)\.js'/g, (_, name) => `'@parley/client${name === 'parley' ? '' : `/${name}`}'`));
  const svelte = blocks(guide, 'svelte').map((component) => `declare function $props(): any;\n${/<script lang="ts">\n(.*?)<\/script>/s.exec(component)[1]}`);
  const files = [
    ...[...blocks(guide, 'ts'), ...blocks(readme, 'ts'), ...html, ...svelte].map((code, i) => [`block${i}.ts`, code]),
    ...blocks(guide, 'tsx').map((code, i) => [`block${i}.tsx`, code]),
  ];
  assert.ok(html.length > 0 && svelte.length > 0 && files.length > 10);
  assert.equal([...guide.matchAll(/^```(?!$)(?!ts$|tsx$|html$|svelte$|sh$)/gm)].length, 0, 'blocks that nobody checks');
  const dir = await project(t, tarball, {
    'tsconfig.json': strict({ module: 'esnext', moduleResolution: 'bundler', skipLibCheck: true }), ...Object.fromEntries(files),
  }, WITH_NODE_MODULES);
  await tool(dir, 'tsc', '-p', '.');
});

test('examples/react-ts is right in its own strict project, and Vite builds it', async (t) => {
  const example = join(js, '../examples/react-ts');
  const names = ['index.html', 'tsconfig.json', 'src/main.tsx', 'src/Room.tsx'];
  const files = await Promise.all(names.map(async (name) => [name, await readFile(join(example, name), 'utf8')]));
  const { dependencies, devDependencies } = JSON.parse(await readFile(join(example, 'package.json'), 'utf8'));
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
    if (name !== '@parley/client') assert.equal(version, manifest.devDependencies[name], name);
  }
  const dir = await project(t, tarball, Object.fromEntries(files), ['react', 'react-dom', '@types/react', '@types/react-dom']);
  await tool(dir, 'tsc', '-p', '.');
  await tool(dir, 'vite', 'build', '--logLevel', 'warn');
  assert.match(await readFile(join(dir, 'dist/index.html'), 'utf8'), /assets\/.*\.js/);
});

test('esbuild: of the package, only what is imported is in the bundle, and the bundle works', async (t) => {
  const { url } = await server(t);
  const dir = await project(t, tarball, {
    'client.js': 'import { connect } from "@parley/client"; connect(process.argv[2]).on("connect", function () { console.log(this); process.exit(); });',
    'feed.js': 'import { Feed } from "@parley/client/feed"; console.log(Feed.name);',
    'nothing.js': 'import "@parley/client"; import "@parley/client/live"; import { ParleyError } from "@parley/client"; console.log(1);',
    'live.js': `
      import { connect } from '@parley/client';
      import { LiveRoom } from '@parley/client/live';
      const client = connect(process.argv[2]);
      const room = new LiveRoom(client, { roomId: 'r', userId: 'ada' });
      room.send({ text: 'bundled' });
      room.subscribe(({ messages, drafts, state }) => {
        if (state !== 'joined' || drafts.length > 0) return;
        console.log(JSON.stringify(messages.map(({ seq, userId, message }) => [seq, userId, message.text])));
        client.close();
      });`,
  });
  const bundle = async (name) => {
    await tool(dir, 'esbuild', `${name}.js`, '--bundle', '--minify', '--format=esm', '--platform=node', `--outfile=out/${name}.mjs`, `--metafile=${name}.json`);
    const { outputs } = JSON.parse(await readFile(join(dir, `${name}.json`), 'utf8'));
    const inputs = Object.entries(Object.values(outputs)[0].inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
    return inputs.map(([path]) => path.split('/').at(-1)).sort();
  };
  assert.deepEqual(await bundle('client'), ['client.js', 'parley.js']);
  assert.deepEqual(await bundle('feed'), ['feed.js', 'feed.js']);
  assert.deepEqual(await bundle('nothing'), ['nothing.js']);
  assert.deepEqual(await bundle('live'), ['live.js', 'live.js', 'outbox.js', 'parley.js', 'room.js', 'timeline.js']);
  assert.equal(await run(dir, process.execPath, 'out/live.mjs', url), '[[1,"ada","bundled"]]\n');
});

test('the guide: the room, and the same in Vue and Svelte', async (t) => {
  const { url } = await server(t);
  const code = async (source, loader = 'ts') => (await transform(source.replaceAll('https://chat.example', url), { loader, format: 'esm' })).code;
  const component = block('svelte', '$room');
  const dir = await project(t, tarball, {
    'room.mjs': `${await code(block('ts', 'new Outbox(room)'))}\nroom.watch({ onmessages(messages) { if (messages.length > 0) client.close(); } });`,
    'use.mjs': await code(block('ts', 'onScopeDispose')),
    'Room.js': compile(component, { generate: 'server' }).js.code,
    'vue.mjs': `
      import { connect } from '@parley/client';
      import { effectScope, watch } from 'vue';
      import { useRoom } from './use.mjs';
      const client = connect(${JSON.stringify(url)});
      const scope = effectScope();
      scope.run(() => {
        const { room, send } = useRoom(client, { roomId: 'support-42', userId: 'bob' });
        send({ text: 'from Vue' });
        watch(room, ({ messages, drafts, state }) => {
          if (state !== 'joined' || drafts.length > 0) return;
          console.log(messages.map(({ message }) => message.text).join());
          scope.stop();
          client.request('history', { roomId: 'support-42' }).then(() => console.log('still there'), ({ code }) => console.log(code)).finally(() => client.close());
        });
      });`,
    'svelte.mjs': `
      import { Client, connect } from '@parley/client';
      import { LiveRoom } from '@parley/client/live';
      import { get } from 'svelte/store';
      import { render } from 'svelte/server';
      import Room from './Room.js';
      const client = connect(${JSON.stringify(url)});
      const room = new LiveRoom(client, { roomId: 'support-42', userId: 'eve' });
      console.log(get(room).state);
      console.log(render(Room, { props: { client: new Client(${JSON.stringify(url)}), roomId: 'support-42' } }).body.includes('Say hello'));
      room.subscribe(({ messages, state }) => { if (state === 'joined' && messages.length === 2) { console.log(messages[0].message.text); client.close(); } });`,
  }, WITH_NODE_MODULES);
  assert.equal(await run(dir, process.execPath, 'room.mjs'), 'joining undefined\njoined undefined\n1 ada { text: \'Hello\' }\nwaiting undefined\n');
  assert.equal(await run(dir, process.execPath, 'vue.mjs'), 'Hello,from Vue\nnot_joined\n');
  assert.equal(await run(dir, process.execPath, 'svelte.mjs'), 'waiting\ntrue\nHello\n');
});

test('React renders the page of the guide on a server, with a client and without one', async (t) => {
  const { code } = await transform(block('tsx', 'useRoom(client'), { loader: 'tsx', jsx: 'automatic', format: 'esm' });
  const dir = await project(t, tarball, {
    'Chat.mjs': code,
    'OwnClient.mjs': code.replace(/typeof window[^\n]*/, 'new Client("https://chat.example");').replace('import { connect }', 'import { Client }'),
    'render.mjs': `
      import { renderToString } from 'react-dom/server';
      import { createElement, StrictMode } from 'react';
      for (const file of ['./Chat.mjs', './OwnClient.mjs']) {
        const { Chat } = await import(file);
        console.log(renderToString(createElement(StrictMode, null, createElement(Chat, { roomId: 'r' }))).slice(0, 16));
      }`,
  }, WITH_NODE_MODULES);
  assert.equal(await run(dir, process.execPath, 'render.mjs'), '<p>waiting<!-- -\n'.repeat(2));
});

test('without React, everything but the hook works', async (t) => {
  const dir = await project(t, tarball, { 'all.mjs': Object.keys(manifest.exports).filter((door) => !/protocol|json|react/.test(door)).map((door) => `import '@parley/client${door.slice(1)}';`).join('\n') });
  await run(dir, process.execPath, 'all.mjs');
  assert.deepEqual((await readdir(join(dir, 'node_modules'))).filter((name) => !name.startsWith('.')), ['@parley']);
});

test('the sizes in the guide', async () => {
  const rows = [...guide.matchAll(/^\| `@parley\/client[\w/]*` \| `(\w+\.js)` \| ([\d.]+) \|/gm)].map(([, file, kB]) => [file, Number(kB)]);
  assert.deepEqual(rows.map(([file]) => file).sort(), manifest.files.filter((name) => name.endsWith('.js')).sort());
  const measured = await Promise.all(rows.map(async ([file, kB]) => {
    const { code } = await transform(await readFile(join(js, file), 'utf8'), { minify: true, format: 'esm' });
    return [file, kB, gzipSync(code, { level: 9 }).length / 1000];
  }));
  assert.match(await readFile(join(js, '../README.md'), 'utf8'), new RegExp(`JavaScript client without dependencies, ${rows.find(([file]) => file === 'parley.js')[1]} kB`));
  const wrong = measured.filter(([, kB, size]) => Math.abs(kB - size) > Math.max(0.06, 0.02 * size)); // the compressor's version may change it a little
  assert.deepEqual(wrong.map(([file, , size]) => `${file}: ${size.toFixed(1)} kB`), []);
});
