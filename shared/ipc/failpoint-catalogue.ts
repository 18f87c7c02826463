// Every failpoint there is: where an actor stands when a fault strikes there, and which kinds of actor pass it. The type of a
// point's name follows from this table, so no point can be missing from it; docs/failpoints.md is made from it.

/** An actor's kind, as its folder is called. */
type ActorKind = 'vcpu' | 'chipset' | 'uart' | 'virtio-blk' | 'virtio-console' | 'virtio-rng' | 'compiler';

interface FailpointEntry {
  readonly kinds: readonly ActorKind[] | 'all';
  readonly where: string;
}

const VIRTIO = ['virtio-blk', 'virtio-console', 'virtio-rng'] as const;
const CONSOLE = ['virtio-console'] as const;
const UART = ['uart'] as const;
const SENDERS = ['vcpu', 'virtio-console', 'compiler'] as const;
const RECEIVERS = ['vcpu', 'uart', ...VIRTIO, 'compiler'] as const;

export const FAILPOINTS = {
  loop: { kinds: 'all', where: 'a turn of the loop begins; of a vCPU: its state is exact' },
  start: { kinds: 'all', where: 'the worker runs, the actor does not exist yet' },
  run: { kinds: ['vcpu'], where: 'the engine is about to be entered; the state is exact' },
  'device.access': {
    kinds: ['vcpu'],
    where: 'inside the engine, at an access to a device; the state is not exact',
  },
  compile: {
    kinds: ['compiler'],
    where: 'requests were taken from their ring; their answers do not exist yet',
  },
  tick: { kinds: ['chipset'], where: 'before expired timers are signalled' },
  access: { kinds: UART, where: 'a register access is about to be obeyed' },
  obeyed: { kinds: UART, where: 'the access is recorded; its effects show not yet' },
  flush: { kinds: UART, where: 'output was handed over; the kernel is not told' },
  'inflight.set': { kinds: VIRTIO, where: 'a request is in the in-flight set, its position not taken' },
  'request.received': { kinds: VIRTIO, where: 'the position is taken too' },
  'request.executed': { kinds: VIRTIO, where: 'the request was carried out; the guest does not know' },
  'used.writing': { kinds: VIRTIO, where: 'the used element stands, the used index does not' },
  'used.written': { kinds: VIRTIO, where: 'the guest sees the completion, the in-flight set does not' },
  'inflight.clearing': { kinds: VIRTIO, where: 'the in-flight mark is cleared, the used index not counted' },
  'request.completed': { kinds: VIRTIO, where: 'all of a completion is settled; its interrupt is not sent' },
  'interrupt.sending': { kinds: VIRTIO, where: 'an interrupt is about to be sent' },
  'status.written': { kinds: VIRTIO, where: 'the driver wrote the device status; it has not taken effect' },
  'queue.enabled': { kinds: VIRTIO, where: 'a queue is enabled, its first look is due' },
  'reset.begun': { kinds: VIRTIO, where: 'the device status is zero, the queues are not reset' },
  'config.write': { kinds: VIRTIO, where: 'the driver wrote into the device configuration' },
  'config.changed': { kinds: CONSOLE, where: 'the configuration changed; its interrupt is not sent' },
  'output.posting': { kinds: CONSOLE, where: 'output is about to be published to the kernel' },
  'output.posted': { kinds: CONSOLE, where: 'output is published, its request still in flight' },
  'input.consumed': { kinds: CONSOLE, where: 'input is in the guest, its message not answered' },
  'input.obeyed': { kinds: CONSOLE, where: 'a command of the kernel is obeyed, its message not answered' },
  'message.send': { kinds: SENDERS, where: 'a message stands in its slot and is about to be published' },
  'message.answer': { kinds: RECEIVERS, where: 'a message was obeyed; its answer is about to be published' },
  'message.receive': { kinds: RECEIVERS, where: 'a message was found in the ring and is not read yet' },
} as const satisfies Record<string, FailpointEntry>;

export type FailpointName = keyof typeof FAILPOINTS;
