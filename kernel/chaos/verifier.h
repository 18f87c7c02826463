/* What the parts of the workload share; verifier.c has the program. */
#ifndef VERIFIER_H
#define VERIFIER_H
#include <stdatomic.h>
#include <stdint.h>

enum { BLOCK = 4096, WORDS = BLOCK / 8 };

extern atomic_int stop;
extern uint64_t seed;
extern const char *spare_path;
/* Counted for the host: lines on the serial line, drivers started, pieces of code run, lines of input. */
extern atomic_ullong serial_lines, driver_starts, codes, input_lines;

void violation(const char *what, uint64_t a, uint64_t b);
uint64_t next_random(uint64_t *state);
void fill_block(uint64_t *words, uint64_t block, uint64_t count);
void check_block(const uint64_t *words, uint64_t block, uint64_t count);
void move_block(int fd, uint64_t *words, uint64_t block, int is_write);

/* Thread bodies; the argument is not looked at. */
void *serial_thread(void *argument);
void *input_thread(void *argument);
void *code_thread(void *argument);
void *driver_thread(void *argument);
#endif
