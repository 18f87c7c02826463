// The mailbox as it would be without failpoints: its compiled module with their three places cut out, written beside this one. What
// the failpoints cost is then measured by the same loop, in both threads, over this module and over the real one.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { assert } from '#shared/base/error.js';

const REAL = new URL('../../shared/ipc/mailbox.js', import.meta.url);
const written: URL[] = [];

/** Each must be there once. */
const CUTS: readonly (readonly [RegExp, string])[] = [
  [/return this\.#postArmed\([^;]*;/, "throw new MailboxDamage('a stale sender posts');"],
  [/ && this\.#missesMessage\(slot\)\)/, ')'],
  [/return this\.#completeArmed\(answerBytes\);/, 'return;'],
];

/** The address of a module without failpoints; each call makes another one, all alike. */
export function writeBareMailbox(): string {
  let source = readFileSync(REAL, 'utf8');
  for (const [pattern, replacement] of CUTS) {
    assert(pattern.test(source), `the mailbox has ${String(pattern)}`);
    source = source.replace(pattern, replacement);
  }
  const copy = new URL(`./bare-mailbox-${process.pid}-${written.length}.js`, import.meta.url);
  writeFileSync(copy, source);
  written.push(copy);
  return copy.href;
}

export function removeBareMailboxes(): void {
  for (const copy of written.splice(0)) rmSync(fileURLToPath(copy), { force: true });
}
