// A virtio device under `--trace virtio`: the same device, its start, resets, requests and the guest's errors written down.
import type { Tracer } from '#shared/ipc/trace.js';
import type { VirtioDevice } from '#shared/virtio/device.js';
import type { FeatureSet } from '#shared/virtio/feature-set.js';
import type { DeviceQueue } from '#shared/virtio/queue.js';

/** `device` itself when nothing is traced. */
export function traceDevice(device: VirtioDevice, trace: Tracer | undefined): VirtioDevice {
  if (trace?.virtio !== true) return device;
  const say = (text: string): void => trace.event('virtio', text);
  const known = new WeakSet<DeviceQueue>();
  const watch = (index: number, queue: DeviceQueue): void => {
    if (known.has(queue)) return;
    known.add(queue);
    const complete = queue.complete.bind(queue);
    queue.complete = (chain, length, commit, onCommit) => {
      const { head, position, readableBytes, writableBytes, resumed } = chain;
      const again = resumed ? ' resumed' : '';
      say(
        `queue ${index} #${position} head ${head} out ${readableBytes} in ${writableBytes} used ${length}${again}`,
      );
      complete(chain, length, commit, onCommit);
    };
  };
  return {
    deviceId: device.deviceId,
    features: device.features,
    queueSizes: device.queueSizes,
    get config() {
      return device.config;
    },
    ...(device.writeConfig && { writeConfig: device.writeConfig.bind(device) }),
    ...(device.recoverCommit && { recoverCommit: device.recoverCommit.bind(device) }),
    start: (features) => {
      say(`start features 0x${toBits(features)}`);
      device.start(features);
    },
    serve: (index, queue) => {
      watch(index, queue);
      const result = device.serve(index, queue);
      if (result.kind === 'error') say(`queue ${index} error ${result.error}`);
      return result;
    },
    reset: (index) => {
      say(index === undefined ? 'reset' : `reset queue ${index}`);
      device.reset(index);
    },
  };
}

function toBits({ lo, hi }: FeatureSet): string {
  return (BigInt(hi >>> 0) * 0x1_0000_0000n + BigInt(lo >>> 0)).toString(16);
}
