// A private apt: lists, caches and sources of its own under Troupe's cache directory, so that no root is needed and
// the system's state stays as it is, but the system's configuration (proxies, credentials, keyrings) and its mirrors.
// apt checks the archive's signature and each package's hash; we check the hash once more before use.
// Leaves out any installation: packages are only downloaded and unpacked.

import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TroupeError } from '#shared/base/error.js';
import { formatSources, parseSources, siblingArchives, type SourceFile } from '#kernel/assets/apt-sources.js';
import { OWN_KERNEL_HINT, runTool, type ToolOptions, type ToolResult } from '#kernel/assets/process.js';

/** One version of a package, as `apt-cache show` describes it. */
export interface PackageVersion {
  name: string;
  version: string;
  depends: string;
  sha256: string | undefined;
}

/** Share of a running transfer that is done, in percent. */
export type TransferListener = (percent: number) => void;

export interface Apt {
  /** Fetches the index of every archive. Rejects only when that leaves none; returns what else apt complains about. */
  update(onTransfer: TransferListener): Promise<string | undefined>;
  /** Age of the index in milliseconds; infinite when there is none. */
  indexAgeMs(): Promise<number>;
  /** Adds suites of the system's own archive; true when that changed the sources. */
  addSuites(suites: readonly string[]): Promise<boolean>;
  /** All versions of a package, the highest first; empty when the archive has none. */
  versions(name: string): Promise<PackageVersion[]>;
  /** Path of the verified `.deb` file. */
  download(wanted: PackageVersion, onTransfer: TransferListener): Promise<string>;
}

/** Opens (and makes, when it is not there) the private apt state in `directory`. */
export async function openApt(directory: string): Promise<Apt> {
  const system = await systemConfiguration();
  const archives = parseSources(await readSourceFiles(system));
  const sourcesFile = join(directory, 'sources.d', 'troupe.sources');
  const options = await prepareState(directory, system);
  const extraSuites: string[] = [];
  const writeSources = async (): Promise<void> => {
    const siblings = siblingArchives(archives, await releaseCodename(), extraSuites);
    await writeFile(sourcesFile, formatSources([...archives, ...siblings]));
  };
  await writeSources();
  const run = (tool: string, args: string[], extra: ToolOptions = {}): Promise<ToolResult> =>
    runTool(tool, [...options, ...args], {
      ...extra,
      env: { ...process.env, APT_CONFIG: join(directory, 'apt.conf') },
    });
  return {
    update: (onTransfer) => update(run, directory, onTransfer),
    indexAgeMs: () => indexAgeMs(directory),
    async addSuites(suites) {
      extraSuites.push(...suites);
      const before = await readFile(sourcesFile, 'utf8');
      await writeSources();
      return (await readFile(sourcesFile, 'utf8')) !== before;
    },
    versions: (name) => versions(run, name),
    download: (wanted, onTransfer) => download(run, directory, wanted, onTransfer),
  };
}

type Run = (tool: string, args: string[], extra?: ToolOptions) => Promise<ToolResult>;

interface SystemConfiguration {
  parts: string;
  main: string;
  sourceList: string;
  sourceParts: string;
}

async function systemConfiguration(): Promise<SystemConfiguration> {
  const { stdout } = await runTool('apt-config', [
    'shell',
    ...['parts', 'Dir::Etc::parts/d', 'main', 'Dir::Etc::main/f'],
    ...['sourceList', 'Dir::Etc::sourcelist/f', 'sourceParts', 'Dir::Etc::sourceparts/d'],
  ]);
  const printed = new Map<string, string>();
  for (const [, key, value] of new TextDecoder().decode(stdout).matchAll(/^(\w+)='(.*)'$/gm))
    printed.set(key!, value!);
  return {
    parts: printed.get('parts') ?? '/etc/apt/apt.conf.d/',
    main: printed.get('main') ?? '/etc/apt/apt.conf',
    sourceList: printed.get('sourceList') ?? '/etc/apt/sources.list',
    sourceParts: printed.get('sourceParts') ?? '/etc/apt/sources.list.d/',
  };
}

async function readSourceFiles(system: SystemConfiguration): Promise<SourceFile[]> {
  const names = await readdir(system.sourceParts).catch(() => []);
  const paths = [
    system.sourceList,
    ...names
      .filter((name) => /\.(list|sources)$/.test(name))
      .sort()
      .map((name) => join(system.sourceParts, name)),
  ];
  const texts = await Promise.all(paths.map((path) => readFile(path, 'utf8').catch(() => '')));
  return paths.map((name, i) => ({ name, text: texts[i]! }));
}

/** Writes the configuration and returns the options that outrank any the system sets. */
async function prepareState(directory: string, system: SystemConfiguration): Promise<string[]> {
  const sub = (name: string): string => join(directory, name);
  for (const name of ['lists/partial', 'cache/archives/partial', 'sources.d', 'none', 'deb'])
    await mkdir(sub(name), { recursive: true });
  await writeFile(sub('status'), '', { flag: 'a' });
  const include = (path: string): string => `#include "${path}";\n`;
  const exists = (path: string): Promise<boolean> =>
    stat(path).then(
      () => true,
      () => false,
    );
  const inherited = process.env['APT_CONFIG'];
  let main = inherited && (await exists(inherited)) ? include(inherited) : '';
  if (await exists(system.parts)) main += include(system.parts.replace(/\/*$/, '/'));
  if (await exists(system.main)) main += include(system.main);
  // hooks of the system would act on the system's own state
  for (const hook of [
    'APT::Update::Pre-Invoke',
    'APT::Update::Post-Invoke',
    'APT::Update::Post-Invoke-Success',
    'DPkg::Post-Invoke',
    'APT::Architectures',
  ]) {
    main += `#clear ${hook};\n`;
  }
  main += 'APT::Architectures { "amd64"; };\n';
  await writeFile(sub('main.conf'), main);
  await writeFile(
    sub('apt.conf'),
    `Dir::Etc::parts "${sub('none')}/";\nDir::Etc::main "${sub('main.conf')}";\n`,
  );
  const settings: Record<string, string> = {
    'Dir::State': directory,
    'Dir::State::lists': `${sub('lists')}/`,
    'Dir::State::status': sub('status'),
    'Dir::Cache': `${sub('cache')}/`,
    'Dir::Cache::archives': `${sub('cache/archives')}/`,
    'Dir::Etc::sourcelist': sub('sources.d/troupe.sources'),
    'Dir::Etc::sourceparts': `${sub('none')}/`,
    'APT::Architecture': 'amd64',
    'APT::Get::AllowUnauthenticated': 'false',
    'APT::Sandbox::User': 'root', // `_apt` may not enter a home directory; apt would only warn and go on
    'Acquire::AllowInsecureRepositories': 'false',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
    'APT::Status-Fd': '3',
    'Dpkg::Use-Pty': 'false',
  };
  return Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
}

async function update(
  run: Run,
  directory: string,
  onTransfer: TransferListener,
): Promise<string | undefined> {
  const result = await run('apt-get', ['-q', 'update'], { onStatusLine: transferLines(onTransfer) });
  // apt may call a passing failure a success; and one archive out of reach does not matter if another has what we want
  if ((await indexAgeMs(directory)) === Infinity)
    throw fetchFailure('cannot fetch the package index', result);
  const complaint = firstComplaint(result);
  if (complaint === undefined) await writeFile(join(directory, 'updated'), '');
  return complaint;
}

async function indexAgeMs(directory: string): Promise<number> {
  const names = await readdir(join(directory, 'lists')).catch(() => []);
  if (!names.some((name) => name.includes('_Packages'))) return Infinity;
  const updated = await stat(join(directory, 'updated')).catch(() => undefined);
  return updated ? Date.now() - updated.mtimeMs : Number.MAX_SAFE_INTEGER;
}

async function versions(run: Run, name: string): Promise<PackageVersion[]> {
  const { stdout } = await run('apt-cache', ['show', '--all-versions', name]);
  return new TextDecoder()
    .decode(stdout)
    .split(/\n\n+/)
    .flatMap((stanza) => {
      const field = (key: string): string | undefined => new RegExp(`^${key}: (.*)$`, 'm').exec(stanza)?.[1];
      const version = field('Version');
      if (field('Package') !== name || version === undefined) return [];
      return [{ name, version, depends: field('Depends') ?? '', sha256: field('SHA256') }];
    });
}

async function download(
  run: Run,
  directory: string,
  wanted: PackageVersion,
  onTransfer: TransferListener,
): Promise<string> {
  const store = join(directory, 'deb');
  const target = join(store, `${wanted.name}_${wanted.version.replaceAll(':', '%3a')}_amd64.deb`);
  if (await verified(target, wanted)) return target;
  const staging = join(store, `partial-${wanted.name}`);
  await mkdir(staging, { recursive: true });
  const result = await run('apt-get', ['-q', 'download', `${wanted.name}=${wanted.version}`], {
    cwd: staging,
    onStatusLine: transferLines(onTransfer),
  });
  const file = (await readdir(staging)).find((name) => name.endsWith('.deb'));
  if (result.code !== 0 || file === undefined)
    throw fetchFailure(`cannot download ${wanted.name} ${wanted.version}`, result);
  if (!(await verified(join(staging, file), wanted))) {
    await rm(staging, { recursive: true, force: true });
    throw new TroupeError(
      'asset-fetch-failed',
      `${wanted.name} ${wanted.version} arrived damaged`,
      'try again',
    );
  }
  await rename(join(staging, file), target);
  await rm(staging, { recursive: true, force: true });
  return target;
}

async function verified(path: string, wanted: PackageVersion): Promise<boolean> {
  const bytes = await readFile(path).catch(() => undefined);
  if (!bytes) return false;
  return wanted.sha256 === undefined || createHash('sha256').update(bytes).digest('hex') === wanted.sha256;
}

/** Lines such as `dlstatus:1:20.5:Retrieving file 1 of 2`. */
function transferLines(onTransfer: TransferListener): (line: string) => void {
  return (line) => {
    const percent = /^dlstatus:\d+:([\d.]+):/.exec(line)?.[1];
    if (percent !== undefined) onTransfer(Math.min(100, Number(percent)));
  };
}

function fetchFailure(what: string, result: ToolResult): TroupeError {
  const complaint = firstComplaint(result);
  return new TroupeError(
    'asset-fetch-failed',
    complaint === undefined ? what : `${what}: ${complaint}`,
    `check the network and the system's apt sources, then try again; or ${OWN_KERNEL_HINT}`,
    { cause: new Error(result.stderr.trim()) },
  );
}

function firstComplaint(result: ToolResult): string | undefined {
  const line = result.stderr
    .split('\n')
    .find((line) => /^[EW]: /.test(line) && !line.includes('unsandboxed'));
  return line?.slice(2).trim();
}

async function releaseCodename(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  return /^VERSION_CODENAME=(\S+)$/m.exec(text)?.[1] ?? 'stable';
}
