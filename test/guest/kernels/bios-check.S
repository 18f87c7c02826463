/*
 * A boot sector and what it loads behind itself: asks a PC's firmware for its services in real mode and writes what they gave to
 * COM1, a line each. Sectors 16-23 hold the test's data; sector 24 is written. Ends by isa-debug-exit.
 */
        .set COM1, 0x3f8
        .set DEBUG_EXIT, 0xf4
        .set STAGE2_SECTORS, 4
        .set DATA_SECTOR, 16
        .set DATA_SECTORS, 8
        .set WRITTEN_SECTOR, 24
        .set DATA, 0x9000
        .set BACK, 0xa000
        .set DATA_BYTES, DATA_SECTORS * 512
        .set EXTENDED, 0x200000             /* where INT 15h AH=87h moves the data and back */
        .set TICKS, 3

        .macro say text
        call print
        .asciz "\text"
        .endm

        .code16
        .text
        ljmp $0, $1f
1:      xor %ax, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov $0x7c00, %sp
        sti
        cld
        mov %dl, drive
        mov $stage2_packet, %si
        mov $0x42, %ah                      /* INT 13h: extended read */
        int $0x13
        jc 2f
        jmp stage2
2:      say "stage 2 cannot be read: "
        call print_ax
        jmp finish

/* The text behind the call. */
print:  pop %si
3:      lodsb
        test %al, %al
        jz 4f
        call put
        jmp 3b
4:      jmp *%si

put:    push %dx
        mov $COM1, %dx
        out %al, %dx
        pop %dx
        ret

/* AX in hexadecimal, and the line's end. */
print_ax:
        mov $4, %cx
5:      rol $4, %ax
        push %ax
        and $15, %al
        add $'0', %al
        cmp $'9', %al
        jbe 6f
        add $'a' - '9' - 1, %al
6:      call put
        pop %ax
        loop 5b
        mov $10, %al
        jmp put

finish: mov $0, %al
        out %al, $DEBUG_EXIT
7:      hlt
        jmp 7b

/* AX: the sum of DATA_BYTES at DS:SI as words. */
sum:    mov $DATA_BYTES / 2, %cx
        xor %dx, %dx
8:      lodsw
        add %ax, %dx
        loop 8b
        mov %dx, %ax
        ret

drive:  .byte 0
        .balign 4
stage2_packet:                              /* bytes, sectors, offset, segment, first sector */
        .word 16, STAGE2_SECTORS, 0x7e00, 0
        .quad 1
        .org 510
        .word 0xaa55

stage2: say "bios-check: drive "
        movzbw drive, %ax
        call print_ax

        say "INT 12h, memory in KiB: "
        int $0x12
        call print_ax

        say "INT 13h, reading: "
        mov $read_packet, %si
        mov drive, %dl
        mov $0x42, %ah
        int $0x13
        call print_status
        say "sum of the sectors: "
        mov $DATA, %si
        call sum
        call print_ax

        say "INT 13h, writing: "
        mov $write_packet, %si
        mov drive, %dl
        mov $0x4300, %ax
        int $0x13
        call print_status

        say "INT 13h, beyond the end: "
        mov $beyond_packet, %si
        mov drive, %dl
        mov $0x42, %ah
        int $0x13
        call print_status

        say "INT 13h, size in sectors: "
        movw $26, parameters
        mov $parameters, %si
        mov drive, %dl
        mov $0x48, %ah
        int $0x13
        mov parameters + 16, %ax
        call print_ax

        say "INT 15h, to extended memory: "
        mov $DATA, %eax
        mov $EXTENDED, %ebx
        call move
        say "INT 15h, and back: "
        mov $EXTENDED, %eax
        mov $BACK, %ebx
        call move
        say "sum of what came back: "
        mov $BACK, %si
        call sum
        call print_ax

        say "INT 15h, pieces of RAM: "
        xor %ebx, %ebx
        xor %bp, %bp
9:      mov $0xe820, %eax
        mov $0x534d4150, %edx
        mov $20, %ecx
        mov $map_entry, %di
        int $0x15
        jc 10f
        cmpw $1, map_entry + 16
        jne 13f
        inc %bp
13:     test %ebx, %ebx
        jnz 9b
10:     mov %bp, %ax
        call print_ax

        say "INT 15h, wait for 20 ms: "
        xor %cx, %cx
        mov $20000, %dx
        mov $0x86, %ah
        int $0x15
        call print_status

        say "INT 1Ah, ticks seen: "
        xor %bp, %bp
11:     call ticks
        mov %dx, %bx
12:     hlt
        call ticks
        cmp %dx, %bx
        je 12b
        inc %bp
        cmp $TICKS, %bp
        jb 11b
        mov %bp, %ax
        call print_ax

        say "INT 16h, a key (none: 1): "
        mov $1, %ah
        int $0x16
        lahf
        mov %ah, %al
        shr $6, %al
        and $1, %ax
        call print_ax

        say "DIV by zero comes to INT 0: "
        movl $on_divide, 0
        xor %ax, %ax
        div %al
        call print_ax
        say "bios-check: done\n"
        jmp finish

on_divide:                                  /* a fault: CS:IP is the DIV's, two bytes long */
        push %bp
        mov %sp, %bp
        addw $2, 2(%bp)
        pop %bp
        mov $1, %ax
        iret

ticks:  push %bx
        xor %ah, %ah
        int $0x1a                           /* CX:DX */
        pop %bx
        ret

/* Of a service: 0, or AH where it failed. */
print_status:
        jc 14f
        xor %ax, %ax
14:     and $0xff00, %ax
        jmp print_ax

/* EAX, EBX: from and to, DATA_BYTES. */
move:   mov %eax, source + 2
        movb $0x93, source + 5
        mov %ebx, target + 2
        movb $0x93, target + 5
        mov $DATA_BYTES / 2, %cx
        mov $descriptors, %si
        mov $0x87, %ah
        int $0x15
        jmp print_status

        .balign 8
descriptors:                                /* INT 15h AH=87h: null, the table itself, source, target, code, stack */
        .quad 0, 0
source: .quad 0xffff
target: .quad 0xffff
        .quad 0, 0
read_packet:
        .word 16, DATA_SECTORS, DATA, 0
        .quad DATA_SECTOR
write_packet:
        .word 16, 1, DATA, 0
        .quad WRITTEN_SECTOR
beyond_packet:
        .word 16, 1, BACK, 0
        .quad 0x7fffffff
parameters:
        .skip 32
map_entry:
        .skip 32
        .org 512 * (1 + STAGE2_SECTORS)
