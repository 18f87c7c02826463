// The device's own words of the state page: none, the transport's and the queue's say all.

export const STATE_WORDS = 0;
