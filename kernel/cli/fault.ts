// `troupe fault GUEST ACTOR FAULT`: breaks an actor of a running guest.
import { FAULT_ACTIONS } from '#shared/ipc/fault-plan.js';
import { GuestControl, TroupeError, formatFault, parseFault, parseFaultOf } from '../index.js';

export const FAULT_HELP = `usage: troupe fault GUEST ACTOR FAULT [CLAUSE…]

Breaks an actor of a running guest. FAULT is crash, throw, exit [CODE], oom, hang [asleep], delay TIME, drop, duplicate or
corrupt; it strikes once, at the actor's next turn, unless clauses say otherwise:

  at POINT        at a failpoint (docs/failpoints.md lists them)
  after N|TIME    not before the n-th hit of the point, or before so long from now
  every N|TIME    again at each so many hits, or after so long
  P%              by chance, at each hit
  times N         at most so often;  always: at each hit;  generation N: only of that one

examples:
  troupe fault web virtio-blk-0 crash
  troupe fault web virtio-blk-0 delay 50ms at request.executed 10%
  troupe fault web vcpu drop 1%
`;

export async function fault(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(FAULT_HELP);
    return 0;
  }
  const [name, actor, ...words] = argv;
  if (name === undefined || actor === undefined)
    throw new TroupeError('bad-flag', 'which guest, which actor?', 'troupe fault GUEST ACTOR FAULT');
  if (words.length === 0 && !actor.includes(':'))
    throw new TroupeError('bad-flag', `which fault of ${actor}?`, `use one of ${FAULT_ACTIONS.join(', ')}`);
  const rule = actor.includes(':')
    ? parseFault([actor, ...words].join(' '))
    : parseFaultOf(actor, words.join(' '));
  const guest = await GuestControl.connect(name);
  try {
    await guest.call('inject', rule);
  } finally {
    guest.close();
  }
  process.stdout.write(`${formatFault(rule)}\n`);
  return 0;
}
