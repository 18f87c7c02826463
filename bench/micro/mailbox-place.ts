// Where the mailbox benchmark's parts lie in its shared memory; both of its threads know it.
import { MAILBOX_ENTRIES, MAILBOX_PAYLOAD_BYTES } from '#shared/base/limits.js';
import { DOORBELL_BYTES } from '#shared/ipc/doorbell.js';
import { mailboxBytes } from '#shared/ipc/mailbox.js';

export const ENTRIES = MAILBOX_ENTRIES;
export const PAYLOAD_BYTES = MAILBOX_PAYLOAD_BYTES;
export const BELL = { offset: 0, bytes: DOORBELL_BYTES };
export const MAILBOX = { offset: DOORBELL_BYTES, bytes: mailboxBytes(ENTRIES, PAYLOAD_BYTES) };
export const ARENA_BYTES = MAILBOX.offset + MAILBOX.bytes;
