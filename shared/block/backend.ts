// What a disk's contents are kept in, as a block device sees it: bytes by position, read and written by scattered views of
// guest RAM, no copy. Formats (raw, later qcow2) implement it. Calls block; what the host refuses is thrown and becomes an
// I/O error for the guest.

export interface BlockBackend {
  readonly capacityBytes: number;
  readonly readonly: boolean;
  /** Fills all views from `position` on; what lies past the end of the store reads zero. */
  readv(views: readonly Uint8Array[], position: number): void;
  /** Writes all of all views. */
  writev(views: readonly Uint8Array[], position: number): void;
  /** The range reads zero afterwards. */
  zero(position: number, length: number): void;
  /** What was written is on stable storage when it returns. */
  flush(): void;
  close(): void;
}
