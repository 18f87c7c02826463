// A range of bytes in the arena. Everything that actors share is handed around as regions.

/** A range of the arena: `offset` and `bytes` in bytes from the arena's start. */
export interface Region {
  readonly offset: number;
  readonly bytes: number;
}
