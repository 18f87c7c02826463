// What every virtio device's actor is: a transport over the actor's pages, polled by the actor loop, saved as its state page and
// its PCI function's config space and MSI-X region. A device that has more to look at than its queues wraps it.
import type { ActorBehaviour, ActorContext } from '#shared/ipc/actor.js';
import { assert } from '#shared/base/error.js';
import { CodeMap } from '#shared/memory/code-map.js';
import type { PciFunctionLayout } from '#shared/memory/machine-layout.js';
import { createInterruptFabric, deliverMsi } from '#shared/x86/interrupt-delivery.js';
import { PCI_LEGACY_CONFIG_BYTES } from '#shared/pci/registers.js';
import type { VirtioDevice } from '#shared/virtio/device.js';
import { placeDeviceState } from '#shared/virtio/device-state.js';
import { traceDevice } from '#shared/virtio/traced-device.js';
import { VirtioPciTransport } from '#shared/virtio/pci-transport.js';

/** Of the code map: the writer is no vCPU. */
const DEVICE = -1;

export interface VirtioBehaviour extends ActorBehaviour {
  readonly transport: VirtioPciTransport;
  /** The device wrote to RAM: arena offset and length. */
  readonly ramWritten: (offset: number, length: number) => void;
}

/** `deviceWords`: the device's own part of the state page, in 32-bit words. Call {@link ActorContext.serveRegisters} no more. */
export function createVirtioBehaviour(
  ctx: ActorContext,
  device: VirtioDevice,
  deviceWords: number,
): VirtioBehaviour {
  const pci = ctx.layout.pci.find((f) => f.actor === ctx.name && f.bars.length > 0);
  assert(pci !== undefined, `${ctx.name} has a PCI function`);
  const fabric = createInterruptFabric(ctx.memory, ctx.layout, ctx.wire);
  const { ramOffset } = ctx.layout.ram;
  const states = ctx.layout.vcpus.map((vcpu) => vcpu.state);
  const codeMap = new CodeMap(ctx.views.i32, ctx.layout.shared.codeMap, ramOffset, states);
  const tracer = ctx.trace?.virtio === true ? ctx.trace : undefined;
  // DMA may land on code that a vCPU has decoded.
  const ramWritten = (offset: number, length: number): void => void codeMap.noteWrite(offset, length, DEVICE);
  const transport = new VirtioPciTransport(
    {
      views: ctx.views,
      ram: ctx.ram,
      failpoint: ctx.failpoint,
      requestDone: ctx.noteWork,
      trace: tracer && ((text) => tracer.event('virtio', text)),
      statePage: ctx.statePage,
      registerPage: ctx.registerPage,
      pci,
      ramWritten,
      sendMsi: (addressLo, addressHi, data) => void deliverMsi(fabric, addressLo, addressHi, data),
      onGuestError: (error, queue) => ctx.log.warn({ error, queue }, 'guest broke a virtio rule'),
    },
    traceDevice(device, ctx.trace),
    deviceWords,
  );
  ctx.serveRegisters(transport);
  const parts = savedParts(ctx, device, deviceWords, pci);
  return {
    transport,
    ramWritten,
    poll: (reasons) => transport.poll(reasons),
    pause: () => {},
    resume: () => {},
    save: () => saveParts(ctx.views.u8, parts),
    restore: (state) => {
      restoreParts(ctx.views.u8, parts, state);
      transport.recover();
    },
    reset: () => transport.reset(),
    halt: () => {},
    inspect: () => ({ status: transport.status, features: transport.features }),
  };
}

interface Part {
  readonly offset: number;
  readonly bytes: number;
}

function savedParts(
  ctx: ActorContext,
  device: VirtioDevice,
  deviceWords: number,
  pci: PciFunctionLayout,
): readonly Part[] {
  const places = placeDeviceState(ctx.statePage, device.queueSizes, deviceWords);
  return [
    { offset: places.header, bytes: places.end - places.header },
    { offset: pci.config.offset, bytes: PCI_LEGACY_CONFIG_BYTES },
    pci.msix,
  ];
}

function saveParts(u8: Uint8Array, parts: readonly Part[]): Uint8Array {
  const state = new Uint8Array(parts.reduce((sum, part) => sum + part.bytes, 0));
  let at = 0;
  for (const { offset, bytes } of parts) {
    state.set(u8.subarray(offset, offset + bytes), at);
    at += bytes;
  }
  return state;
}

function restoreParts(u8: Uint8Array, parts: readonly Part[], state: Uint8Array): void {
  let at = 0;
  for (const { offset, bytes } of parts) {
    u8.set(state.subarray(at, at + bytes), offset);
    at += bytes;
  }
  assert(at === state.length, 'saved state is of this device');
}
