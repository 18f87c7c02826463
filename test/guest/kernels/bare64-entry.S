/*
 * Entry of the 64-bit payloads: multiboot's protected mode to long mode on an identity map of 4 GiB that privilege 3 may use
 * too, an IDT of 256 stubs, a TSS a CPU, the real-mode trampoline of the other CPUs, and the way to privilege 3 and
 * back. CPU numbers are handed out in order of arrival; 0 is the boot CPU.
 */
        .set MULTIBOOT_MAGIC, 0x1badb002
        .set MULTIBOOT_FLAGS, 0x3
        .set TRAMPOLINE, 0x8000
        .set STACK_BYTES, 16384
        .set MAX_CPUS, 64
        .set GDT_TSS, 0x30
        .set TSS_BYTES, 128

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
        mov $page_directories, %edi          /* 2048 pages of 2 MiB: present, writable, user */
        mov $0x87, %eax
1:      mov %eax, (%edi)
        movl $0, 4(%edi)
        add $0x200000, %eax
        add $8, %edi
        cmp $page_directories + 0x4000, %edi
        jb 1b
        mov $page_directories + 7, %eax
        mov $pdpt, %edi
        mov $4, %ecx
2:      mov %eax, (%edi)
        add $0x1000, %eax
        add $8, %edi
        dec %ecx
        jnz 2b
        movl $pdpt + 7, pml4
        lgdt gdt_pointer
        ljmp $0x08, $enter_long_mode

enter_long_mode:                             /* flat 32-bit code; every CPU passes here */
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %cr4, %eax
        or $0x620, %eax                      /* PAE, OSFXSR, OSXMMEXCPT */
        mov %eax, %cr4
        mov $pml4, %eax
        mov %eax, %cr3
        mov $0xc0000080, %ecx                /* EFER.LME */
        rdmsr
        or $0x100, %eax
        wrmsr
        mov %cr0, %eax
        and $~0x60000004, %eax               /* caches on, no x87 emulation */
        or $0x80000022, %eax                 /* paging, NE, MP */
        mov %eax, %cr0
        ljmp $0x18, $3f
        .code64
3:      mov $1, %edi
        lock xadd %edi, next_cpu(%rip)
        mov %edi, %eax
        inc %eax
        imul $STACK_BYTES, %eax
        lea stacks(%rax), %rsp
        mov boot_info(%rip), %esi
        call cpu_main
4:      cli
        hlt
        jmp 4b

/* void load_tables(u32 cpu): the CPU's IDT and TSS. */
        .globl load_tables
load_tables:
        lidt idt_pointer(%rip)
        mov %edi, %eax
        shl $4, %eax
        add $GDT_TSS, %eax
        ltr %ax
        ret

/* Stubs of 16 bytes: those of exceptions without an error code push a zero in its place. */
        .balign 16
        .globl stubs
stubs:
        .set vector, 0
        .rept 256
        .balign 16
        .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
        push $0
        .endif
        push $vector
        jmp enter_interrupt
        .set vector, vector + 1
        .endr
        .balign 16

enter_interrupt:
        push %r11
        push %r10
        push %r9
        push %r8
        push %rdi
        push %rsi
        push %rdx
        push %rcx
        push %rax
        cld
        mov %rsp, %rdi
        testb $3, 96(%rsp)                   /* CS of the interrupted code */
        jz 5f
        /* From privilege 3: an exception ends the body, an interrupt goes back. */
        cmpq $32, 72(%rsp)
        jb leave_user
5:      call interrupt
        pop %rax
        pop %rcx
        pop %rdx
        pop %rsi
        pop %rdi
        pop %r8
        pop %r9
        pop %r10
        pop %r11
        add $16, %rsp
        iretq

/*
 * u64 run_user(void *code, u64 argument, void *stack, struct user *): until the body's first exception; gives its vector. RSP0 is this
 * stack as it stands then, on 16 bytes, so that the processor adds no padding.
 */
        .globl run_user
run_user:
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        mov %rsp, %rax
        and $-16, %rsp
        push %rax
        push %rcx
        mov (%rcx), %rax                     /* the TSS */
        mov %rsp, 4(%rax)
        push $0x2b                           /* SS: user data */
        push %rdx
        push $0x202
        push $0x23                           /* CS: user code */
        push %rdi
        mov %rsi, %rdi
        iretq

leave_user:
        mov 72(%rsp), %rax                   /* the vector */
        mov 88(%rsp), %r8                    /* RIP */
        add $128, %rsp                       /* the frame */
        pop %rcx
        pop %rsp
        mov %r8, 8(%rcx)
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        ret

        .align 16
        .globl gdt
gdt:
        .quad 0
        .quad 0x00cf9b000000ffff             /* 0x08: flat 32-bit code */
        .quad 0x00cf93000000ffff             /* 0x10: flat data */
        .quad 0x00af9b000000ffff             /* 0x18: 64-bit code */
        .quad 0x00affb000000ffff             /* 0x20: 64-bit user code */
        .quad 0x00cff3000000ffff             /* 0x28: user data */
        .globl gdt_tss
gdt_tss:
        .skip 16 * MAX_CPUS                  /* 0x30: a TSS a CPU */
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
