/* Entry of the boot CPU, interrupt stubs, and the real-mode trampoline of the other CPUs (copied to 0x8000). */
        .set MULTIBOOT_MAGIC, 0x1badb002
        .set MULTIBOOT_FLAGS, 0x3            /* modules on page boundaries, memory information */
        .set TRAMPOLINE, 0x8000
        .set AP_ROUNDS, 10000

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
        lgdt gdt_pointer
        ljmp $0x08, $1f
1:      mov $0x10, %cx
        mov %cx, %ds
        mov %cx, %es
        mov %cx, %fs
        mov %cx, %gs
        mov %cx, %ss
        mov $boot_stack_end, %esp
        push %ebx
        push %eax
        call kernel_main
2:      hlt
        jmp 2b

        .globl timer_stub
timer_stub:
        pusha
        cld
        call timer_interrupt
        popa
        iret

        .globl spurious_stub
spurious_stub:
        iret

        .globl unexpected_stub
unexpected_stub:
        cld
        call unexpected_interrupt
3:      hlt
        jmp 3b

        .align 8
gdt:
        .quad 0
        .quad 0x00cf9b000000ffff             /* 0x08: flat 32-bit code */
        .quad 0x00cf93000000ffff             /* 0x10: flat data */
gdt_end:
gdt_pointer:
        .word gdt_end - gdt - 1
        .long gdt

/* A CPU starts here in real mode at CS = 0x0800, IP = 0; nothing else is known. */
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
        ljmpl $0x08, $(TRAMPOLINE + 4f - trampoline)
        .code32
4:      mov $0x10, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov $AP_ROUNDS, %ecx
5:      lock incl ap_rounds
        dec %ecx
        jnz 5b
        lock incl ap_count
6:      hlt
        jmp 6b
        .align 4
trampoline_gdt_pointer:
        .word gdt_end - gdt - 1
        .long gdt
trampoline_end:

        .bss
        .align 16
        .skip 16384
boot_stack_end:
        .section .note.GNU-stack, "", @progbits
