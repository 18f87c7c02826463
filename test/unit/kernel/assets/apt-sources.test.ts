import { describe, expect, it } from 'vitest';
import { formatSources, parseSources, siblingArchives } from '#kernel/assets/apt-sources.js';

const ONE_LINE = `
# deb http://off.example/debian bookworm main
deb http://mirror.example/debian bookworm main contrib # the release
deb [arch=amd64,arm64 signed-by=/k.gpg trusted=no] https://mirror.example/sec bookworm-security main
deb-src http://mirror.example/debian bookworm main
deb http://flat.example/repo ./
`;

const DEB822 = `# a comment
Types: deb deb-src
URIs: http://a.example/debian http://b.example/debian
Suites: trixie trixie-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: sid
Components: main

Types: deb-src
URIs: http://src.example/debian
Suites: sid
Components: main
`;

describe('parseSources', () => {
  it('reads one-line entries with their options in deb822 spelling', () => {
    expect(parseSources([{ name: 'sources.list', text: ONE_LINE }])).toEqual([
      {
        uri: 'http://mirror.example/debian',
        suite: 'bookworm',
        components: ['main', 'contrib'],
        options: new Map(),
      },
      {
        uri: 'https://mirror.example/sec',
        suite: 'bookworm-security',
        components: ['main'],
        options: new Map([
          ['Architectures', 'amd64 arm64'],
          ['Signed-By', '/k.gpg'],
          ['Trusted', 'no'],
        ]),
      },
      { uri: 'http://flat.example/repo', suite: './', components: [], options: new Map() },
    ]);
  });

  it('reads each URI and suite of a stanza, with an embedded key, and no disabled or source stanza', () => {
    const archives = parseSources([{ name: 'debian.sources', text: DEB822 }]);
    expect(archives.map(({ uri, suite }) => `${uri} ${suite}`)).toEqual([
      'http://a.example/debian trixie',
      'http://a.example/debian trixie-updates',
      'http://b.example/debian trixie',
      'http://b.example/debian trixie-updates',
    ]);
    expect(archives[0]!.options.get('Signed-By')).toMatch(/^\n -----BEGIN[^]*mQINBF\n -----END/);
  });

  it('reads back what formatSources writes', () => {
    for (const [name, text] of [['x.list', ONE_LINE] as const, ['x.sources', DEB822] as const]) {
      const archives = parseSources([{ name, text }]);
      expect(parseSources([{ name: 'y.sources', text: formatSources(archives) }])).toEqual(archives);
    }
  });
});

describe('siblingArchives', () => {
  const archives = parseSources([{ name: 'sources.list', text: ONE_LINE }]);

  it('finds another suite at the mirror and under the key that the system uses for its kind', () => {
    const siblings = siblingArchives(archives, 'bookworm', ['trixie', 'trixie-security', 'bookworm']);
    expect(siblings.map(({ uri, suite, components }) => [uri, suite, components])).toEqual([
      ['http://mirror.example/debian', 'trixie', ['main']],
      ['https://mirror.example/sec', 'trixie-security', ['main']],
    ]);
    expect(siblings[1]!.options.get('Signed-By')).toBe('/k.gpg');
  });

  it('makes up no mirror where the system names none', () => {
    expect(siblingArchives([], 'bookworm', ['trixie'])).toEqual([]);
    expect(siblingArchives(archives.slice(0, 1), 'bookworm', ['trixie-security'])).toEqual([]);
  });
});
