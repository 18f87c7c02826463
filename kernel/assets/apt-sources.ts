// Derives the private apt sources from the system's: one-line `.list` files and deb822 `.sources` files (see
// sources.list(5)). Everything the system trusts and downloads from is kept, and where a kernel series lives in
// another suite of the same archive, that suite is added at the mirror the system already uses, under the same
// keyring. Pure: reading and writing files is the caller's.

export interface SourceFile {
  name: string;
  text: string;
}

/** One archive as deb822 stanzas and one-line entries both describe it. */
export interface Archive {
  uri: string;
  suite: string;
  components: string[];
  /** Options in deb822 spelling, such as `Signed-By`, verbatim. */
  options: Map<string, string>;
}

/** Every binary archive that the files name and do not disable. */
export function parseSources(files: readonly SourceFile[]): Archive[] {
  return files.flatMap(({ name, text }) =>
    name.endsWith('.sources') ? parseDeb822(text) : parseOneLine(text),
  );
}

/** The archives as a `.sources` file. */
export function formatSources(archives: readonly Archive[]): string {
  return archives
    .map(({ uri, suite, components, options }) =>
      [
        'Types: deb',
        `URIs: ${uri}`,
        `Suites: ${suite}`,
        ...(components.length > 0 ? [`Components: ${components.join(' ')}`] : []),
        ...[...options].map(([key, value]) => `${key}: ${value}`),
        '',
      ].join('\n'),
    )
    .join('\n');
}

/**
 * The archives that hold `suites`, at the mirrors `archives` use: a `-security` suite lives where the system's own
 * security suite does, any other where the system's release does. Suites that are there already, or for which the
 * system names no mirror, are left out.
 */
export function siblingArchives(
  archives: readonly Archive[],
  codename: string,
  suites: readonly string[],
): Archive[] {
  const isSecurity = (suite: string): boolean => suite.endsWith('-security') || suite.endsWith('/updates');
  const release =
    archives.find(({ suite }) => suite === codename || suite === 'stable') ??
    archives.find(({ suite }) => suite.startsWith(codename) && !isSecurity(suite));
  const security = archives.find(({ suite }) => isSecurity(suite));
  return suites
    .filter((suite) => !archives.some((archive) => archive.suite === suite))
    .flatMap((suite) => {
      const mirror = isSecurity(suite) ? security : release;
      return mirror ? [{ ...mirror, suite, components: ['main'] }] : [];
    });
}

function parseOneLine(text: string): Archive[] {
  return text.split('\n').flatMap((raw) => {
    const line = raw.replace(/#.*/, '').trim();
    const match = /^deb\s+(?:\[(.*?)\]\s*)?(\S+)\s+(\S+)\s*(.*)$/.exec(line);
    if (!match) return [];
    const [, optionText, uri, suite, components] = match;
    const options = new Map<string, string>();
    for (const option of (optionText ?? '').split(/\s+/).filter(Boolean)) {
      const [key, value] = option.split('=', 2);
      if (key && value !== undefined) options.set(deb822Name(key), value.replaceAll(',', ' '));
    }
    return [{ uri: uri!, suite: suite!, components: components!.split(/\s+/).filter(Boolean), options }];
  });
}

/** One-line options are the deb822 fields in other spelling. */
function deb822Name(option: string): string {
  const names: Record<string, string> = { arch: 'Architectures', lang: 'Languages', target: 'Targets' };
  return (
    names[option] ??
    option
      .split('-')
      .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
      .join('-')
  );
}

const OWN_FIELDS = new Set(['types', 'uris', 'suites', 'components', 'enabled', 'x-repolib-name']);

function parseDeb822(text: string): Archive[] {
  return text
    .split(/\n(?:[ \t]*\n)+/)
    .map(parseStanza)
    .flatMap((fields) => {
      const words = (key: string): string[] => (fields.get(key)?.value ?? '').split(/\s+/).filter(Boolean);
      if (!words('types').includes('deb') || fields.get('enabled')?.value.trim() === 'no') return [];
      const options = new Map<string, string>();
      for (const [key, { name, value }] of fields) if (!OWN_FIELDS.has(key)) options.set(name, value);
      return words('uris').flatMap((uri) =>
        words('suites').map((suite) => ({ uri, suite, components: words('components'), options })),
      );
    });
}

function parseStanza(text: string): Map<string, { name: string; value: string }> {
  const fields = new Map<string, { name: string; value: string }>();
  let last: { name: string; value: string } | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) continue;
    if (/^[ \t]/.test(line)) {
      if (last) last.value += `\n${line}`; // a keyring may stand in the stanza itself
      continue;
    }
    const match = /^([^:\s]+):[ \t]*(.*)$/.exec(line);
    if (!match) continue;
    last = { name: match[1]!, value: match[2]! };
    fields.set(last.name.toLowerCase(), last);
  }
  return fields;
}
