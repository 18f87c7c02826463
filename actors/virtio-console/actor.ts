// The virtio-console actor: the guest's terminal, and the named ports over which the kernel runs commands in the guest.
import type { ActorBehaviour, ActorContext } from '#shared/ipc/actor.js';
import { monotonicNs } from '#shared/base/clock.js';
import { assert } from '#shared/base/error.js';
import { MailboxReceiver, MailboxSender } from '#shared/ipc/mailbox.js';
import { KERNEL_NAME, mailboxName } from '#shared/memory/machine-layout.js';
import { createVirtioBehaviour, type VirtioBehaviour } from '#shared/virtio/behaviour.js';
import { CONSOLE_QUEUE_SIZE, consoleQueueCount } from '#shared/virtio/console.js';
import { placeDeviceState } from '#shared/virtio/device-state.js';
import { VirtioConsole } from './device.js';
import { EXEC_PORT_NAMES, inputSource, portCount, type VirtioConsoleParams } from './protocol.js';
import { ConsoleState, stateWords } from './state.js';

/** How soon to look again when the kernel's mailbox is full: its reader does not ring. */
const RETRY_NS = 1e6;

export function createVirtioConsole(ctx: ActorContext): ActorBehaviour {
  const params = ctx.params as VirtioConsoleParams;
  const ports = portCount(params.execPorts);
  const queueSizes = Array.from({ length: consoleQueueCount(ports) }, () => CONSOLE_QUEUE_SIZE);
  const places = placeDeviceState(ctx.statePage, queueSizes, stateWords(ports));
  let behaviour: VirtioBehaviour | undefined = undefined;
  const transport = (): VirtioBehaviour['transport'] | undefined => behaviour?.transport;
  const device = new VirtioConsole({
    views: ctx.views,
    ram: ctx.ram,
    failpoint: ctx.failpoint,
    state: new ConsoleState(ctx.views.u32, places.device),
    names: [undefined, ...EXEC_PORT_NAMES].slice(0, ports),
    inputs: Array.from({ length: ports }, (_, port) => openInput(ctx, port)),
    output: openOutput(ctx),
    discardTerminal: params.output === 'none',
    sizeChanged: () => transport()?.configChanged(),
    serveQueue: (index) => transport()?.serveQueue(index),
    wakeAll: () => transport()?.wakeAll(),
  });
  const inner = createVirtioBehaviour(ctx, device, stateWords(ports));
  behaviour = inner;
  return {
    ...inner,
    poll: (reasons) => {
      const waiting = device.hearKernel();
      for (let queue = 0; waiting >>> queue !== 0; queue++) {
        if (((waiting >>> queue) & 1) !== 0) inner.transport.wake(queue);
      }
      if (device.isBlocked) inner.transport.wakeAll();
      device.isBlocked = false;
      return inner.transport.poll(reasons);
    },
    nextDeadlineNs: () => (device.isBlocked ? monotonicNs() + RETRY_NS : Infinity),
  };
}

/** Not by {@link ActorContext.sendTo}: a restart must not wait for a kernel whose reader is slow. */
function openOutput(ctx: ActorContext): MailboxSender {
  const region = ctx.layout.mailboxes[mailboxName(ctx.name, KERNEL_NAME)];
  const kernel = ctx.layout.actors[KERNEL_NAME];
  assert(region !== undefined && kernel !== undefined, 'the console has an output mailbox');
  return new MailboxSender(ctx.views, region, kernel.doorbell, { ...ctx.senderOptions, postsOnly: true });
}

/** Opened here and not by the loop, which would not sleep while a message waits for a guest that does not read. */
function openInput(ctx: ActorContext, port: number): MailboxReceiver {
  const region = ctx.layout.mailboxes[mailboxName(inputSource(port), ctx.name)];
  assert(region !== undefined, `port ${port} has an input mailbox`);
  return new MailboxReceiver(ctx.views, region, ctx.senderOptions.faults);
}
