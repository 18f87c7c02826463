// virtio-console, virtio-v1.2 §5.3: feature bits, configuration space, control messages and queue numbers of a device with
// several ports, and its place on PCI. Leaves out emergency write.
import type { PciFunctionPlan } from '#shared/pci/function-plan.js';
import { VIRTIO_ID_CONSOLE } from '#shared/virtio/constants.js';
import { virtioFunctionPlan } from '#shared/virtio/pci-layout.js';

// §5.3.3.
export const VIRTIO_CONSOLE_F_SIZE = 0;
export const VIRTIO_CONSOLE_F_MULTIPORT = 1;

// struct virtio_console_config, §5.3.4: offsets.
export const CONSOLE_CONFIG_COLS = 0;
export const CONSOLE_CONFIG_ROWS = 2;
export const CONSOLE_CONFIG_MAX_NR_PORTS = 4;
export const CONSOLE_CONFIG_BYTES = 12;

// Events of control messages, §5.3.6.2.
export const VIRTIO_CONSOLE_DEVICE_READY = 0;
export const VIRTIO_CONSOLE_PORT_ADD = 1;
export const VIRTIO_CONSOLE_PORT_REMOVE = 2;
export const VIRTIO_CONSOLE_PORT_READY = 3;
export const VIRTIO_CONSOLE_CONSOLE_PORT = 4;
export const VIRTIO_CONSOLE_RESIZE = 5;
export const VIRTIO_CONSOLE_PORT_OPEN = 6;
export const VIRTIO_CONSOLE_PORT_NAME = 7;
/** struct virtio_console_control: id u32, event u16, value u16. */
export const CONTROL_MESSAGE_BYTES = 8;

export const CONTROL_RECEIVE_QUEUE = 2;
export const CONTROL_TRANSMIT_QUEUE = 3;
export const CONSOLE_QUEUE_SIZE = 64;
const CLASS_COMMUNICATION_OTHER = 0x07_80_00;

// §5.3.2: port 0 has queues 0 and 1, the control queues follow, then two a port. Receive is the driver's view.
export function receiveQueue(port: number): number {
  return port === 0 ? 0 : 2 + 2 * port;
}

export function transmitQueue(port: number): number {
  return receiveQueue(port) + 1;
}

export function consoleQueueCount(ports: number): number {
  return 2 * (ports + 1);
}

/** `actor`: who serves it. */
export function consoleFunctionPlan(actor: string, ports: number): PciFunctionPlan {
  return virtioFunctionPlan({
    actor,
    deviceId: VIRTIO_ID_CONSOLE,
    classCode: CLASS_COMMUNICATION_OTHER,
    queueCount: consoleQueueCount(ports),
  });
}
