// A queue's interrupt in generated code: MSI-X and the message's way into the LAPICs as pci/msix.ts and x86/apic-message.ts have it, for
// what drivers program: a fixed, edge-triggered vector that nothing masks. All else, and KVM's LAPICs, are TypeScript's.
// SDM vol. 3 §11.6.2, §11.8.4, §11.11; PCI Local Bus 3.0 §6.8.2.
import {
  PCI_COMMAND_MASTER,
  PCI_MSIX_ENTRY_BYTES,
  PCI_MSIX_ENTRY_CTRL_MASKBIT,
  PCI_MSIX_ENTRY_DATA,
  PCI_MSIX_ENTRY_LOWER_ADDR,
  PCI_MSIX_ENTRY_UPPER_ADDR,
  PCI_MSIX_ENTRY_VECTOR_CTRL,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
} from '#shared/pci/registers.js';
import type { Value } from '#shared/translate/emitter.js';
import type { Routine, RoutineEmitter } from '#shared/translate/routine.js';
import { ISR_QUEUE } from '#shared/virtio/device-state.js';
import * as S from '#shared/virtio/queue-state.js';
import { XAPIC_BROADCAST } from '#shared/x86/apic-message.js';
import { PENDING_INTERRUPT } from '#shared/x86/cpu-state.js';
import * as L from '#shared/x86/lapic-layout.js';
import { queueWord, word } from './queue-routines.js';
import * as B from './service-block.js';

/** Of a message's data: trigger mode and delivery mode, which are 0 for a fixed edge. */
const DATA_UNUSUAL = 0x8700;
const FIRST_FIXED_VECTOR = 16;

const lapicWord = (e: RoutineEmitter, lapic: Value, offset: number): Value =>
  e.atomic('load', 'i32', lapic, offset);

/** (lapic, destination, logical) → 1 when the destination names it: matchesDestination. */
const isFor: Routine = {
  parameters: ['i32', 'i32', 'i32'],
  body: (e, [lapic, destination, logical]) => {
    e.if(e.eq(destination!, e.i32(XAPIC_BROADCAST)), () => e.return(e.i32(1)));
    const isX2apic = e.eq(lapicWord(e, lapic!, L.LAPIC_MODE), e.i32(L.LAPIC_MODE_X2APIC));
    const x2apicId = lapicWord(e, lapic!, L.LAPIC_X2APIC_ID);
    e.if(e.eqz(logical!), () => {
      const id = e.select(isX2apic, x2apicId, lapicWord(e, lapic!, L.LAPIC_XAPIC_ID));
      e.return(e.eq(id, destination!));
    });
    e.if(isX2apic, () => {
      // A destination of 8 bits names cluster 0.
      const bit = e.shl(e.i32(1), e.and(x2apicId, e.i32(15)));
      const isInCluster = e.eqz(e.shrU(x2apicId, e.i32(4)));
      e.return(e.and(isInCluster, e.ne(e.and(destination!, bit), e.i32(0))));
    });
    const own = e.shrU(lapicWord(e, lapic!, L.LAPIC_LDR), e.i32(24));
    const both = e.and(own, destination!);
    const isFlat = e.eq(e.shrU(lapicWord(e, lapic!, L.LAPIC_DFR), e.i32(28)), e.i32(0xf));
    e.if(isFlat, () => e.return(e.ne(both, e.i32(0))));
    const sameCluster = e.eq(e.shrU(own, e.i32(4)), e.shrU(destination!, e.i32(4)));
    return e.and(sameCluster, e.ne(e.and(both, e.i32(0xf)), e.i32(0)));
  },
};

/** (lapic, pending, vector): the LAPIC takes it, if it takes any: acceptVector. */
const accept: Routine = {
  parameters: ['i32', 'i32', 'i32'],
  body: (e, [lapic, pending, vector]) => {
    const isDisabled = e.eq(lapicWord(e, lapic!, L.LAPIC_MODE), e.i32(L.LAPIC_MODE_DISABLED));
    const isEnabled = e.and(lapicWord(e, lapic!, L.LAPIC_SVR), e.i32(L.SVR_APIC_ENABLED));
    e.if(e.or(isDisabled, e.eqz(isEnabled)), () => e.return(e.i32(0)));
    const bit = e.shl(e.i32(1), e.and(vector!, e.i32(31)));
    const at = e.add(lapic!, e.shl(e.shrU(vector!, e.i32(5)), e.i32(2)));
    e.atomic('rmw.and', 'i32', at, L.LAPIC_TMR, [e.xor(bit, e.i32(-1))]);
    e.atomic('rmw.or', 'i32', at, L.LAPIC_IRR, [bit]);
    e.atomic('rmw.or', 'i32', pending!, 0, [e.i32(PENDING_INTERRUPT)]);
    e.notifyArena(pending!);
    return e.i32(0);
  },
};

/** The message of the queue's vector: where it is in the table; leaves to TypeScript what is unusual. */
function entryOf(e: RoutineEmitter): Value {
  const leave = (condition: Value): void => e.if(condition, () => e.return(e.call('interrupt', [])));
  const vector = queueWord(e, S.QUEUE_MSIX_VECTOR);
  leave(e.or(e.eqz(word(e, B.VCPU_COUNT)), e.geU(vector, word(e, B.MSIX_VECTORS))));
  const flags = e.loadArena(word(e, B.MSIX_FLAGS_PLACE), 'u16');
  const switches = e.and(flags, e.i32(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL));
  const command = e.loadArena(word(e, B.PCI_COMMAND_PLACE), 'u16');
  const isMaster = e.and(command, e.i32(PCI_COMMAND_MASTER));
  leave(e.or(e.ne(switches, e.i32(PCI_MSIX_FLAGS_ENABLE)), e.eqz(isMaster)));
  const entry = e.add(word(e, B.MSIX_TABLE), e.mul(vector, e.i32(PCI_MSIX_ENTRY_BYTES)));
  const control = e.loadArena(entry, 'i32', PCI_MSIX_ENTRY_VECTOR_CTRL);
  const upper = e.loadArena(entry, 'i32', PCI_MSIX_ENTRY_UPPER_ADDR);
  leave(e.or(e.and(control, e.i32(PCI_MSIX_ENTRY_CTRL_MASKBIT)), upper));
  return entry;
}

/** () → what VirtioPciTransport.interruptQueue does. */
const interruptQueue: Routine = {
  parameters: [],
  body: (e) => {
    const entry = entryOf(e);
    const address = e.loadArena(entry, 'i32', PCI_MSIX_ENTRY_LOWER_ADDR);
    const data = e.loadArena(entry, 'i32', PCI_MSIX_ENTRY_DATA);
    const vector = e.and(data, e.i32(0xff));
    const isElsewhere = e.ne(e.shrU(address, e.i32(20)), e.i32(0xfee));
    const isUnusual = e.or(e.and(data, e.i32(DATA_UNUSUAL)), e.ltU(vector, e.i32(FIRST_FIXED_VECTOR)));
    e.if(e.or(isElsewhere, isUnusual), () => e.return(e.call('interrupt', [])));
    const isr = word(e, B.ISR_PLACE);
    e.storeArena(isr, 'i32', 0, e.or(e.loadArena(isr, 'i32'), e.i32(ISR_QUEUE)));
    const destination = e.and(e.shrU(address, e.i32(12)), e.i32(0xff));
    const logical = e.and(address, e.i32(4));
    const left = e.variable(word(e, B.VCPU_COUNT));
    const place = e.variable(e.i32(0));
    e.loop((again) => {
      const lapic = e.loadAt(place.get(), 'i32', B.VCPUS);
      e.if(e.call('isFor', [lapic, destination, logical]), () => {
        e.call('accept', [lapic, e.loadAt(place.get(), 'i32', B.VCPUS + 4), vector]);
      });
      place.set(e.add(place.get(), e.i32(B.VCPU_BYTES)));
      left.set(e.sub(left.get(), e.i32(1)));
      e.branchIf(again, left.get());
    });
    return e.i32(0);
  },
};

/** They call the function `interrupt(block) → i32` of the device's for what is unusual. */
export const MSI_ROUTINES = { isFor, accept, interruptQueue };
