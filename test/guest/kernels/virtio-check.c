/*
 * A payload that drives virtio-blk, virtio-console and virtio-rng (virtio 1.2, PCI, split queues, MSI-X) while somebody kills
 * the devices: sectors are written, read back and compared, numbered lines go out, random bytes come in. It waits by HLT for
 * each interrupt, so a lost one shows as a hang. Options: rounds=N.
 */
#include "bare64.h"

enum { QUEUE_SIZE = 16, BATCH = 4, SECTOR = 512, REQUEST_SECTORS = 8, DISK_SECTORS = 2048 };
enum { VECTOR_BLK = 0x61, VECTOR_CONSOLE = 0x62, VECTOR_RNG = 0x63 };
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
enum { DESC_NEXT = 1, DESC_WRITE = 2 };

struct desc { u64 address; u32 length; u16 flags, next; };
struct queue {
    struct desc desc[QUEUE_SIZE];
    struct { u16 flags, index, ring[QUEUE_SIZE]; } available;
    struct { u16 flags; volatile u16 index; struct { u32 id, length; } ring[QUEUE_SIZE]; } used __attribute__((aligned(4)));
    u16 seen;
    volatile u16 *notify;
};
struct device { u32 slot; u64 common, notify, msix; u32 notify_multiplier; };

static struct queue blk_queue __attribute__((aligned(16))), tx_queue __attribute__((aligned(16)));
static struct queue rng_queue __attribute__((aligned(16)));
static u8 sectors[BATCH][REQUEST_SECTORS * SECTOR] __attribute__((aligned(16)));
static struct { u32 type, reserved; u64 sector; } headers[BATCH];
static volatile u8 states[BATCH];
static u8 random_bytes[64];

static u32 pci_read(u32 slot, u32 offset)
{
    return *mmio32(0xe0000000ull + (slot << 15) + offset);
}

static void pci_write(u32 slot, u32 offset, u32 value) { *mmio32(0xe0000000ull + (slot << 15) + offset) = value; }

static u64 bar(u32 slot, u32 index)
{
    u32 low = pci_read(slot, 0x10 + index * 4);
    u64 high = (low & 6) == 4 ? pci_read(slot, 0x14 + index * 4) : 0;
    return high << 32 | (low & ~15u);
}

/* Finds the device and its structures, and takes it to FEATURES_OK with VERSION_1 alone. */
static void open_device(struct device *device, u32 device_id)
{
    for (device->slot = 0; device->slot < 32; device->slot++)
        if (pci_read(device->slot, 0) == (device_id << 16 | 0x1af4))
            break;
    if (device->slot == 32)
        leave(0x40);
    u32 slot = device->slot;
    for (u32 at = pci_read(slot, 0x34) & 0xff; at; at = (pci_read(slot, at) >> 8) & 0xff) {
        u32 head = pci_read(slot, at);
        if ((head & 0xff) == 0x11) {
            u32 table = pci_read(slot, at + 4);
            device->msix = bar(slot, table & 7) + (table & ~7u);
            pci_write(slot, at, head | 0x80000000u);
        }
        if ((head & 0xff) != 9)
            continue;
        u64 base = bar(slot, pci_read(slot, at + 4) & 0xff) + pci_read(slot, at + 8);
        if (head >> 24 == 1)
            device->common = base;
        if (head >> 24 == 2) {
            device->notify = base;
            device->notify_multiplier = pci_read(slot, at + 16);
        }
    }
    volatile u8 *status = (volatile u8 *)(device->common + 20);
    *status = 0;
    while (*status)
        pause();
    *status = ACKNOWLEDGE;
    *status = ACKNOWLEDGE | DRIVER;
    *mmio32(device->common + 8) = 1;
    *mmio32(device->common + 12) = 1;                    /* VIRTIO_F_VERSION_1, bit 32 */
    *mmio32(device->common + 8) = 0;
    *mmio32(device->common + 12) = 0;
    *status = ACKNOWLEDGE | DRIVER | FEATURES_OK;
    if (!(*status & FEATURES_OK))
        leave(0x41);
}

static void open_queue(struct device *device, u32 index, struct queue *queue, u32 vector)
{
    volatile u16 *common16 = (volatile u16 *)device->common;
    volatile u32 *entry = mmio32(device->msix + 16 * (index + 1));
    entry[0] = 0xfee00000u;
    entry[1] = 0;
    entry[2] = vector;
    entry[3] = 0;
    common16[22 / 2] = (u16)index;
    common16[24 / 2] = QUEUE_SIZE;
    common16[26 / 2] = (u16)(index + 1);
    *mmio32(device->common + 32) = (u32)(u64)queue->desc;
    *mmio32(device->common + 36) = 0;
    *mmio32(device->common + 40) = (u32)(u64)&queue->available;
    *mmio32(device->common + 44) = 0;
    *mmio32(device->common + 48) = (u32)(u64)&queue->used;
    *mmio32(device->common + 52) = 0;
    queue->notify = (volatile u16 *)(device->notify + (u64)common16[30 / 2] * device->notify_multiplier);
    common16[28 / 2] = 1;
}

static void start_device(struct device *device) { *(volatile u8 *)(device->common + 20) = 15; }

static void offer(struct queue *queue, u32 head)
{
    queue->available.ring[queue->available.index % QUEUE_SIZE] = (u16)head;
    __atomic_store_n(&queue->available.index, (u16)(queue->available.index + 1), __ATOMIC_SEQ_CST);
}

/* Tells the device and waits until `count` more are used. */
static void complete(struct queue *queue, u32 index, u32 count)
{
    *queue->notify = (u16)index;
    while ((u16)(queue->used.index - queue->seen) < count)
        halt();
    queue->seen = (u16)(queue->seen + count);
}

static void set_desc(struct queue *queue, u32 at, const volatile void *data, u32 length, u16 flags)
{
    queue->desc[at].address = (u64)data;
    queue->desc[at].length = length;
    queue->desc[at].flags = flags;
    queue->desc[at].next = (u16)(at + 1);
}

/* Every byte of a request differs by round, request and place. */
static u8 pattern(u32 round, u32 request, u32 at) { return (u8)(round * 7 + request * 13 + at + (at >> 8)); }

static void transfer(u32 round, u32 type)
{
    for (u32 i = 0; i < BATCH; i++) {
        headers[i].type = type;
        headers[i].sector = ((u64)round * BATCH + i) * REQUEST_SECTORS % DISK_SECTORS;
        states[i] = 0xff;
        set_desc(&blk_queue, i * 3, &headers[i], 16, DESC_NEXT);
        set_desc(&blk_queue, i * 3 + 1, sectors[i], sizeof sectors[i], DESC_NEXT | (type == 0 ? DESC_WRITE : 0));
        set_desc(&blk_queue, i * 3 + 2, &states[i], 1, DESC_WRITE);
        offer(&blk_queue, i * 3);
    }
    complete(&blk_queue, 0, BATCH);
    for (u32 i = 0; i < BATCH; i++)
        if (states[i] != 0)
            leave(0x42);
}

static void check_disk(u32 round)
{
    for (u32 i = 0; i < BATCH; i++)
        for (u32 at = 0; at < sizeof sectors[i]; at += 64)
            sectors[i][at] = pattern(round, i, at);
    transfer(round, 1);
    for (u32 i = 0; i < BATCH; i++)
        for (u32 at = 0; at < sizeof sectors[i]; at += 64)
            sectors[i][at] = 0;
    transfer(round, 0);
    for (u32 i = 0; i < BATCH; i++)
        for (u32 at = 0; at < sizeof sectors[i]; at += 64)
            if (sectors[i][at] != pattern(round, i, at))
                leave(0x43);
}

static void print_line(u32 round)
{
    static char line[16];
    u32 length = 0;
    for (const char *from = "line "; *from; from++)
        line[length++] = *from;
    for (u32 unit = 10000; unit; unit /= 10)
        line[length++] = (char)('0' + round / unit % 10);
    line[length++] = '\n';
    set_desc(&tx_queue, 0, line, length, 0);
    offer(&tx_queue, 0);
    complete(&tx_queue, 1, 1);
}

static void draw_bytes(void)
{
    set_desc(&rng_queue, 0, random_bytes, sizeof random_bytes, DESC_WRITE);
    offer(&rng_queue, 0);
    complete(&rng_queue, 0, 1);
}

void cpu_main(u32 cpu, struct boot_info *info)
{
    static struct device blk, console, rng;
    if (cpu != 0)
        for (;;)
            halt();
    set_up_tables();
    load_tables(0);
    enable_apic(0);
    put("virtio-check: hello\n");
    open_device(&blk, 0x1042);
    open_queue(&blk, 0, &blk_queue, VECTOR_BLK);
    start_device(&blk);
    open_device(&console, 0x1043);
    open_queue(&console, 1, &tx_queue, VECTOR_CONSOLE);
    start_device(&console);
    open_device(&rng, 0x1044);
    open_queue(&rng, 0, &rng_queue, VECTOR_RNG);
    start_device(&rng);
    u32 rounds = option(info, "rounds", 10);
    for (u32 round = 0; round < rounds; round++) {
        check_disk(round);
        print_line(round);
        draw_bytes();
    }
    report("rounds", rounds);
    report("interrupts of the disk", counts[VECTOR_BLK] > 0);
    put("virtio-check: done\n");
    leave(0);
}
