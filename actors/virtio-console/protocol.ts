// What the kernel and the console actor say to each other, over the mailboxes `kernel->virtio-console-0` and back. A message's
// kind is (verb << 8 | port); its payload is bytes of that port's stream unless the verb says otherwise.

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
/** Kernel → actor: the host's end of the port closed (the guest reads end of file) or opened again. No payload. */
export const VERB_CLOSE = 1;
export const VERB_OPEN = 2;
/** Kernel → actor: the terminal's size; payload columns u16, rows u16, little endian. */
export const VERB_RESIZE = 3;

export function messageKind(verb: number, port: number): number {
  return (verb << 8) | port;
}

export interface VirtioConsoleParams {
  /** Where the terminal's output goes: a file descriptor, the kernel's mailbox, or nowhere. Other ports go to the kernel. */
  readonly output: number | 'kernel' | 'none';
  readonly execPorts: boolean;
}
