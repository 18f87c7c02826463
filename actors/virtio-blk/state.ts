// The device's own words of the state page, after the transport's and the queue's: the capacity that the guest was told, so
// that it stays what it was if the file's length changes under a restart.

/** In sectors, low word and high word; zero before the first start. */
export const STATE_CAPACITY = 0;
export const STATE_WORDS = 4;
