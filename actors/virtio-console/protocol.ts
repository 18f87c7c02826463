// What the kernel and the console actor say to each other: mailboxes `kernel/PORT->virtio-console-0`, one a port so that a reader who
// does not read holds up no other port, and one mailbox back. A message's kind is (verb << 8 | port); its payload is
// bytes of that port's stream unless the verb says otherwise.
import { KERNEL_NAME } from '#shared/memory/machine-layout.js';

/** The terminal, hvc0 in a Linux guest. */
export const CONSOLE_PORT = 0;
/** Names of the ports that follow, from 1 on, when the machine serves exec. */
export const EXEC_PORT_NAMES = ['troupe.control', 'troupe.stdout', 'troupe.stderr', 'troupe.stdin'] as const;
export const CONTROL_PORT = 1;
export const STDOUT_PORT = 2;
export const STDERR_PORT = 3;
export const STDIN_PORT = 4;

/** Both ways: bytes of the stream. */
export const VERB_DATA = 0;
/**
 * Kernel → actor: the host's end of the port closed (the guest reads end of file) or opened again. No payload. All
 * ports but stdin are open from the start.
 */
export const VERB_CLOSE = 1;
export const VERB_OPEN = 2;
/** Kernel → actor: the terminal's size; payload columns u16, rows u16, little endian. */
export const VERB_RESIZE = 3;

export function messageKind(verb: number, port: number): number {
  return (verb << 8) | port;
}

/** The sender's name of a port's input mailbox. */
export function inputSource(port: number): string {
  return `${KERNEL_NAME}/${port}`;
}

export interface VirtioConsoleParams {
  /** Where the terminal's output goes: the kernel's mailbox, or nowhere. Other ports go to the kernel. */
  readonly output: 'kernel' | 'none';
  readonly execPorts: boolean;
}

/** Ports of a console with these parameters. */
export function portCount(execPorts: boolean): number {
  return execPorts ? 1 + EXEC_PORT_NAMES.length : 1;
}
