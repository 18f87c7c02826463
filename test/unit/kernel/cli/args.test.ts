import { describe, expect, it } from 'vitest';
import { RUN_HELP, parseRunArguments } from '#kernel/cli/args.js';
import { TroupeError } from '#shared/base/error.js';

describe('parseRunArguments', () => {
  it('takes what the README shows', () => {
    const line = [
      '--smp',
      '4',
      '--memory',
      '1G',
      '--disk',
      'a.img',
      '--disk',
      'b.img,readonly',
      '--append',
      'a b',
    ];
    expect(parseRunArguments(line)).toMatchObject({
      smp: 4,
      memory: '1G',
      append: 'a b',
      disks: [{ path: 'a.img' }, { path: 'b.img', readonly: true }],
      exec: undefined,
      reboot: true,
      logLevel: undefined,
    });
  });

  it.each([
    [['--smp', 'two']],
    [['--smp']],
    [['--sm', '2']],
    [['stray']],
    [['--log-level', 'loud']],
    [['--trace', 'exec,everything']],
    [['--disk', 'a,b']],
    [['--guest-kernel', '5.4']],
    [['--stats', 'everything']],
  ])('refuses %j in one line with a hint', (line) => {
    let error: unknown;
    try {
      parseRunArguments(line);
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(TroupeError);
    expect((error as TroupeError).code).toBe('bad-flag');
    expect((error as TroupeError).message).not.toContain('\n');
    expect((error as TroupeError).hint).toBeTruthy();
  });

  it('documents every flag', () => {
    for (const flag of [
      'smp',
      'memory',
      'kernel',
      'initrd',
      'append',
      'disk',
      'exec',
      'verbose',
      'log-level',
      'log-file',
      'debug-exit',
      'no-reboot',
      'trace',
      'trace-file',
      'guest-kernel',
      'stats',
      'symbols',
      'help',
    ]) {
      expect(RUN_HELP).toContain(`--${flag}`);
    }
  });
});
