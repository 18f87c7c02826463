/*
 * Runs first in an image made by qemu-handover.ts: a multiboot1 kernel under QEMU (-M q35) that puts the prepared low
 * RAM in its place, then enters the prepared state. The constants come from that state.
 */
        .set IA32_EFER, 0xc0000080
        .set PCIEXBAR, 0x80000060           /* q35 host bridge: where ECAM is */
        .set PAM0, 0x80000090               /* and who answers at 0xC0000-0xFFFFF: ROM or RAM */

        .macro pci_write register, value
        mov $0xcf8, %dx
        mov $\register, %eax
        out %eax, %dx
        mov $0xcfc, %dx
        mov $\value, %eax
        out %eax, %dx
        .endm

        .text
        .code32
        cli
        cld
        pci_write PCIEXBAR, ECAM + 1
        pci_write PAM0, 0x33333330
        pci_write PAM0 + 4, 0x333333
        mov $LOW_COPY, %esi
        xor %edi, %edi
        mov $0xa0000, %ecx
        rep movsb
        mov $(LOW_COPY + 0xe0000), %esi
        mov $0xe0000, %edi
        mov $0x20000, %ecx
        rep movsb
        lgdt gdt_pointer
        andb $0xfd, GDT_BASE + 0x20 + 5     /* the TSS: available, or LTR faults */
#if LONG_MODE
        mov $CR4, %eax
        mov %eax, %cr4
        mov $CR3, %eax
        mov %eax, %cr3
        mov $IA32_EFER, %ecx
        xor %edx, %edx
        mov $(EFER & ~0x400), %eax
        wrmsr
#endif
        mov $CR0, %eax
        mov %eax, %cr0
        ljmp $0x10, $2f
#if LONG_MODE
        .code64
#endif
2:      mov $0x18, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %fs
        mov %eax, %gs
        mov %eax, %ss
        mov $0x20, %eax
        ltr %ax
        mov $RSP, %esp
        mov $RBX, %ebx
        mov $RSI, %esi
        mov $RAX, %eax
#if LONG_MODE
        push $RIP
        ret
#else
        ljmp $0x10, $RIP
#endif
gdt_pointer:
        .word GDT_LIMIT
        .long GDT_BASE
