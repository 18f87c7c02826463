// The kill matrix: every kind of actor × every failpoint that it passes × every fault that means something there. Cells that end
// the guest by design (a vCPU that dies inside guest code) are not in it.
import { FAILPOINTS, type FailpointName } from '#shared/ipc/failpoint-catalogue.js';
import { FAULT_ACTIONS, MESSAGE_ACTIONS, type FaultAction, type FaultRule } from '#shared/ipc/fault-plan.js';

export interface MatrixCell {
  readonly kind: string;
  readonly point: FailpointName;
  readonly action: FaultAction;
}

export const MATRIX_KINDS = [
  'vcpu',
  'chipset',
  'uart',
  'virtio-blk',
  'virtio-console',
  'virtio-rng',
  'compiler',
] as const;

export function cellName({ kind, point, action }: MatrixCell): string {
  return `${kind} ${action} at ${point}`;
}

export function killMatrix(): MatrixCell[] {
  return MATRIX_KINDS.flatMap((kind) =>
    pointsOf(kind).flatMap((point) =>
      FAULT_ACTIONS.filter((action) => means(kind, point, action)).map((action) => ({ kind, point, action })),
    ),
  );
}

function pointsOf(kind: string): FailpointName[] {
  return (Object.keys(FAILPOINTS) as FailpointName[]).filter((point) => {
    const { kinds } = FAILPOINTS[point];
    return kinds === 'all' || (kinds as readonly string[]).includes(kind);
  });
}

function means(kind: string, point: FailpointName, action: FaultAction): boolean {
  const ofMessage = point.startsWith('message.');
  if (MESSAGE_ACTIONS.has(action))
    return ofMessage && !(action === 'duplicate' && point === 'message.answer');
  // There a vCPU is inside guest code.
  if (kind === 'vcpu' && (ofMessage || point === 'device.access')) return action === 'delay';
  return true;
}

/** Ends the actor's thread. */
function isDeadly({ action }: MatrixCell): boolean {
  return action !== 'delay' && !MESSAGE_ACTIONS.has(action);
}

/**
 * Cells of a kind that take turns in striking: those that leave the actor alive; those that end a device; those that end one where its
 * driver comes or goes, which the workload passes less often; and those that end what runs the guest's code.
 */
export type Lane = 'mild' | 'device' | 'driver' | 'engine';

const DRIVER_POINTS: ReadonlySet<FailpointName> = new Set([
  'status.written',
  'queue.enabled',
  'reset.begun',
  'config.write',
]);

export function laneOf(cell: MatrixCell): Lane {
  if (!isDeadly(cell)) return 'mild';
  if (cell.kind === 'vcpu' || cell.kind === 'compiler') return 'engine';
  return DRIVER_POINTS.has(cell.point) ? 'driver' : 'device';
}

/** When a cell strikes. */
export type CellTimes = Pick<FaultRule, 'after' | 'every' | 'atMs' | 'everyMs' | 'times'>;

/** The cell as a rule. */
export function cellRule(cell: MatrixCell, times: CellTimes): FaultRule {
  const { kind, point, action } = cell;
  return { actor: kind, action, point, ...times, ...(action === 'delay' && { delayMs: 5 }) };
}
