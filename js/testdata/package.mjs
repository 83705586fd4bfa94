// The npm package as others use it: packed, installed into a project of its own, and built there.
import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const js = fileURLToPath(new URL('..', import.meta.url));
const execute = promisify(execFile);

/** Runs a program and resolves with its output. If it fails, the error has what it said. */
export async function run(cwd, file, ...args) {
  try {
    return (await execute(file, args, { cwd, maxBuffer: 1 << 26, env: { ...process.env, NODE_ENV: undefined } })).stdout;
  } catch (error) {
    throw new Error(`${file} ${args.join(' ')}: ${error.code}\n${error.stdout}${error.stderr}`);
  }
}

/** A tool of js/node_modules. */
export const tool = (cwd, name, ...args) => run(cwd, join(js, 'node_modules/.bin', name), ...args);

/** Makes a folder that goes with the test. */
export async function folder(t) {
  const dir = await mkdtemp(join(tmpdir(), 'parley-npm-'));
  t.after(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }));
  return dir;
}

/** Packs the client and resolves with the path of the tarball. */
export async function pack(dir) {
  await run(js, 'npm', 'pack', '--silent', '--pack-destination', dir);
  const { version } = JSON.parse(await run(js, 'npm', 'pkg', 'get', 'version', '--json', '--workspaces=false').then((said) => `{"version":${said}}`));
  return join(dir, `parley-client-${version}.tgz`);
}

/** Makes an empty project, installs the tarball into it, and links packages that it uses from js/node_modules. */
export async function project(t, tarball, files, packages = []) {
  const dir = await folder(t);
  await write(dir, { 'package.json': JSON.stringify({ name: 'project', private: true, type: 'module' }) });
  await run(dir, 'npm', 'install', '--offline', '--no-audit', '--no-fund', '--silent', tarball);
  for (const name of packages) {
    await mkdir(dirname(join(dir, 'node_modules', name)), { recursive: true });
    await symlink(join(js, 'node_modules', name), join(dir, 'node_modules', name));
  }
  await write(dir, files);
  return dir;
}

export async function write(dir, files) {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true });
    await writeFile(join(dir, name), text);
  }
}

/** Builds the binary and resolves with its path. */
export async function build(dir) {
  await run(join(js, '..'), 'go', 'build', '-o', join(dir, 'parley'), './cmd/parley');
  return join(dir, 'parley');
}

/** Starts the binary. Resolves with {url, stop} when it serves. It ends with the test. */
export async function start(t, binary, ...flags) {
  const child = spawn(binary, flags, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = () => { child.kill('SIGKILL'); return ended; };
  t.after(stop);
  let said = '';
  const url = await new Promise((resolve, reject) => {
    const hear = (chunk) => {
      said += chunk;
      const address = /http:\/\/127\.0\.0\.1:\d+/.exec(said);
      if (address) resolve(address[0]);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    ended.then((code) => reject(new Error(`parley ended (${code}): ${said}`)));
  });
  return { url, stop };
}
