// A small script language, as a workload that looks like an interpreter to the processor below: dynamically typed values, a compiler
// from text to byte code, and a stack machine with one dispatching switch. Memory is taken from an arena that is emptied between runs.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define MAX_FUNCTIONS 16
#define MAX_CODE 1024
#define MAX_CONSTANTS 64
#define MAX_LOCALS 24

enum tag { NIL, NUMBER, STRING, TABLE };

struct string {
  uint32_t hash, length;
  char bytes[];
};

struct table;

struct value {
  enum tag tag;
  union {
    double number;
    struct string *string;
    struct table *table;
  };
};

enum op {
  OP_CONSTANT, OP_LOCAL, OP_SET_LOCAL, OP_CALL, OP_RETURN, OP_JUMP, OP_JUMP_UNLESS, OP_ADD, OP_SUBTRACT, OP_MULTIPLY, OP_DIVIDE, OP_MODULO,
  OP_JOIN, OP_EQUAL, OP_UNEQUAL, OP_LESS, OP_AT_MOST, OP_INDEX, OP_SET_INDEX, OP_NEW_TABLE, OP_LENGTH, OP_POP,
};

/** Low 8 bits: the operation; the rest its operand. */
typedef uint32_t instruction;

struct function {
  char name[16];
  int start, parameters, locals;
};

struct script {
  instruction code[MAX_CODE];
  struct value constants[MAX_CONSTANTS];
  struct function functions[MAX_FUNCTIONS];
  int code_length, constant_count, function_count;
};

/** Compiles `text`; its strings stay when the arena is emptied afterwards. Ends the benchmark when it cannot. */
void compile_script(struct script *script, const char *text);
/** Calls `main` and returns the number it returns. */
double run_script(const struct script *script);

void *allocate(size_t bytes);
/** Forgets what was allocated after `keep` bytes; returns how many are in use. */
size_t allocated(void);
void forget(size_t keep);
struct string *make_string(const char *a, size_t a_length, const char *b, size_t b_length);
