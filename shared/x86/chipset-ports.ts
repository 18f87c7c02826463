// The chipset's I/O ports as a vCPU's worker serves them: directly on the chipset page, under its lock, without a hop to
// the chipset actor, which only watches the time. Ports: 8259 pair and ELCR, PIT and 61h, RTC, 8042, 92h, ACPI fixed
// registers, CF9h, fw_cfg, isa-debug-exit (F4h, on request), POST codes (80h, EDh; ignored). Wide accesses to byte registers are
// split, as on ISA.

import { RESET_REG, RTC_BASE, RTC_IRQ, SCI_IRQ } from '#shared/acpi/platform.js';
import * as Acpi from '#shared/chipset/acpi-registers.js';
import {
  type ChipsetPage,
  getDouble,
  getWord,
  setWord,
  viewChipsetPage,
} from '#shared/chipset/chipset-page.js';
import * as FwCfg from '#shared/chipset/fw-cfg.js';
import * as Kbd from '#shared/chipset/i8042.js';
import * as C from '#shared/chipset/page-layout.js';
import * as Pic from '#shared/chipset/pic.js';
import * as Pit from '#shared/chipset/pit.js';
import * as Rtc from '#shared/chipset/rtc.js';
import { lockChipset, unlockChipset } from '#shared/x86/chipset-lock.js';
import { type InterruptFabric, setIsaIrq } from '#shared/x86/interrupt-delivery.js';

export const ISA_DEBUG_EXIT_PORT = 0xf4;
const PORT_92 = 0x92;
const PORT_92_RESET = 1;
const PORT_92_A20 = 2;
const RESET_CPU = 4;
/** The ports below this are looked up in a table. */
const PORT_LIMIT = 0x1000;

/** What the ports ask of their surroundings. */
export interface ChipsetPortHooks {
  /** Host monotonic ns, and UTC ns since 1970. */
  nowNs(): number;
  wallNs(): number;
  /** Rings the ticker: an event earlier than its announced wake time, or an unknown one, is due. */
  ringTicker(): void;
  powerOff(): void;
  reset(): void;
  debugExit(value: number): void;
}

export interface ChipsetPorts {
  /** Whether an access is answered here and not on the register bus. */
  covers(port: number, size: number): boolean;
  /** `size` is 1, 2 or 4; the value is unsigned. */
  portRead(port: number, size: number): number;
  portWrite(port: number, size: number, value: number): void;
}

type PortKind =
  | 'none'
  | 'pic'
  | 'elcr'
  | 'pit'
  | 'port61'
  | 'kbd'
  | 'rtc'
  | 'port92'
  | 'acpi'
  | 'fw-cfg'
  | 'debug-exit'
  | 'post';

export interface ChipsetPortOptions {
  readonly debugExit?: boolean;
  /** What fw_cfg tells. */
  readonly ramBytes?: number;
}

/** `owner`: vcpuLockOwner(index). */
export function createChipsetPorts(
  fabric: InterruptFabric,
  owner: number,
  hooks: ChipsetPortHooks,
  options: ChipsetPortOptions = {},
): ChipsetPorts {
  return new LocalPorts(fabric, owner, hooks, options);
}

class LocalPorts implements ChipsetPorts {
  readonly #fabric: InterruptFabric;
  readonly #owner: number;
  readonly #hooks: ChipsetPortHooks;
  readonly #page: ChipsetPage;
  readonly #kinds: readonly PortKind[];
  readonly #machine: FwCfg.FwCfgMachine;

  constructor(fabric: InterruptFabric, owner: number, hooks: ChipsetPortHooks, options: ChipsetPortOptions) {
    this.#fabric = fabric;
    this.#owner = owner;
    this.#hooks = hooks;
    this.#page = viewChipsetPage(fabric.words.buffer, fabric.chipset * 4, C.CHIPSET_PAGE_BYTES);
    this.#kinds = mapPorts(options.debugExit ?? false);
    this.#machine = { vcpus: fabric.vcpuCount, ramBytes: options.ramBytes ?? 0 };
  }

  covers(port: number, size: number): boolean {
    // CF9h shares its dword with PCI's CONFIG_ADDRESS, which is only accessed as a dword.
    if (port === RESET_REG) return size === 1;
    return port < PORT_LIMIT && this.#kinds[port] !== 'none';
  }

  portRead(port: number, size: number): number {
    lockChipset(this.#fabric, this.#owner);
    try {
      if (this.#kinds[port] === 'acpi') return Acpi.acpiRead(this.#page, port, size, this.#hooks.nowNs());
      let value = 0;
      for (let i = size - 1; i >= 0; i--) value = (value << 8) | (this.#readByte(port + i) & 0xff);
      return value >>> 0;
    } finally {
      unlockChipset(this.#fabric);
    }
  }

  portWrite(port: number, size: number, value: number): void {
    lockChipset(this.#fabric, this.#owner);
    try {
      const kind = this.#kinds[port];
      if (kind === 'acpi') this.#writeAcpi(port, size, value);
      else if (kind === 'fw-cfg') FwCfg.fwCfgSelect(this.#page, value);
      else if (kind === 'debug-exit') this.#hooks.debugExit(value >>> 0);
      else for (let i = 0; i < size; i++) this.#writeByte(port + i, (value >>> (8 * i)) & 0xff);
    } finally {
      unlockChipset(this.#fabric);
    }
  }

  #readByte(port: number): number {
    const page = this.#page;
    if (port === RESET_REG) return getWord(page, C.RESET_CONTROL);
    switch (this.#kinds[port]) {
      case 'pic':
        return Pic.picRead(this.#fabric, port);
      case 'elcr':
        return Pic.elcrRead(this.#fabric, port);
      case 'pit':
        return Pit.pitRead(page, port, this.#hooks.nowNs());
      case 'port61':
        return Pit.readPort61(page, this.#hooks.nowNs());
      case 'kbd': {
        const value = Kbd.i8042Read(page, port);
        setIsaIrq(this.#fabric, 1, Kbd.isKeyboardIrqAsserted(page));
        return value;
      }
      case 'rtc':
        return this.#readRtc(port);
      case 'port92':
        return getWord(page, C.PORT92);
      case 'fw-cfg':
        return port === FwCfg.FW_CFG_DATA_PORT ? FwCfg.fwCfgRead(page, this.#machine) : 0;
      case 'debug-exit':
        return 0;
      default:
        return 0xff;
    }
  }

  #writeByte(port: number, value: number): void {
    const page = this.#page;
    if (port === RESET_REG) {
      const was = getWord(page, C.RESET_CONTROL);
      setWord(page, C.RESET_CONTROL, value & 0xe);
      if ((value & ~was & RESET_CPU) !== 0) this.#hooks.reset();
      return;
    }
    switch (this.#kinds[port]) {
      case 'pic':
        return Pic.picWrite(this.#fabric, port, value);
      case 'elcr':
        return Pic.elcrWrite(this.#fabric, port, value);
      case 'pit':
        return this.#writePit(port, value);
      case 'port61':
        return Pit.writePort61(page, value, this.#hooks.nowNs());
      case 'kbd':
        if (Kbd.i8042Write(page, port, value)) this.#hooks.reset();
        setIsaIrq(this.#fabric, 1, false);
        return setIsaIrq(this.#fabric, 1, Kbd.isKeyboardIrqAsserted(page));
      case 'rtc':
        return this.#writeRtc(port, value);
      case 'port92': {
        const was = getWord(page, C.PORT92);
        setWord(page, C.PORT92, value & (PORT_92_RESET | PORT_92_A20));
        if ((value & ~was & PORT_92_RESET) !== 0) this.#hooks.reset();
        return;
      }
      default:
    }
  }

  #writePit(port: number, value: number): void {
    const nowNs = this.#hooks.nowNs();
    Pit.pitWrite(this.#page, port, value, nowNs);
    setIsaIrq(this.#fabric, 0, Pit.pitOutput(this.#page, 0, nowNs));
    if (getDouble(this.#page, C.PIT_NEXT_EDGE) !== Infinity) this.#hooks.ringTicker();
  }

  #readRtc(port: number): number {
    if (port === RTC_BASE) return 0xff;
    const wallNs = this.#hooks.wallNs();
    const value = Rtc.rtcRead(this.#page, getWord(this.#page, C.RTC_INDEX), wallNs);
    this.#driveRtc(wallNs);
    return value;
  }

  #writeRtc(port: number, value: number): void {
    if (port === RTC_BASE) return setWord(this.#page, C.RTC_INDEX, value & 0x7f); // bit 7: NMI off
    const wallNs = this.#hooks.wallNs();
    Rtc.rtcWrite(this.#page, getWord(this.#page, C.RTC_INDEX), value, wallNs);
    this.#driveRtc(wallNs);
  }

  #driveRtc(wallNs: number): void {
    setIsaIrq(this.#fabric, RTC_IRQ, Rtc.rtcUpdate(this.#page, wallNs));
    if (Rtc.rtcNextEventNs(this.#page, wallNs) !== Infinity) this.#hooks.ringTicker();
  }

  #writeAcpi(port: number, size: number, value: number): void {
    if (Acpi.acpiWrite(this.#page, port, size, value)) this.#hooks.powerOff();
    setIsaIrq(this.#fabric, SCI_IRQ, Acpi.isSciAsserted(this.#page));
  }
}

function mapPorts(debugExit: boolean): PortKind[] {
  const kinds = new Array<PortKind>(PORT_LIMIT).fill('none');
  for (const base of [Pic.PIC_MASTER_PORT, Pic.PIC_SLAVE_PORT]) kinds.fill('pic', base, base + 2);
  kinds.fill('elcr', Pic.PIC_ELCR_PORT, Pic.PIC_ELCR_PORT + 2);
  kinds.fill('pit', Pit.PIT_COUNTER0, Pit.PIT_CONTROL + 1);
  kinds[Pit.PORT_61] = 'port61';
  kinds[Kbd.I8042_DATA_PORT] = 'kbd';
  kinds[Kbd.I8042_COMMAND_PORT] = 'kbd';
  kinds.fill('rtc', RTC_BASE, RTC_BASE + 2);
  kinds[PORT_92] = 'port92';
  kinds.fill('acpi', Acpi.ACPI_PORTS_START, Acpi.ACPI_PORTS_END);
  kinds.fill('fw-cfg', FwCfg.FW_CFG_SELECTOR_PORT, FwCfg.FW_CFG_DATA_PORT + 1);
  kinds[0x80] = 'post';
  kinds[0xed] = 'post';
  if (debugExit) kinds.fill('debug-exit', ISA_DEBUG_EXIT_PORT, ISA_DEBUG_EXIT_PORT + 4);
  return kinds;
}
