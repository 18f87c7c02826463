/*
 * What the guests of the KVM benchmarks run: a multiboot1 kernel of 64-bit code, assembled once for each row with one of
 * ROW_OUT, ROW_MMIO_WRITE, ROW_MMIO_READ, ROW_MSI, ROW_RING, ROW_CYCLE and with TURNS. It says `<` on COM1 before its
 * loop and `>` after it, but for ROW_MSI, which halts for ever.
 */
        .set MULTIBOOT_MAGIC, 0x1badb002
        .set LOAD_ADDRESS, 0x100000
        .set COM1, 0x3f8
        .set POST, 0x80
        .set DEBUG_EXIT, 0xf4
        .set DEVICE, 0xd0000000              /* nothing is there, or the doorbell */
        .set APIC_SVR, 0xfee000f0
        .set APIC_EOI, 0xfee000b0
        .set VECTOR, 0x50
        .set HANDLED, 0x180000               /* a word that counts the interrupts that the handler has seen */
        .set READY, 0x180004                 /* 1: they may come */
        .set STACK_TOP, 0x190000
        .set IDT, 0x1a0000
        .set PML4, 0x1b0000                  /* from here on zeros */
        .set PDPT, 0x1b1000
        .set LOW, 0x1b2000
        .set HIGH, 0x1b3000                  /* 3 to 4 GiB */
        .set LARGE, 0x83                     /* a page of 2 MiB: present, writable */
        .set LARGE_UNCACHED, 0x9b

        .text
        .code32
        .long MULTIBOOT_MAGIC, 0x10000, -(MULTIBOOT_MAGIC + 0x10000)
        .long LOAD_ADDRESS, LOAD_ADDRESS, 0, 0, start

        .globl start
start:
        mov $STACK_TOP, %esp
        mov $0xff, %al                       /* the 8259's vectors are exceptions' */
        out %al, $0x21
        out %al, $0xa1
        movl $PDPT + 3, PML4
        movl $LOW + 3, PDPT
        movl $HIGH + 3, PDPT + 24
        movl $LARGE, LOW
        movl $DEVICE + LARGE_UNCACHED, HIGH + ((DEVICE >> 21) & 511) * 8
        movl $0xfee00000 + LARGE_UNCACHED, HIGH + ((0xfee00000 >> 21) & 511) * 8
        mov $PML4, %eax
        mov %eax, %cr3
        mov $0x20, %eax                      /* PAE */
        mov %eax, %cr4
        mov $0xc0000080, %ecx                /* EFER.LME */
        rdmsr
        or $0x100, %eax
        wrmsr
        mov $0x80000011, %eax
        mov %eax, %cr0
        lgdt gdt_pointer
        ljmp $8, $1f
        .code64
1:      mov $16, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov $handler, %eax
        mov %eax, %edx
        and $0xffff, %eax
        or $0x80000, %eax                    /* selector 8 */
        mov %eax, IDT + VECTOR * 16
        and $0xffff0000, %edx
        or $0x8e00, %edx
        mov %edx, IDT + VECTOR * 16 + 4
        lidt idt_pointer
        mov $APIC_SVR, %ebx
        movl $0x1ff, (%rbx)
        mov $COM1, %edx
        mov $'<', %al
        out %al, (%dx)
        movl $1, READY
        mov $TURNS, %ecx
        mov $DEVICE, %ebx
        .align 16
2:
#if defined ROW_OUT
        out %al, $POST
#elif defined ROW_MMIO_WRITE || defined ROW_RING
        mov %eax, (%rbx)
#elif defined ROW_MMIO_READ
        mov (%rbx), %eax
#elif defined ROW_CYCLE
        mov HANDLED, %esi
        mov %eax, (%rbx)
3:      cli
        cmp HANDLED, %esi
        jne 4f
        sti
        hlt
        jmp 3b
4:
#elif defined ROW_MSI
        sti
        hlt
        cli
        jmp 2b
#else
#error "which row?"
#endif
        dec %ecx
        jnz 2b
        mov $'>', %al
        out %al, (%dx)
        mov $'\n', %al
        out %al, (%dx)
        xor %eax, %eax
        out %eax, $DEBUG_EXIT
5:      cli
        hlt
        jmp 5b

handler:
        push %rbx
        incl HANDLED
        mov $APIC_EOI, %ebx
        movl $0, (%rbx)
        pop %rbx
        iretq

        .align 8
gdt:    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
        .word 23
        .long gdt
idt_pointer:
        .word 0xfff
        .quad IDT
        .section .note.GNU-stack, "", @progbits
