/*
 * Entry of litmus: multiboot's 32-bit protected mode to long mode on an identity map of 4 GiB, and the real-mode trampoline by which
 * the other CPUs come the same way. CPU numbers are handed out in order of arrival; 0 is the boot CPU.
 */
        .set MULTIBOOT_MAGIC, 0x1badb002
        .set MULTIBOOT_FLAGS, 0x3
        .set TRAMPOLINE, 0x8000
        .set STACK_BYTES, 16384
        .set MAX_CPUS, 8

        .section .multiboot, "a"
        .align 4
        .long MULTIBOOT_MAGIC
        .long MULTIBOOT_FLAGS
        .long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

        .text
        .code32
        .globl start
start:
        cli
        mov %ebx, boot_info
        mov $page_directories, %edi          /* 2048 pages of 2 MiB */
        mov $0x83, %eax
1:      mov %eax, (%edi)
        movl $0, 4(%edi)
        add $0x200000, %eax
        add $8, %edi
        cmp $page_directories + 0x4000, %edi
        jb 1b
        mov $page_directories + 3, %eax
        mov $pdpt, %edi
        mov $4, %ecx
2:      mov %eax, (%edi)
        add $0x1000, %eax
        add $8, %edi
        dec %ecx
        jnz 2b
        movl $pdpt + 3, pml4
        lgdt gdt_pointer
        ljmp $0x08, $enter_long_mode

enter_long_mode:                             /* flat 32-bit code; every CPU passes here */
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %cr4, %eax
        or $0x20, %eax                       /* PAE */
        mov %eax, %cr4
        mov $pml4, %eax
        mov %eax, %cr3
        mov $0xc0000080, %ecx                /* EFER.LME */
        rdmsr
        or $0x100, %eax
        wrmsr
        mov %cr0, %eax
        and $~0x60000004, %eax               /* caches on, no x87 emulation */
        or $0x80000000, %eax
        mov %eax, %cr0
        ljmp $0x18, $3f
        .code64
3:      mov $1, %edi
        lock xadd %edi, next_cpu(%rip)
        mov %edi, %eax
        inc %eax
        imul $STACK_BYTES, %eax
        lea stacks(%rax), %rsp
        lidt idt_pointer(%rip)
        mov boot_info(%rip), %esi
        call cpu_main
4:      cli
        hlt
        jmp 4b

        .globl exception_stub
exception_stub:
        cld
        call unexpected_exception
5:      hlt
        jmp 5b

        .align 8
gdt:
        .quad 0
        .quad 0x00cf9b000000ffff             /* 0x08: flat 32-bit code */
        .quad 0x00cf93000000ffff             /* 0x10: flat data */
        .quad 0x00af9b000000ffff             /* 0x18: 64-bit code */
gdt_end:
gdt_pointer:
        .word gdt_end - gdt - 1
        .long gdt
        .align 8
idt_pointer:
        .word 4095
        .quad idt

        .globl trampoline, trampoline_end
trampoline:
        .code16
        cli
        mov %cs, %ax
        mov %ax, %ds
        lgdtl trampoline_gdt_pointer - trampoline
        mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        ljmpl $0x08, $enter_long_mode
        .align 4
trampoline_gdt_pointer:
        .word gdt_end - gdt - 1
        .long gdt
trampoline_end:

        /* A function that the other CPU rewrites: mov $value, %eax; ret. */
        .section .patched, "awx"
        .code64
        .align 64
        .globl patched, patched_value
patched:
        .byte 0xb8
patched_value:
        .long 0
        ret

        .bss
        .align 4096
pml4:   .skip 4096
pdpt:   .skip 4096
page_directories:
        .skip 0x4000
stacks: .skip STACK_BYTES * MAX_CPUS
        .globl idt
idt:    .skip 4096
next_cpu:
        .skip 4
boot_info:
        .skip 4
        .section .note.GNU-stack, "", @progbits
