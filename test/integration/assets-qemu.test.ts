// Boots the fetched kernels with our initramfs under QEMU's own processor and devices: what fails here is the fault of
// the assets, not of our machine. Speaks to /init over the ports of a virtio-serial device.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleepMs } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import {
  ControlLines,
  formatExec,
  formatKill,
  OutputMark,
  PORT_CONTROL,
  PORT_STDERR,
  PORT_STDIN,
  PORT_STDOUT,
  type ControlMessage,
} from '#shared/boot/exec-protocol.js';
import { defaultCommandLine } from '#kernel/assets/command-line.js';
import { ensureGuestAssets, type GuestAssets, type GuestAssetsOptions } from '#kernel/assets/guest-assets.js';

const QEMU = 'qemu-system-x86_64';
const BOOT_LIMIT_MS = 20_000;
const PORTS = [PORT_CONTROL, PORT_STDOUT, PORT_STDERR, PORT_STDIN];

type Series = NonNullable<GuestAssetsOptions['kernel']>;

async function reasonToSkip(): Promise<string | undefined> {
  if (spawnSync(QEMU, ['--version']).error) return `${QEMU} is not installed`;
  return ensureGuestAssets({ kernel: '6.1' }).then(
    () => undefined,
    (error: Error) => `no guest assets: ${error.message}`,
  );
}

const skip = await reasonToSkip();
if (skip !== undefined) console.log(`assets-qemu skipped: ${skip}`);

class QemuGuest {
  readonly directory = mkdtempSync(join(tmpdir(), 'troupe-qemu-'));
  readonly process: ChildProcess;
  readonly messages: ControlMessage[] = [];
  readonly sockets = new Map<string, Socket>();
  readonly output = new Map<string, Buffer>();
  readonly exited: Promise<number | null>;
  #id = 0;

  constructor({ kernelPath, initrdPath }: GuestAssets, append: string, devices: readonly string[] = []) {
    const port = (name: string, device: string): string[] => [
      ...['-chardev', `socket,id=${name},path=${join(this.directory, name)},server=on,wait=off`],
      ...['-device', `${device},chardev=${name}`],
    ];
    const serial = ['-device', 'virtio-serial-pci,max_ports=8', ...port('hvc0', 'virtconsole')];
    const named = PORTS.flatMap((name) => port(name, `virtserialport,name=${name}`));
    this.process = spawn(
      QEMU,
      [
        ...['-accel', 'tcg', '-m', '256', '-smp', '2', '-no-reboot', '-nodefaults', '-display', 'none'],
        ...['-kernel', kernelPath, '-initrd', initrdPath, '-append', append],
        ...['-serial', `file:${join(this.directory, 'log')}`],
        ...(devices[0] === 'none' ? [] : [...serial, ...named, ...devices]),
      ],
      { stdio: 'inherit' },
    );
    this.exited = new Promise((resolve) => this.process.once('exit', resolve));
  }

  async open(name: string): Promise<Socket> {
    for (let tries = 0; ; tries++) {
      const socket = connect(join(this.directory, name));
      const opened = await new Promise<boolean>((resolve) => {
        socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      });
      if (opened) {
        this.sockets.set(name, socket);
        socket.on('error', () => {});
        return socket;
      }
      if (tries > 100) throw new Error(`QEMU does not listen on ${name}`);
      await sleepMs(50);
    }
  }

  async boot(): Promise<void> {
    for (const name of ['hvc0', PORT_STDOUT, PORT_STDERR]) {
      this.output.set(name, Buffer.alloc(0));
      const socket = await this.open(name);
      socket.on('data', (chunk) => this.output.set(name, Buffer.concat([this.output.get(name)!, chunk])));
    }
    const lines = new ControlLines();
    (await this.open(PORT_CONTROL)).on('data', (chunk) => this.messages.push(...lines.push(chunk)));
    await this.until('ready', () => this.messages.some(({ kind }) => kind === 'ready'));
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    const deadline = Date.now() + BOOT_LIMIT_MS;
    while (!condition()) {
      if (Date.now() > deadline || this.process.exitCode !== null)
        throw new Error(`no ${what}; ${this.log().slice(-800)}`);
      await sleepMs(20);
    }
  }

  start(command: string, stdin = false): { id: number; finish: () => Promise<Finished> } {
    const id = ++this.#id;
    const mark = `${Math.random().toString(36).slice(2)}0123456789abcdef`;
    const marks = [PORT_STDOUT, PORT_STDERR].map((name) => ({ name, from: this.output.get(name)!.length }));
    this.sockets.get(PORT_CONTROL)!.write(formatExec({ id, command, mark, stdin }));
    const exitOf = () => this.messages.find((message) => message.kind === 'exit' && message.id === id);
    return {
      id,
      finish: async () => {
        await this.until(`exit of '${command}'`, () => exitOf() !== undefined);
        const [stdout, stderr] = await Promise.all(
          marks.map(async ({ name, from }) => {
            const filter = new OutputMark(mark);
            await this.until('mark', () => this.output.get(name)!.subarray(from).includes(mark));
            const output = filter.push(this.output.get(name)!.subarray(from));
            return Buffer.from(output).toString('latin1');
          }),
        );
        return { code: (exitOf() as { code: number }).code, stdout: stdout!, stderr: stderr! };
      },
    };
  }

  run(command: string): Promise<Finished> {
    return this.start(command).finish();
  }

  log(): string {
    const path = join(this.directory, 'log');
    return existsSync(path) ? readFileSync(path, 'latin1') : '';
  }

  async end(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.exited;
    for (const socket of this.sockets.values()) socket.destroy();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

interface Finished {
  code: number;
  stdout: string;
  stderr: string;
}

describe.skipIf(skip !== undefined)('guest assets under QEMU', () => {
  let guest: QemuGuest | undefined;
  const directory = mkdtempSync(join(tmpdir(), 'troupe-disk-'));
  afterEach(async () => {
    await guest?.end();
    guest = undefined;
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  async function boot(series: Series, shell: boolean, devices: readonly string[] = []): Promise<QemuGuest> {
    const assets = await ensureGuestAssets({ kernel: series });
    guest = new QemuGuest(assets, defaultCommandLine({ shell, verbose: true }), devices);
    await guest.boot();
    return guest;
  }

  it.each<Series>(['6.1', '6.12'])('Linux %s runs commands and powers off', async (series) => {
    const disk = join(directory, `${series}.img`);
    spawnSync('truncate', ['-s', '16M', disk]);
    const vm = await boot(series, false, [
      ...['-drive', `if=none,id=d,format=raw,file=${disk}`, '-device', 'virtio-blk-pci,drive=d'],
      ...[
        '-device',
        'virtio-rng-pci',
        '-netdev',
        'user,id=n,restrict=on',
        '-device',
        'virtio-net-pci,netdev=n',
        '-device',
        'virtio-balloon-pci',
      ],
    ]);
    expect(await vm.run('uname -r; nproc; echo oops >&2; exit 3')).toMatchObject({
      code: 3,
      stderr: 'oops\n',
    });
    expect((await vm.run('uname -r')).stdout.startsWith(`${series}.`)).toBe(true);
    const { stdout: devices } = await vm.run('lspci');
    for (const name of ['console', 'block device', 'RNG', 'network device', 'memory balloon']) {
      expect(devices).toContain(`Virtio ${name}`);
    }
    const mounted =
      'mke2fs /dev/vda >/dev/null && mount -t ext4 /dev/vda /mnt && echo kept >/mnt/f && umount /mnt';
    const remounted =
      'mount -t ext4 -o ro /dev/vda /mnt && cat /mnt/f; cat /sys/class/misc/hw_random/rng_current';
    expect(await vm.run(`${mounted} && ${remounted}`)).toEqual({
      code: 0,
      stdout: 'kept\nvirtio_rng.0\n',
      stderr: '',
    });
    // more than the queues hold, and the exit line comes by another port
    const flood = await vm.run('seq 1 40000; seq 1 2000 >&2');
    expect([flood.stdout.length, flood.stderr.length]).toEqual([228_894, 8893]);
    expect((await vm.run('dmesg -r')).stdout).not.toMatch(/^<[0-4]>.*(taint|verification failed|Oops|BUG)/m);
    vm.sockets.get(PORT_CONTROL)!.write('poweroff\n');
    expect(await vm.exited).toBe(0);
    expect(vm.log()).toContain('Power down');
  });

  it('serves stdin to its end, signals, and commands at the same time', async () => {
    const vm = await boot('6.1', false);
    expect(await vm.run('cat; echo end')).toMatchObject({ code: 0, stdout: 'end\n' }); // no stdin asked for
    const stdin = await vm.open(PORT_STDIN);
    const sum = vm.start('sha256sum', true);
    stdin.write(Buffer.alloc(300_000, 'x'));
    stdin.end();
    expect((await sum.finish()).stdout).toMatch(/^[0-9a-f]{64} {2}-\n$/);
    expect((await vm.run('kill -INT $$; echo survived')).code).toBe(128 + 2); // not ignored
    const long = vm.start('sleep 1000; echo never');
    const other = vm.start('sleep 1000 & sleep 1000');
    await sleepMs(300);
    expect((await vm.run('echo between')).stdout).toBe('between\n');
    vm.sockets.get(PORT_CONTROL)!.write(formatKill(long.id));
    await vm.until('the end of the first', () =>
      vm.messages.some((m) => m.kind === 'exit' && m.id === long.id),
    );
    expect(vm.messages).toContainEqual({ kind: 'exit', id: long.id, code: 128 + 15 });
    expect((await vm.run("ps | grep -c ' [s]leep 1000$'")).stdout.trim()).toBe('2');
    vm.sockets.get(PORT_CONTROL)!.write(formatKill(other.id, 'KILL'));
    expect((await other.finish()).code).toBe(128 + 9);
    expect((await vm.run("ps | grep -c ' [s]leep 1000$'")).stdout.trim()).toBe('0');
    vm.sockets.get(PORT_CONTROL)!.write('nonsense\n');
    await vm.until('an answer', () => vm.messages.at(-1)?.kind === 'unrecognised');
    expect(vm.output.get('hvc0')!.length).toBe(0); // no shell was asked for
  });

  it('gives a shell on hvc0 that comes back, and powers off from it', async () => {
    const vm = await boot('6.1', true);
    const type = (text: string) => vm.sockets.get('hvc0')!.write(text);
    const screen = () => vm.output.get('hvc0')!.toString('latin1');
    const prompts = () => screen().match(/root@troupe:\S+# /g)?.length ?? 0;
    await vm.until('prompt', () => prompts() > 0);
    expect(screen()).toMatch(/Linux 6\.1\S* on 2 CPUs/);
    type('tty; exit\n');
    await vm.until('second prompt', () => prompts() > 1);
    expect(screen()).toContain('/dev/hvc0');
    type('sleep 1000\n');
    await sleepMs(300);
    type('\x03'); // job control works: the shell owns its terminal
    await vm.until('third prompt', () => prompts() > 2);
    type('echo back $((6*7))\n');
    await vm.until('the shell back', () => screen().includes('back 42'));
    type('poweroff\n');
    expect(await vm.exited).toBe(0);
  });

  it('falls back to a shell on ttyS0 without a virtio-console', async () => {
    guest = new QemuGuest(await ensureGuestAssets({ kernel: '6.1' }), defaultCommandLine(), ['none']);
    await guest.until('prompt', () => guest!.log().includes('root@troupe'));
    expect(guest.log()).not.toContain('ready');
  });
});
