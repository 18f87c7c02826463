// What this host can do for Troupe, thing by thing, with the fix for each lack: `troupe doctor`. Looks, changes nothing.

import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { examineKvm, type KvmReport } from './kvm-report.js';

export interface HostFinding {
  readonly name: string;
  /** `limited`: it works, with a defect. */
  readonly state: 'ok' | 'limited' | 'missing';
  readonly detail: string;
  /** Present where something is to be mended. */
  readonly fix?: string;
}

/** The host as the report sees it; tests make one up. */
export interface HostView {
  readonly kvm: () => KvmReport;
  readonly platform: string;
  readonly nodeVersion: string;
  /** A text file's content, or undefined. */
  read(path: string): string | undefined;
  exists(path: string): boolean;
  canUse(path: string): boolean;
  /** Whether a program stands on PATH. */
  hasProgram(name: string): boolean;
}

export const REAL_VIEW: HostView = {
  kvm: () => examineKvm(),
  platform: `${process.platform}-${process.arch}`,
  nodeVersion: process.versions.node,
  read: (path) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
  },
  exists: existsSync,
  canUse: (path) => isAccessible(path, constants.R_OK | constants.W_OK),
  hasProgram: (name) =>
    (process.env['PATH'] ?? '')
      .split(delimiter)
      .some((folder) => isAccessible(join(folder, name), constants.X_OK)),
};

function isAccessible(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

export function examineHost(view: HostView = REAL_VIEW): HostFinding[] {
  return [
    { name: 'host', state: 'ok', detail: `${view.platform}, Node ${view.nodeVersion}` },
    kvmFinding(view.kvm()),
    deviceFinding(view, 'userfaultfd', '/dev/userfaultfd', 'sudo chmod 666 /dev/userfaultfd'),
    deviceFinding(view, 'tap', '/dev/net/tun', 'sudo modprobe tun, or run as root'),
    ksmFinding(view),
    hugepageFinding(view),
    ...IMAGE_TOOLS.map(([program, what, packageName]) => toolFinding(view, program, what, packageName)),
  ];
}

/** What the stock guest is made with, and what helps with disk images. */
const IMAGE_TOOLS = [
  ['apt-get', 'fetches the stock guest kernel', 'apt'],
  ['dpkg-deb', 'unpacks it', 'dpkg'],
  ['qemu-img', 'converts disk images', 'qemu-utils'],
] as const;

function kvmFinding({ state, reason, hint }: KvmReport): HostFinding {
  const verdict = state === 'usable' ? 'ok' : state === 'emulating' ? 'limited' : 'missing';
  const detail = `${reason} (${state})`;
  return { name: 'kvm', state: verdict, detail, ...(hint === undefined ? {} : { fix: hint }) };
}

function deviceFinding(view: HostView, name: string, path: string, fix: string): HostFinding {
  if (view.canUse(path)) return { name, state: 'ok', detail: path };
  const detail = view.exists(path) ? `no permission for ${path}` : `there is no ${path}`;
  return { name, state: 'missing', detail, fix };
}

function ksmFinding(view: HostView): HostFinding {
  const run = view.read('/sys/kernel/mm/ksm/run')?.trim();
  if (run === '1') return { name: 'ksm', state: 'ok', detail: 'the kernel merges pages' };
  if (run === undefined)
    return {
      name: 'ksm',
      state: 'missing',
      detail: 'the kernel has no KSM',
      fix: 'use a kernel with CONFIG_KSM',
    };
  const fix = 'echo 1 | sudo tee /sys/kernel/mm/ksm/run';
  return { name: 'ksm', state: 'limited', detail: 'the kernel has it switched off', fix };
}

function hugepageFinding(view: HostView): HostFinding {
  const modes = view.read('/sys/kernel/mm/transparent_hugepage/enabled')?.trim();
  const mode = /\[(\w+)\]/.exec(modes ?? '')?.[1];
  if (mode === 'always' || mode === 'madvise')
    return { name: 'hugepages', state: 'ok', detail: `transparent, ${mode}` };
  const fix = 'echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled';
  return { name: 'hugepages', state: 'missing', detail: `transparent ones are ${mode ?? 'not there'}`, fix };
}

function toolFinding(view: HostView, program: string, what: string, packageName: string): HostFinding {
  if (view.hasProgram(program)) return { name: program, state: 'ok', detail: what };
  const fix = `apt-get install ${packageName}`;
  return { name: program, state: 'missing', detail: `${what}; it is not on PATH`, fix };
}
