// What the kernel tells a virtio-blk actor at its start. There are no messages: it hears of work by its doorbell alone.

export interface VirtioBlkParams {
  /** A raw image: a regular file or a block device. */
  readonly path: string;
  readonly readonly: boolean;
  /** Up to 20 bytes of ASCII; what GET_ID answers. */
  readonly serial: string;
}
