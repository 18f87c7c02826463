// Loads the native addon, where there is one: built at install (scripts/build-native.mjs) or carried by a release. It is not
// loaded before something asks for KVM, and nothing else in the tree calls ioctl or mmap.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** A descriptor with one owner; closed by close() or with its object. `fd` is −1 afterwards. */
export interface OwnedFd {
  readonly fd: number;
  close(): void;
}

/** Structures of fixed size that {@link Addon.getState} and {@link Addon.setState} move, and the two lists. */
export type StateName =
  | 'regs'
  | 'sregs'
  | 'sregs2'
  | 'fpu'
  | 'xsave'
  | 'xcrs'
  | 'lapic'
  | 'vcpu-events'
  | 'mp-state'
  | 'debugregs'
  | 'irqchip'
  | 'pit2'
  | 'clock'
  | 'msrs'
  | 'cpuid2'
  | 'interrupt'
  | 'guest-debug';

/** The addon's calls; native/src says what each does. Each throws a {@link KvmError} when the host refuses. */
export interface Addon {
  openDevice(path: string): OwnedFd;
  apiVersion(system: number): number;
  checkExtension(fd: number, capability: number): number;
  vcpuMmapSize(system: number): number;
  createVm(system: number): OwnedFd;
  supportedCpuid(system: number): Uint32Array;
  msrIndexList(system: number, features: boolean): Uint32Array;

  setMemory(vm: number, slot: number, flags: number, guestAddress: number, region: Uint8Array): void;
  enableCapability(fd: number, capability: number, ...values: number[]): void;
  setTssAddress(vm: number, address: number): void;
  setIdentityMapAddress(vm: number, address: number): void;
  createIrqchip(vm: number): void;
  createPit2(vm: number): void;
  irqLine(vm: number, gsi: number, level: number): void;
  signalMsi(vm: number, addressLow: number, addressHigh: number, data: number): boolean;
  setMsiRoutes(vm: number, routes: Uint32Array): void;
  irqfd(vm: number, eventfd: number, gsi: number, assign: boolean, resampleFd: number): void;
  ioeventfd(vm: number, eventfd: number, flags: number, address: number, bytes: number, datum: number): void;
  dirtyLog(vm: number, slot: number, bitmap: Uint8Array): void;
  clearDirtyLog(vm: number, slot: number, firstPage: number, pages: number, bitmap: Uint8Array): void;
  resetDirtyRings(vm: number): number;
  createVcpu(vm: number, id: number): OwnedFd;

  openVcpu(vcpu: number, runPage: Uint8Array): number;
  closeVcpu(handle: number): void;
  runVcpu(handle: number): number;
  kickVcpu(handle: number): boolean;
  getState(fd: number, name: StateName, buffer: Uint8Array): number;
  setState(fd: number, name: StateName, buffer: Uint8Array): number;
  stateBytes(name: StateName): number;
  tscKhz(vcpu: number): number;
  setTscKhz(vcpu: number, khz: number): void;
  nmi(vcpu: number): void;
  clockStopped(vcpu: number): boolean;

  mapOver(region: Uint8Array, fd: number, fileOffset: number): void;
  unmapOver(region: Uint8Array): void;
  createEventfd(): OwnedFd;

  /** Gives what malloc keeps back to the host; true when that was something. */
  trimMalloc(): boolean;
}

/** What the addon throws when the host refuses. */
export interface KvmError extends Error {
  /** 'EACCES' and the like. */
  readonly code: string;
  readonly errno: number;
  /** The call that failed: 'KVM_RUN', 'open', 'mmap' … */
  readonly ioctl: string;
  readonly hint: string;
}

export function isKvmError(error: unknown): error is KvmError {
  return error instanceof Error && 'ioctl' in error && 'errno' in error;
}

/** Relative to this file as a source and as a build. */
const PLACES = [
  '../dist/native/troupe-native.node',
  './troupe-native.node',
  '../prebuilds/linux-x64/troupe-native.node',
  '../../prebuilds/linux-x64/troupe-native.node',
];

let loaded: Addon | undefined;

/** The addon, or why there is none. */
export function loadAddon(): { readonly addon: Addon } | { readonly missing: string } {
  if (loaded !== undefined) return { addon: loaded };
  if (process.platform !== 'linux' || process.arch !== 'x64') return { missing: 'KVM needs Linux on x86-64' };
  const path = PLACES.map((place) => fileURLToPath(new URL(place, import.meta.url))).find(existsSync);
  if (path === undefined) return { missing: 'the native addon was not built' };
  try {
    loaded = createRequire(import.meta.url)(path) as Addon;
    return { addon: loaded };
  } catch (error) {
    return { missing: `the native addon does not load: ${(error as Error).message}` };
  }
}

/** The addon; throws where there is none. For threads that are told to use KVM. */
export function requireAddon(): Addon {
  const result = loadAddon();
  if ('missing' in result) throw new Error(result.missing);
  return result.addon;
}
