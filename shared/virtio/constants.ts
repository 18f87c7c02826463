// Names that all virtio devices share: device ids, status bits, feature bits. virtio-v1.2 §2.1, §5, §6.
// Feature bits are numbers of bits; a set of features is two 32-bit words, as the transport shows them.

export const VIRTIO_ID_BLOCK = 2; // §5.2
export const VIRTIO_ID_CONSOLE = 3; // §5.3
export const VIRTIO_ID_RNG = 4; // §5.4

// Device status, §2.1.
export const VIRTIO_STATUS_ACKNOWLEDGE = 1;
export const VIRTIO_STATUS_DRIVER = 2;
export const VIRTIO_STATUS_DRIVER_OK = 4;
export const VIRTIO_STATUS_FEATURES_OK = 8;
export const VIRTIO_STATUS_DEVICE_NEEDS_RESET = 64;
export const VIRTIO_STATUS_FAILED = 128;

// Feature bits of every device, §6.
export const VIRTIO_F_INDIRECT_DESC = 28;
export const VIRTIO_F_EVENT_IDX = 29;
export const VIRTIO_F_VERSION_1 = 32;
export const VIRTIO_F_RING_RESET = 40;

/** §4.1.5.1.2: no MSI-X vector is assigned. */
export const VIRTIO_MSI_NO_VECTOR = 0xffff;

/** Descriptors of one chain, direct and indirect together: the longest that a driver has reason to build. */
export const MAX_CHAIN_LENGTH = 1024;
export const INDIRECT_DESC_BYTES = 16;
