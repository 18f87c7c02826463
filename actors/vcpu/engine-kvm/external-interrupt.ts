// The 8259's interrupt on its way into the boot vCPU. It is handed over as one that is being delivered (KVM_SET_VCPU_EVENTS),
// not by KVM_INTERRUPT: what that leaves waiting in KVM no call tells, so a state that is saved then would lack an interrupt
// that the 8259 believes in service, and no further one would come.

import type { Addon } from '#native/addon.js';
import * as K from '#native/kvm-constants.js';
import { picAcknowledge, picReturn } from '#shared/chipset/pic.js';
import { lockChipset, unlockChipset } from '#shared/x86/chipset-lock.js';
import type { InterruptFabric } from '#shared/x86/interrupt-fabric.js';
import { holdsEvent, setUndeliveredVector, undeliveredVector } from './event-state.js';
import { isInService } from './lapic-state.js';

export class ExternalInterrupt {
  readonly #addon: Addon;
  readonly #fd: number;
  readonly #fabric: InterruptFabric;
  readonly #owner: number;
  readonly #events: DataView<ArrayBuffer>;
  readonly #mpState = new DataView(new ArrayBuffer(4));

  /** `owner`: vcpuLockOwner(index). */
  constructor(addon: Addon, vcpuFd: number, fabric: InterruptFabric, owner: number) {
    this.#addon = addon;
    this.#fd = vcpuFd;
    this.#fabric = fabric;
    this.#owner = owner;
    this.#events = new DataView(new ArrayBuffer(addon.stateBytes('vcpu-events')));
  }

  /** Outside of KVM_RUN, with no exit half done and flags that let an interrupt in. */
  deliver(): void {
    const events = this.#readEvents();
    if (holdsEvent(events)) return;
    lockChipset(this.#fabric, this.#owner);
    const vector = picAcknowledge(this.#fabric);
    unlockChipset(this.#fabric);
    if (vector < 0) return;
    setUndeliveredVector(events, vector);
    this.#writeEvents();
    this.#wake();
  }

  /** Gives one that has not begun back to the 8259. */
  takeBack(): void {
    const vector = undeliveredVector(this.#readEvents());
    if (vector < 0 || this.#isLapics(vector)) return;
    setUndeliveredVector(this.#events, -1);
    this.#writeEvents();
    lockChipset(this.#fabric, this.#owner);
    picReturn(this.#fabric, vector);
    unlockChipset(this.#fabric);
  }

  #isLapics(vector: number): boolean {
    const registers = new Uint8Array(this.#addon.stateBytes('lapic'));
    this.#addon.getState(this.#fd, 'lapic', registers);
    return isInService(new DataView(registers.buffer), vector);
  }

  /** KVM lets a halted vCPU sleep in spite of an interrupt that is being delivered: none comes to it by itself. */
  #wake(): void {
    const bytes = new Uint8Array(this.#mpState.buffer);
    this.#addon.getState(this.#fd, 'mp-state', bytes);
    if (this.#mpState.getUint32(0, true) !== K.KVM_MP_STATE_HALTED) return;
    this.#mpState.setUint32(0, K.KVM_MP_STATE_RUNNABLE, true);
    this.#addon.setState(this.#fd, 'mp-state', bytes);
  }

  #readEvents(): DataView {
    this.#addon.getState(this.#fd, 'vcpu-events', new Uint8Array(this.#events.buffer));
    return this.#events;
  }

  #writeEvents(): void {
    this.#addon.setState(this.#fd, 'vcpu-events', new Uint8Array(this.#events.buffer));
  }
}
