// The kernel command line that goes with our initramfs. ttyS0 carries the kernel's log (and nothing of the user's),
// hvc0 carries the user's shell. Each word is here because a guest boots faster or fails more plainly with it.

/** What a caller may choose about the command line. */
export interface CommandLineOptions {
  /** The kernel's whole log on ttyS0, from its first instruction on; otherwise only errors. */
  verbose?: boolean;
  /** An interactive shell on hvc0. */
  shell?: boolean;
}

const ALWAYS = [
  'console=ttyS0', // hvc0 stays free of the kernel's log
  'panic=-1', // a panic restarts at once, which the machine sees and ends on
  'mitigations=off', // no other tenant shares this guest's processor state
  'nokaslr', // addresses in a trace match System.map, and no time is spent on relocation
  'cryptomgr.notests', // self-tests of ciphers cost more than the rest of the driver start
  'audit=0',
  'initcall_blacklist=jent_mod_init', // 6.12 tests its jitter source for a tenth of all instructions of a boot
];

/** The words of the default command line that do not depend on options. */
export const DEFAULT_APPEND = ALWAYS.join(' ');

/** The default command line for a guest that boots our initramfs. */
export function defaultCommandLine(options: CommandLineOptions = {}): string {
  const words = [...ALWAYS];
  if (options.verbose === true) words.push('earlyprintk=ttyS0,115200', 'loglevel=7');
  else words.push('quiet', 'loglevel=4');
  if (options.shell === true) words.push('troupe.shell=1');
  return words.join(' ');
}
