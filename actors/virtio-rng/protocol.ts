// What the kernel tells a virtio-rng actor at its start: nothing. It hears of work by its doorbell alone.

export type VirtioRngParams = Readonly<Record<string, never>>;
