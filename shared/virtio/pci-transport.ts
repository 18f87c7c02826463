// The device's side of virtio over PCI: the common configuration structure, ISR status, device configuration, feature
// negotiation, reset, and the turn that serves notified queues. virtio-v1.2 §2.1–§2.5, §3.1, §4.1.4.3–§4.1.5. All of its state
// is in the state page, so that a new generation goes on where the last one died. Register accesses may arrive twice
// (a mailbox delivers at least once): every write here is idempotent. Leaves out: packed rings, INTx.
import { BELL_CONFIG } from '#shared/ipc/doorbell.js';
import type { Region } from '#shared/base/region.js';
import type { RegisterHandler } from '#shared/ipc/register-bus.js';
import type { PciFunctionLayout } from '#shared/memory/machine-layout.js';
import { allOnes } from '#shared/pci/config-space.js';
import { MsixFunction, type SendMsi } from '#shared/pci/msix.js';
import { PCI_COMMAND, PCI_MSIX_FLAGS } from '#shared/pci/registers.js';
import * as C from '#shared/virtio/constants.js';
import * as D from '#shared/virtio/device-state.js';
import type { GuestError, VirtioDevice } from '#shared/virtio/device.js';
import {
  featureSet,
  hasFeature,
  isSubset,
  unionFeatures,
  type FeatureSet,
} from '#shared/virtio/feature-set.js';
import * as P from '#shared/virtio/pci-layout.js';
import { DeviceQueue, type QueueEnvironment } from '#shared/virtio/queue.js';
import * as Q from '#shared/virtio/queue-state.js';
import * as B from '#shared/virtio/routines/service-block.js';

export const TRANSPORT_FEATURES: FeatureSet = featureSet(
  C.VIRTIO_F_INDIRECT_DESC,
  C.VIRTIO_F_EVENT_IDX,
  C.VIRTIO_F_VERSION_1,
  C.VIRTIO_F_RING_RESET,
);

const STATUS_BITS = 0xff;

export interface TransportEnvironment extends QueueEnvironment {
  readonly statePage: Region;
  readonly registerPage: Region;
  readonly pci: PciFunctionLayout;
  readonly sendMsi: SendMsi;
  /** For the log and for tests. */
  readonly onGuestError?: (error: GuestError, queue: number) => void;
}

export class VirtioPciTransport implements RegisterHandler {
  readonly queues: readonly DeviceQueue[];
  readonly #env: TransportEnvironment;
  readonly #device: VirtioDevice;
  readonly #offered: FeatureSet;
  readonly #u32: Uint32Array;
  readonly #state: number;
  readonly #msix: MsixFunction;
  /** Queues to serve, a bit each; of the notified ones and those that have more. */
  #notified = 0;
  /** Vectors that an earlier generation may have died before sending. */
  #owesInterrupts = false;

  constructor(env: TransportEnvironment, device: VirtioDevice, deviceWords: number) {
    const places = D.placeDeviceState(env.statePage, device.queueSizes, deviceWords);
    this.#env = env;
    this.#device = device;
    this.#offered = unionFeatures(device.features, TRANSPORT_FEATURES);
    this.#u32 = env.views.u32;
    this.#state = places.header >>> 2;
    this.#msix = new MsixFunction(env.views, env.pci, P.msixPlace(device.queueSizes.length), env.sendMsi);
    this.queues = device.queueSizes.map((size, i) => new DeviceQueue(env, places.queues[i]!, size, i));
    this.recover();
  }

  /** Takes up what the state page says; called anew after a restore of the page. */
  recover(): void {
    if (this.#get(D.STATE_FORMAT) !== D.STATE_MAGIC) {
      this.reset();
      this.#set(D.STATE_DEVICE_ID, this.#device.deviceId);
      this.#set(D.STATE_FORMAT, D.STATE_MAGIC);
      return;
    }
    const features = this.features;
    this.queues.forEach((queue, index) => {
      queue.close();
      if (queue.get(Q.QUEUE_ENABLED) === 0) return;
      this.#configure(queue, features);
      const error = queue.open();
      if (error !== undefined) this.#needsReset(error, index);
      else if (this.#isLive) queue.recover((word) => this.#device.recoverCommit?.(index, word));
    });
    if (this.#isLive) this.#device.start(features);
    this.#notified = -1;
    this.#owesInterrupts = true;
  }

  /** As negotiated. */
  get features(): FeatureSet {
    return { lo: this.#get(D.DRIVER_FEATURE), hi: this.#get(D.DRIVER_FEATURE + 1) };
  }

  get status(): number {
    return this.#get(D.DEVICE_STATUS);
  }

  /** One turn: true when something was done or is left to do. `reasons`: BELL_* bits. */
  poll(reasons: number): boolean {
    if ((reasons & BELL_CONFIG) !== 0) {
      this.#msix.sendPending();
      this.#notified = -1; // bus mastering may have been switched on
    }
    const pendingWord = (this.#env.registerPage.offset + P.PENDING_QUEUES_OFFSET) >>> 2;
    if (Atomics.load(this.#u32, pendingWord) !== 0) {
      this.#notified |= Atomics.exchange(this.#u32, pendingWord, 0);
    }
    if (this.#owesInterrupts) this.#sendOwedInterrupts();
    if (this.#notified === 0 || !this.#isLive || !this.#msix.isBusMaster) return false;
    const turn = this.#notified;
    this.#notified = 0;
    for (let index = 0; index < this.queues.length && this.#isLive; index++) {
      if ((turn & (1 << index)) !== 0 && this.queues[index]!.isOpen) this.#serve(index);
    }
    return this.#notified !== 0;
  }

  /** The device has work for a queue without a notification of the driver's. */
  wake(index: number): void {
    this.#notified |= 1 << index;
  }

  /** All queues have. */
  wakeAll(): void {
    this.#notified = -1;
  }

  /** Serves a queue ahead of its turn, from within another's. */
  serveQueue(index: number): void {
    if (this.#isLive && this.#msix.isBusMaster && this.queues[index]!.isOpen) this.#serve(index);
  }

  /** Device configuration changed: a new generation of it, and an interrupt. */
  configChanged(): void {
    this.#set(D.CONFIG_CHANGING, 1);
    this.#set(D.CONFIG_GENERATION, (this.#get(D.CONFIG_GENERATION) + 1) & 0xff);
    this.#interruptConfig();
  }

  read(offset: number, size: number): number {
    if (offset < P.ISR_CFG_OFFSET) return this.#readCommon(offset, size);
    if (offset < P.DEVICE_CFG_OFFSET) {
      if (offset !== P.ISR_CFG_OFFSET) return 0;
      const isr = this.#get(D.ISR_STATUS);
      this.#set(D.ISR_STATUS, 0);
      return isr;
    }
    return readBytes(this.#device.config, offset - P.DEVICE_CFG_OFFSET, size);
  }

  write(offset: number, size: number, value: number): void {
    if (offset < P.ISR_CFG_OFFSET) this.#writeCommon(offset, size, value);
    else if (offset >= P.DEVICE_CFG_OFFSET) {
      this.#device.writeConfig?.(offset - P.DEVICE_CFG_OFFSET, size, value);
      this.#env.failpoint('config.write');
    }
  }

  /** Device reset, §2.4: as after power-on. */
  reset(): void {
    this.#env.trace?.('reset');
    this.#set(D.DEVICE_STATUS, 0);
    this.#env.failpoint('reset.begun');
    for (const queue of this.queues) queue.reset(C.VIRTIO_MSI_NO_VECTOR);
    for (const word of [
      D.DEVICE_FEATURE_SELECT,
      D.DRIVER_FEATURE_SELECT,
      D.DRIVER_FEATURE,
      D.DRIVER_FEATURE + 1,
    ]) {
      this.#set(word, 0);
    }
    this.#set(D.CONFIG_MSIX_VECTOR, C.VIRTIO_MSI_NO_VECTOR);
    this.#set(D.QUEUE_SELECT, 0);
    this.#set(D.CONFIG_GENERATION, 0);
    this.#set(D.ISR_STATUS, 0);
    this.#set(D.CONFIG_CHANGING, 0);
    this.#notified = 0;
    this.#owesInterrupts = false;
    this.#device.reset();
  }

  // --- queues ----------------------------------------------------------------------------------------------------------

  get #isLive(): boolean {
    const bits = C.VIRTIO_STATUS_DRIVER_OK | C.VIRTIO_STATUS_DEVICE_NEEDS_RESET;
    return (this.status & bits) === C.VIRTIO_STATUS_DRIVER_OK;
  }

  #serve(index: number): void {
    const queue = this.queues[index]!;
    const result = this.#device.serve(index, queue);
    this.signalQueue(index);
    if (result.kind === 'error') this.#needsReset(result.error, index);
    else if (result.kind === 'more') this.wake(index);
  }

  /** Sends the queue's interrupt when the driver wants one; devices call it between requests, the transport after a turn. */
  signalQueue(index: number): void {
    const queue = this.queues[index]!;
    if (queue.takeSignal()) this.interruptQueue(index);
  }

  interruptQueue(index: number): void {
    this.#env.failpoint('interrupt.sending');
    this.#set(D.ISR_STATUS, this.#get(D.ISR_STATUS) | D.ISR_QUEUE);
    this.#msix.signal(this.queues[index]!.get(Q.QUEUE_MSIX_VECTOR));
  }

  /** {@link DeviceQueue.lend}, for a transport that has nothing else to do; `block` is the block's word index. */
  lendQueue(index: number, block: number): boolean {
    if (this.#notified !== 0 || this.#owesInterrupts || !this.#isLive) return false;
    const { pci, registerPage } = this.#env;
    const { capability, vectors } = P.msixPlace(this.queues.length);
    B.fillServiceBlock(this.#u32, block, [
      [B.PENDING_QUEUES, registerPage.offset + P.PENDING_QUEUES_OFFSET],
      [B.PCI_COMMAND_PLACE, pci.config.offset + PCI_COMMAND],
      [B.MSIX_FLAGS_PLACE, pci.config.offset + capability + PCI_MSIX_FLAGS],
      [B.MSIX_TABLE, pci.msix.offset],
      [B.MSIX_VECTORS, vectors],
      [B.ISR_PLACE, (this.#state + D.ISR_STATUS) << 2],
    ]);
    return this.queues[index]!.lend(block);
  }

  /** Ends what CONFIG_CHANGING began. */
  #interruptConfig(): void {
    this.#env.failpoint('config.changed');
    if ((this.status & C.VIRTIO_STATUS_DRIVER_OK) !== 0) {
      this.#set(D.ISR_STATUS, this.#get(D.ISR_STATUS) | D.ISR_CONFIG);
      this.#msix.signal(this.#get(D.CONFIG_MSIX_VECTOR));
    }
    this.#set(D.CONFIG_CHANGING, 0);
  }

  /**
   * After a restart nobody knows whether the last completions were signalled; one interrupt too many does no harm. That of
   * a configuration which did not change would: Linux tells the user that the disk has a new size.
   */
  #sendOwedInterrupts(): void {
    this.#owesInterrupts = false;
    this.#msix.sendPending();
    if ((this.status & C.VIRTIO_STATUS_DRIVER_OK) === 0) return;
    for (const queue of this.queues) if (queue.isOpen) this.#msix.signal(queue.get(Q.QUEUE_MSIX_VECTOR));
    if (this.#get(D.CONFIG_CHANGING) !== 0) this.#interruptConfig();
  }

  /** §2.1.2: the guest's error is said to the guest; nothing is served until it resets the device. */
  #needsReset(error: GuestError, queue: number): void {
    this.#set(D.CONFIG_CHANGING, 1);
    this.#set(D.DEVICE_STATUS, this.status | C.VIRTIO_STATUS_DEVICE_NEEDS_RESET);
    this.#interruptConfig();
    this.#env.trace?.(`queue ${queue} guest error ${error}`);
    this.#env.onGuestError?.(error, queue);
  }

  #configure(queue: DeviceQueue, features: FeatureSet): void {
    queue.eventIdx = hasFeature(features, C.VIRTIO_F_EVENT_IDX);
    queue.indirect = hasFeature(features, C.VIRTIO_F_INDIRECT_DESC);
  }

  // --- common configuration structure, §4.1.4.3 ------------------------------------------------------------------------

  #get(word: number): number {
    return this.#u32[this.#state + word]!;
  }

  #set(word: number, value: number): void {
    this.#u32[this.#state + word] = value;
  }

  get #selected(): DeviceQueue | undefined {
    return this.queues[this.#get(D.QUEUE_SELECT)];
  }

  #readCommon(offset: number, size: number): number {
    // A field is read with its own width; the low half or a byte of a wider one is tolerated.
    const field = offset & ~3;
    const shift = 8 * (offset & 3);
    return ((this.#readWord(field) >>> shift) & allOnes(size)) >>> 0;
  }

  /** The fields are packed into 32-bit words as the structure has them. */
  #readWord(field: number): number {
    const queue = this.#selected;
    const select = this.#get(D.QUEUE_SELECT);
    switch (field) {
      case 0x00:
        return this.#get(D.DEVICE_FEATURE_SELECT);
      case 0x04:
        return word(this.#offered, this.#get(D.DEVICE_FEATURE_SELECT));
      case 0x08:
        return this.#get(D.DRIVER_FEATURE_SELECT);
      case 0x0c:
        return word(this.features, this.#get(D.DRIVER_FEATURE_SELECT));
      case 0x10: // config_msix_vector, num_queues
        return this.#get(D.CONFIG_MSIX_VECTOR) | (this.queues.length << 16);
      case 0x14: // device_status, config_generation, queue_select
        return this.status | (this.#get(D.CONFIG_GENERATION) << 8) | (select << 16);
      case 0x18: // queue_size, queue_msix_vector
        return queue === undefined ? 0 : queue.get(Q.QUEUE_SIZE) | (queue.get(Q.QUEUE_MSIX_VECTOR) << 16);
      case 0x1c: // queue_enable, queue_notify_off
        return queue === undefined ? 0 : queue.get(Q.QUEUE_ENABLED) | (select << 16);
      case 0x20:
      case 0x24:
      case 0x28:
      case 0x2c:
      case 0x30:
      case 0x34:
        return queue === undefined ? 0 : queue.get(Q.QUEUE_DESC + ((field - 0x20) >>> 2));
      default: // queue_notify_data and queue_reset: never in progress
        return 0;
    }
  }

  #writeCommon(offset: number, size: number, value: number): void {
    const queue = this.#selected;
    switch (offset) {
      case 0x00:
        return this.#set(D.DEVICE_FEATURE_SELECT, value);
      case 0x08:
        return this.#set(D.DRIVER_FEATURE_SELECT, value);
      case 0x0c:
        return this.#writeFeatures(value);
      case 0x10:
        return this.#set(D.CONFIG_MSIX_VECTOR, this.#vectorOrNone(value));
      case 0x14:
        return this.#writeStatus(value & STATUS_BITS);
      case 0x16:
        return this.#set(D.QUEUE_SELECT, value & 0xffff);
      case 0x1a:
        return queue?.set(Q.QUEUE_MSIX_VECTOR, this.#vectorOrNone(value));
      case 0x1c:
        if (queue !== undefined && (value & 1) === 1) this.#enable(queue);
        return;
      case 0x3a:
        if (queue !== undefined && (value & 1) === 1) this.#resetQueue(queue);
        return;
      default:
        if (queue !== undefined) writeQueuePlace(queue, offset, size, value);
    }
  }

  /** §4.1.5.1.2: a vector that cannot be had reads back as none. */
  #vectorOrNone(vector: number): number {
    return (vector & 0xffff) < this.#msix.vectors ? vector & 0xffff : C.VIRTIO_MSI_NO_VECTOR;
  }

  #writeFeatures(value: number): void {
    if ((this.status & C.VIRTIO_STATUS_FEATURES_OK) !== 0) return;
    const select = this.#get(D.DRIVER_FEATURE_SELECT);
    if (select < 2) this.#set(D.DRIVER_FEATURE + select, value);
  }

  #writeStatus(status: number): void {
    if (status === 0) return this.reset();
    const old = this.status;
    let next = status | (old & C.VIRTIO_STATUS_DEVICE_NEEDS_RESET);
    if ((status & C.VIRTIO_STATUS_FEATURES_OK) !== 0 && !this.#acceptsFeatures) {
      next &= ~(C.VIRTIO_STATUS_FEATURES_OK | C.VIRTIO_STATUS_DRIVER_OK);
    }
    this.#set(D.DEVICE_STATUS, next);
    this.#env.trace?.(`status ${next}`);
    this.#env.failpoint('status.written');
    // Not only on the edge: the same write may be served again after a restart.
    if ((next & C.VIRTIO_STATUS_DRIVER_OK) === 0 || !this.#isLive) return;
    if ((old & C.VIRTIO_STATUS_DRIVER_OK) === 0) this.#device.start(this.features);
    this.#notified = -1;
  }

  /** §2.2.2, §6.2: nothing that was not offered; VERSION_1 is a must. */
  get #acceptsFeatures(): boolean {
    return isSubset(this.features, this.#offered) && hasFeature(this.features, C.VIRTIO_F_VERSION_1);
  }

  #enable(queue: DeviceQueue): void {
    if (queue.get(Q.QUEUE_ENABLED) === 1) return;
    this.#configure(queue, this.features);
    const error = queue.open();
    const index = this.queues.indexOf(queue);
    if (error !== undefined) return this.#needsReset(error, index);
    queue.set(Q.QUEUE_ENABLED, 1);
    this.#env.failpoint('queue.enabled');
    this.wake(index);
  }

  /** §2.6.1: the queue alone goes back to its state after reset. */
  #resetQueue(queue: DeviceQueue): void {
    if (!hasFeature(this.features, C.VIRTIO_F_RING_RESET)) return;
    queue.reset(C.VIRTIO_MSI_NO_VECTOR);
    this.#device.reset(this.queues.indexOf(queue));
  }
}

/** Size and addresses, while the queue is not enabled. */
function writeQueuePlace(queue: DeviceQueue, offset: number, size: number, value: number): void {
  if (queue.get(Q.QUEUE_ENABLED) === 1) return;
  if (offset === 0x18) queue.set(Q.QUEUE_SIZE, value & 0xffff);
  else if (offset >= 0x20 && offset < 0x38 && (offset & 3) === 0 && size === 4) {
    queue.set(Q.QUEUE_DESC + ((offset - 0x20) >>> 2), value);
  }
}

function word(features: FeatureSet, select: number): number {
  return select === 0 ? features.lo : select === 1 ? features.hi : 0;
}

/** Little endian; what lies past the end reads zero. */
function readBytes(bytes: Uint8Array, offset: number, size: number): number {
  let value = 0;
  for (let i = size - 1; i >= 0; i--) value = value * 256 + (bytes[offset + i] ?? 0);
  return value;
}
