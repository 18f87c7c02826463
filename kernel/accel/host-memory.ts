// Memory that the machine's threads needed once. They need much at the start and little later, and malloc keeps it.

import { loadAddon } from '#native/addon.js';

const TRIM_MS = 10_000;

/** Gives it back to the host from time to time, until something has ended. Without the addon it stays. */
export function trimMemory(until: Promise<unknown>): void {
  const native = loadAddon();
  if (!('addon' in native)) return;
  const timer = setInterval(() => native.addon.trimMalloc(), TRIM_MS).unref();
  void until.finally(() => clearInterval(timer));
}
