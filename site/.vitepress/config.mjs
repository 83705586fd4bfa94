// The documentation as a site: README.md and docs/, with a search that needs no server. "make site" builds it in
// site/dist.
import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const repository = 'https://github.com/parley-go/parley/tree/main/';
const pages = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md', 'docs/**/*.md'];

/** Whether a file of the repository is a page of the site. */
const isPage = (file) => file.endsWith('.md') && (file.startsWith('docs/') || pages.includes(file));

/** Pages are text and no templates of Vue. Links to what is no page lead to the repository. */
function plain(markdown) {
  for (const kind of ['text', 'code_inline']) {
    const render = markdown.renderer.rules[kind];
    markdown.renderer.rules[kind] = (...args) => render(...args).replaceAll('{{', '&#123;&#123;');
  }
  markdown.core.ruler.push('outward', (state) => {
    const page = relative(root, state.env.realPath ?? state.env.path);
    for (const block of state.tokens) {
      for (const token of block.children ?? []) {
        const href = token.type === 'link_open' ? token.attrGet('href') : null;
        if (!href || /^([a-z]+:|#|\/)/.test(href)) continue;
        const [path, heading] = decodeURI(href).split('#');
        const file = join(dirname(page), path);
        if (isPage(file) || !existsSync(join(root, file))) continue; // of the latter, the build complains
        token.attrSet('href', repository + file + (heading ? `#${heading}` : ''));
      }
    }
  });
}

const section = (text, items) => ({ text, items: items.map(([text, link]) => ({ text, link: `/docs/${link}` })) });

export default {
  title: 'Parley',
  description: 'Socket.IO for Go, and a chat backend in one binary',
  srcDir: '..',
  srcExclude: ['**/node_modules/**', 'bench/**', 'conformance/**', 'examples/**', 'js/**', 'site/**'],
  outDir: 'dist',
  rewrites: { 'README.md': 'index.md' },
  cleanUrls: true,
  markdown: { config: plain, html: false },
  vite: { resolve: { alias: { vue: join(root, 'site/node_modules/vue') } } }, // for pages that are not below this folder
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [{ text: 'Start', link: '/docs/guide/start' }, { text: 'From Node.js', link: '/docs/migrate' }, { text: 'Repository', link: repository }],
    sidebar: [
      section('Library', [
        ['Start', 'guide/start'], ['Events', 'guide/events'], ['Rooms', 'guide/rooms'], ['Who a client is', 'guide/auth'], ['History', 'guide/history'],
        ['Other HTTP handlers', 'guide/http'], ['Tests', 'guide/testing'], ['Logs and metrics', 'guide/observe'], ['Shut down', 'guide/shutdown'],
        ['From Node.js', 'migrate'], ['Identities', 'identities'],
      ]),
      section('Binary', [
        ['Operations', 'operations'], ['Settings', 'configuration'], ['Commands', 'cli'], ['Access', 'access'], ['TLS', 'tls'], ['Protocol', 'protocol'],
        ['Events', 'events'], ['HTTP API', 'api'],
      ]),
      section('Both', [
        ['JavaScript client', 'clients/javascript'], ['Clusters', 'cluster'], ['Proxies', 'proxies'], ['Transports', 'transports'],
        ['Troubleshooting', 'troubleshooting'],
      ]),
      section('Inside', [
        ['Architecture', 'architecture'], ['Limits and promises', 'reliability'], ['Performance', 'performance'], ['Benchmark', 'benchmark'],
        ['Testing Parley', 'testing'], ['Dependencies', 'dependencies'],
      ]),
    ],
  },
};
