// QEMU's firmware configuration device as far as small kernels ask it how big the machine is: signature, interface id,
// RAM size and processor counts, read a byte at a time. docs/specs/fw_cfg of QEMU 7.2. An item that is not here reads
// as zeros, as there. Leaves out DMA, writes, and files (the directory is empty).

import * as C from './page-layout.js';
import { type ChipsetPage, getWord, setWord } from './chipset-page.js';

export const FW_CFG_SELECTOR_PORT = 0x510;
export const FW_CFG_DATA_PORT = 0x511;

const FW_CFG_SIGNATURE = 0x00;
const FW_CFG_ID = 0x01;
const FW_CFG_RAM_SIZE = 0x03;
const FW_CFG_NB_CPUS = 0x05;
const FW_CFG_MAX_CPUS = 0x0f;
const FW_CFG_VERSION = 1;
const TWO_32 = 0x1_0000_0000;

export interface FwCfgMachine {
  readonly vcpus: number;
  readonly ramBytes: number;
}

/** A write of the selector starts the item from its first byte. */
export function fwCfgSelect(page: ChipsetPage, key: number): void {
  setWord(page, C.FW_CFG_SELECTOR, key & 0xffff);
  setWord(page, C.FW_CFG_OFFSET, 0);
}

/** The next byte of the selected item. */
export function fwCfgRead(page: ChipsetPage, machine: FwCfgMachine): number {
  const offset = getWord(page, C.FW_CFG_OFFSET);
  if (offset >= 8) return 0;
  setWord(page, C.FW_CFG_OFFSET, offset + 1);
  return itemByte(getWord(page, C.FW_CFG_SELECTOR), offset, machine);
}

/** Byte `offset` (0–7) of an item; numbers are little-endian. */
function itemByte(key: number, offset: number, machine: FwCfgMachine): number {
  switch (key) {
    case FW_CFG_SIGNATURE:
      return offset < 4 ? 'QEMU'.charCodeAt(offset) : 0;
    case FW_CFG_ID:
      return numberByte(FW_CFG_VERSION, offset);
    case FW_CFG_RAM_SIZE:
      return numberByte(machine.ramBytes, offset);
    case FW_CFG_NB_CPUS:
    case FW_CFG_MAX_CPUS:
      return numberByte(machine.vcpus, offset);
    default:
      return 0;
  }
}

function numberByte(value: number, offset: number): number {
  const half = offset < 4 ? value % TWO_32 : Math.floor(value / TWO_32);
  return (half >>> ((offset & 3) * 8)) & 0xff;
}
