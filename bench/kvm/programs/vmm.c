/*
 * The least that KVM needs, in C: what Troupe's KVM engine is measured against. A machine of one vCPU with the kernel's LAPIC
 * (split irqchip, as Troupe's) runs a flat guest. `vmm exits IMAGE` serves exits in a bare loop and copies COM1 to stdout;
 * `vmm msi IMAGE COUNT` sends interrupt messages from a second thread to the halted vCPU and prints on stderr each one's nanoseconds until
 * the guest's handler has counted it.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { RAM_BYTES = 16 << 20, LOAD = 0x100000, HANDLED = 0x180000, READY = HANDLED + 4, HEADER_ENTRY = 28, CPUID_ENTRIES = 256 };
enum { COM1 = 0x3f8, DEBUG_EXIT = 0xf4, VECTOR = 0x50 };
enum { REST_US = 200 };

static uint8_t *ram;
static int vm, vcpu;
static struct kvm_run *run;
static volatile uint8_t post;
static volatile uint64_t device;

static int call(const char *name, int fd, unsigned long request, void *argument)
{
    int result = ioctl(fd, request, argument);
    if (result < 0)
        err(1, "%s", name);
    return result;
}

static void set_up(const char *path)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), image = open(path, O_RDONLY);
    if (kvm < 0 || image < 0)
        err(1, "open");
    ram = mmap(0, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ram == MAP_FAILED || read(image, ram + LOAD, RAM_BYTES - LOAD) <= HEADER_ENTRY)
        err(1, "image");
    vm = call("KVM_CREATE_VM", kvm, KVM_CREATE_VM, 0);
    call("KVM_SET_TSS_ADDR", vm, KVM_SET_TSS_ADDR, (void *)0xfffbd000ul);
    struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
    call("KVM_ENABLE_CAP", vm, KVM_ENABLE_CAP, &split);
    struct kvm_userspace_memory_region slot = { .memory_size = RAM_BYTES, .userspace_addr = (uintptr_t)ram };
    call("KVM_SET_USER_MEMORY_REGION", vm, KVM_SET_USER_MEMORY_REGION, &slot);
    vcpu = call("KVM_CREATE_VCPU", vm, KVM_CREATE_VCPU, 0);
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + CPUID_ENTRIES * sizeof cpuid->entries[0]);
    cpuid->nent = CPUID_ENTRIES;
    call("KVM_GET_SUPPORTED_CPUID", kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
    call("KVM_SET_CPUID2", vcpu, KVM_SET_CPUID2, cpuid);
    int bytes = call("KVM_GET_VCPU_MMAP_SIZE", kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    run = mmap(0, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED)
        err(1, "mmap");
    struct kvm_sregs sregs;
    call("KVM_GET_SREGS", vcpu, KVM_GET_SREGS, &sregs);
    struct kvm_segment flat = { .limit = ~0u, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1 };
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
    flat.selector = 8, flat.type = 11;
    sregs.cs = flat;
    sregs.cr0 |= 1;
    call("KVM_SET_SREGS", vcpu, KVM_SET_SREGS, &sregs);
    struct kvm_regs regs = { .rflags = 2 };
    uint32_t entry;
    memcpy(&entry, ram + LOAD + HEADER_ENTRY, sizeof entry);
    regs.rip = entry;
    call("KVM_SET_REGS", vcpu, KVM_SET_REGS, &regs);
}

/* The bare loop: what a VMM in C does for an access that needs nothing done. False at the end. */
static int serve(void)
{
    if (ioctl(vcpu, KVM_RUN, 0) < 0)
        err(1, "KVM_RUN");
    switch (run->exit_reason) {
    case KVM_EXIT_IO: {
        uint8_t *data = (uint8_t *)run + run->io.data_offset;
        if (run->io.direction == KVM_EXIT_IO_IN) {
            memset(data, 0xff, run->io.size * run->io.count);
            return 1;
        }
        if (run->io.port == COM1)
            return write(1, data, 1) == 1;
        post = *data;
        return run->io.port != DEBUG_EXIT;
    }
    case KVM_EXIT_MMIO:
        if (run->mmio.is_write) {
            uint64_t value = 0;
            memcpy(&value, run->mmio.data, run->mmio.len & 8 ? 8 : run->mmio.len & 7);
            device = value;
        } else {
            memset(run->mmio.data, 0xff, 8);
        }
        return 1;
    default:
        errx(1, "exit %u", run->exit_reason);
    }
}

static void *run_guest(void *unused)
{
    while (serve())
        ;
    return unused;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void send_messages(int count)
{
    pthread_t thread;
    volatile uint32_t *handled = (volatile uint32_t *)(ram + HANDLED);
    struct kvm_msi message = { .address_lo = 0xfee00000, .data = VECTOR };
    if (pthread_create(&thread, 0, run_guest, 0) != 0)
        errx(1, "pthread_create");
    while (*(volatile uint32_t *)(ram + READY) == 0)
        usleep(REST_US);
    for (int i = 0; i < count; i++) {
        usleep(REST_US); /* the vCPU halts again, and its thread sleeps */
        uint32_t before = *handled;
        uint64_t start = now_ns();
        call("KVM_SIGNAL_MSI", vm, KVM_SIGNAL_MSI, &message);
        while (*handled == before)
            ;
        fprintf(stderr, "%llu\n", (unsigned long long)(now_ns() - start));
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        errx(2, "usage: vmm exits IMAGE | vmm msi IMAGE COUNT");
    set_up(argv[2]);
    if (strcmp(argv[1], "msi") == 0 && argc == 4)
        send_messages(atoi(argv[3]));
    run_guest(0);
    return 0;
}
