/* Runs single instructions on the host processor for the differential tests. Linux, x86-64, no C library.
 *
 * Reads batches of cases from standard input and writes their results to standard output; the layout of both is
 * case-record.ts's. Everything happens inside one signal handler: a case ends by a fault (at the latest that of the
 * HLT which fills the code pages), the handler notes the state from the signal frame, writes the next case's state into
 * the frame and returns. So the kernel loads and saves every register, and one signal is all that a case costs.
 * The program is position independent, so that nothing but the test's own pages lies below 4 GiB. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define CODE 0x10000000UL
#define CODE_BYTES 0x2000UL
#define DATA 0x20000000UL
#define DATA_BYTES 0x3000UL /* the last page is read-only */
#define DATA_WRITABLE 0x2000UL
#define FS_BASE (DATA + 0x40)
#define GS_BASE (DATA + 0xe00)
#define HLT 0xf4
#define FX_BYTES 416
#define SIGALRM 14
#define NO_OUTCOME 255
#define BATCH_BYTES (16UL << 20)

struct input {
  u32 bytes;
  u16 mode, segments; /* segments: the case may load segment registers */
  u32 code_bytes, patches;
  u64 gpr[16], rip, rflags;
  u8 fx[FX_BYTES];
};
struct output {
  u32 bytes, trap, error, changed_at, changed_bytes;
  u16 es, cs, ss, ds, fs, gs;
  u64 cr2, gpr[16], rip, rflags;
  u8 fx[FX_BYTES];
};
struct patch {
  u32 at, bytes;
};
/* struct ucontext of the kernel's ABI. */
struct frame {
  u64 flags;
  void *link;
  u64 stack[3];
  u64 gregs[18];
  u64 csgsfs;
  u64 error, trap, oldmask, cr2;
  u8 *fp;
};
/* Index in gregs of each register in encoding order. */
static const u8 GREG[16] = {13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7};
enum { G_RIP = 16, G_EFLAGS = 17 };

static u8 *in_buffer, *out_buffer, *shadow, *background, *alias;
static u64 out_used;
static u8 *next_case;
static u32 cases_left;
static struct input *running;
/* Cases so far; what it was at the last tick of the clock. */
static u64 started, started_at_tick;

static long call(long n, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
}
enum { SYS_READ = 0, SYS_WRITE = 1, SYS_MMAP = 9, SYS_SIGACTION = 13, SYS_EXIT = 60, SYS_MODIFY_LDT = 154, SYS_PRCTL = 158, SYS_SIGALTSTACK = 131, SYS_MEMFD = 319, SYS_TRUNCATE = 77 };

void *memcpy(void *to, const void *from, u64 n) {
  void *result = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
  return result;
}
void *memset(void *to, int value, u64 n) {
  void *result = to;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
  return result;
}

static void leave(int code) { call(SYS_EXIT, code, 0, 0, 0, 0, 0); }

static void read_all(u8 *to, u64 n) {
  while (n > 0) {
    long got = call(SYS_READ, 0, (long)to, (long)n, 0, 0, 0);
    if (got <= 0) leave(got == 0 ? 0 : 3);
    to += got;
    n -= (u64)got;
  }
}

static void write_all(const u8 *from, u64 n) {
  while (n > 0) {
    long put = call(SYS_WRITE, 1, (long)from, (long)n, 0, 0, 0);
    if (put <= 0) leave(4);
    from += put;
    n -= (u64)put;
  }
}

/* A batch: u32 cases, u32 bytes of all of them. The answer has the same head. */
static void read_batch(void) {
  u32 head[2];
  read_all((u8 *)head, 8);
  if (head[0] == 0 || head[1] > BATCH_BYTES) leave(5);
  read_all(in_buffer, head[1]);
  cases_left = head[0];
  next_case = in_buffer;
  out_used = 0;
  *(u32 *)out_buffer = head[0];
}

static void write_batch(void) {
  ((u32 *)out_buffer)[1] = (u32)out_used;
  write_all(out_buffer, out_used + 8);
}

/* Calls `visit` for each patch of a case with its place and bytes. */
static void apply_patches(struct input *c, int undo) {
  u8 *p = (u8 *)(c + 1) + ((c->code_bytes + 7) & ~7U);
  for (u32 i = 0; i < c->patches; i++) {
    struct patch *patch = (struct patch *)p;
    const u8 *from = undo ? background + patch->at : p + sizeof *patch;
    if (patch->at + patch->bytes > DATA_BYTES) leave(6);
    memcpy(alias + patch->at, from, patch->bytes);
    memcpy(shadow + patch->at, from, patch->bytes);
    p += sizeof *patch + ((patch->bytes + 7) & ~7U);
  }
}

/* Code bytes wrap within the code pages, so that a case never runs out of them. */
static void place_code(struct input *c, int undo) {
  const u8 *code = (u8 *)(c + 1);
  u64 at = c->mode == 16 ? c->rip : c->rip - CODE;
  if (at + c->code_bytes > CODE_BYTES) leave(7);
  if (undo) memset((u8 *)CODE + at, HLT, c->code_bytes);
  else memcpy((u8 *)CODE + at, code, c->code_bytes);
}

static void note_result(struct frame *f) {
  struct output *o = (struct output *)(out_buffer + 8 + out_used);
  __asm__("mov %%es, %0" : "=r"(o->es));
  __asm__("mov %%ds, %0" : "=r"(o->ds));
  __asm__("mov %%fs, %0" : "=r"(o->fs));
  __asm__("mov %%gs, %0" : "=r"(o->gs));
  o->cs = (u16)f->csgsfs;
  o->ss = (u16)(f->csgsfs >> 48);
  for (int i = 0; i < 16; i++) o->gpr[i] = f->gregs[GREG[i]];
  o->rip = f->gregs[G_RIP];
  o->rflags = f->gregs[G_EFLAGS];
  o->trap = (u32)f->trap;
  o->error = (u32)f->error;
  o->cr2 = f->cr2;
  memcpy(o->fx, f->fp, FX_BYTES);
  const u64 *now = (const u64 *)alias, *before = (const u64 *)shadow;
  long first = 0, last = DATA_WRITABLE / 8 - 1;
  while (first <= last && now[first] == before[first]) first++;
  while (last >= first && now[last] == before[last]) last--;
  o->changed_at = (u32)(first * 8);
  o->changed_bytes = (u32)((last - first + 1) * 8);
  if (o->changed_bytes > 0) {
    memcpy((u8 *)(o + 1), alias + o->changed_at, o->changed_bytes);
    memcpy(alias + o->changed_at, background + o->changed_at, o->changed_bytes);
    memcpy(shadow + o->changed_at, background + o->changed_at, o->changed_bytes);
  } else o->changed_at = 0;
  o->bytes = (u32)sizeof *o + o->changed_bytes;
  out_used += o->bytes;
}

static void load_case(struct frame *f, struct input *c) {
  apply_patches(c, 0);
  place_code(c, 0);
  for (int i = 0; i < 16; i++) f->gregs[GREG[i]] = c->gpr[i];
  f->gregs[G_RIP] = c->rip;
  f->gregs[G_EFLAGS] = c->rflags;
  /* CS and SS: 64-bit, compatibility, and 16-bit ones of the LDT. */
  u64 cs = c->mode == 64 ? 0x33 : c->mode == 32 ? 0x23 : 0x07;
  u64 ss = c->mode == 16 ? 0x0f : 0x2b;
  f->csgsfs = cs | ss << 48;
  __asm__ volatile("movl %0, %%ds; movl %0, %%es" : : "r"(c->mode == 64 ? 0 : (u32)ss));
  started++;
  memcpy(f->fp, c->fx, FX_BYTES);
  *(u64 *)(f->fp + 512) |= 3; /* XSTATE_BV: x87 and SSE come from the frame */
}

static void set_bases(void) {
  __asm__ volatile("movl %0, %%ds; movl %0, %%es" : : "r"(0));
  call(SYS_PRCTL, 0x1002, FS_BASE, 0, 0, 0, 0);
  call(SYS_PRCTL, 0x1001, GS_BASE, 0, 0, 0, 0);
}

static void on_signal(int number, void *info, struct frame *f) {
  (void)number;
  (void)info;
  if (running != 0) {
    note_result(f);
    apply_patches(running, 1);
    place_code(running, 1);
    if (running->segments) set_bases();
    if (--cases_left == 0) write_batch();
  }
  if (cases_left == 0) read_batch();
  running = (struct input *)next_case;
  next_case += running->bytes;
  load_case(f, running);
}

/* A case that runs through a whole period has no outcome: it ends with a trap that does not exist. */
static void on_tick(int number, void *info, struct frame *f) {
  if (started == started_at_tick && running != 0) {
    f->trap = NO_OUTCOME;
    f->error = 0;
    on_signal(number, info, f);
  }
  started_at_tick = started;
}

__asm__(".globl restorer\nrestorer: mov $15, %eax\nsyscall\n");
void restorer(void);

static void *map(u64 at, u64 bytes, int protection, int flags, int fd) {
  long got = call(SYS_MMAP, (long)at, (long)bytes, protection, flags | (at ? 0x10 : 0), fd, 0);
  if (got < 0 && got > -4096) leave(8);
  return (void *)got;
}

static void install_handler(int number, void (*handler)(int, void *, struct frame *)) {
  struct {
    void (*handler)(int, void *, struct frame *);
    u64 flags;
    void (*restorer)(void);
    u64 mask;
  } action = {handler, 4 /* SIGINFO */ | 0x08000000 /* ONSTACK */ | 0x04000000 /* RESTORER */, restorer, 1UL << (SIGALRM - 1)};
  if (call(SYS_SIGACTION, number, (long)&action, 0, 8, 0, 0) != 0) leave(9);
}

/* 16-bit code and data segments over the test's pages; absent where the kernel has no 16-bit segments. */
static void make_segments(void) {
  struct {
    u32 entry, base, limit, flags;
  } code = {0, CODE, CODE_BYTES - 1, 2 << 1}, data = {1, DATA, 0x3fff, 0};
  call(SYS_MODIFY_LDT, 0x11, (long)&code, sizeof code, 0, 0, 0);
  call(SYS_MODIFY_LDT, 0x11, (long)&data, sizeof data, 0, 0, 0);
}

void run(void) {
  int fd = (int)call(SYS_MEMFD, (long)"data", 0, 0, 0, 0, 0);
  call(SYS_TRUNCATE, fd, DATA_BYTES, 0, 0, 0, 0);
  map(DATA, DATA_BYTES, 3, 1, fd);
  alias = map(0, DATA_BYTES, 3, 1, fd);
  call(10 /* mprotect */, DATA + DATA_WRITABLE, DATA_BYTES - DATA_WRITABLE, 1, 0, 0, 0);
  map(CODE, CODE_BYTES, 7, 0x22, -1);
  memset((void *)CODE, HLT, CODE_BYTES);
  /* Populate the read-only page: what is absent faults otherwise than what may not be written. */
  (void)*(volatile u8 *)(DATA + DATA_WRITABLE);
  in_buffer = map(0, BATCH_BYTES, 3, 0x22, -1);
  out_buffer = map(0, BATCH_BYTES * 4, 3, 0x22, -1);
  shadow = map(0, DATA_BYTES, 3, 0x22, -1);
  background = map(0, DATA_BYTES, 3, 0x22, -1);
  make_segments();
  set_bases();
  u64 stack[3] = {(u64)map(0, 1 << 18, 3, 0x22, -1), 0, 1 << 18};
  call(SYS_SIGALTSTACK, (long)stack, 0, 0, 0, 0, 0);
  /* First comes what the data pages hold when no case has written to them. */
  read_all(background, DATA_BYTES);
  memcpy(alias, background, DATA_BYTES);
  memcpy(shadow, background, DATA_BYTES);
  static const u8 SIGNALS[] = {4, 5, 7, 8, 11};
  for (u32 i = 0; i < sizeof SIGNALS; i++) install_handler(SIGNALS[i], on_signal);
  install_handler(SIGALRM, on_tick);
  static const u64 PERIOD[4] = {0, 200000, 0, 200000};
  call(38 /* setitimer */, 0, (long)PERIOD, 0, 0, 0, 0);
  __asm__ volatile("ud2");
  leave(10);
}

/* The stack is 16-byte aligned at a program's start. */
__asm__(".globl _start\n_start: xor %ebp, %ebp\ncall run\n");
