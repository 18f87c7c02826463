// The stack machine of the script language (script.h), its strings and its tables (a dense array part from 0 on, the rest hashed).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"
#include "script.h"

#define ARENA_BYTES (8u << 20)
#define STACK_VALUES 4096
#define MAX_DEPTH 256

struct entry {
  struct value key, value;
};

struct table {
  struct value *dense;
  struct entry *hashed;
  uint32_t dense_count, dense_room, hashed_count, hashed_room;
};

static _Alignas(16) uint8_t arena[ARENA_BYTES];
static size_t used;

void *allocate(size_t bytes) {
  if (used + bytes > ARENA_BYTES) fail("script: out of memory", NULL);
  void *memory = arena + used;
  used += (bytes + 15) & ~(size_t)15;
  return memory;
}

size_t allocated(void) { return used; }
void forget(size_t keep) { used = keep; }

struct string *make_string(const char *a, size_t a_length, const char *b, size_t b_length) {
  struct string *s = allocate(sizeof *s + a_length + b_length);
  memcpy(s->bytes, a, a_length);
  memcpy(s->bytes + a_length, b, b_length);
  s->length = (uint32_t)(a_length + b_length);
  uint32_t hash = 0x811c9dc5;
  for (uint32_t i = 0; i < s->length; i++) hash = (hash ^ (uint8_t)s->bytes[i]) * 0x01000193;
  s->hash = hash;
  return s;
}

static int equal(const struct value *a, const struct value *b) {
  if (a->tag != b->tag) return 0;
  switch (a->tag) {
    case NUMBER:
      return a->number == b->number;
    case STRING:
      return a->string == b->string || (a->string->hash == b->string->hash && a->string->length == b->string->length &&
                                        !memcmp(a->string->bytes, b->string->bytes, a->string->length));
    case TABLE:
      return a->table == b->table;
    default:
      return 1;
  }
}

static uint32_t hash_of(const struct value *key) {
  if (key->tag == STRING) return key->string->hash;
  uint64_t bits;
  memcpy(&bits, &key->number, 8);
  return (uint32_t)((bits ^ bits >> 29) * 0x9e3779b97f4a7c15u >> 32);
}

static struct entry *find_entry(struct entry *entries, uint32_t room, const struct value *key) {
  uint32_t slot = hash_of(key) & (room - 1);
  while (entries[slot].key.tag != NIL && !equal(&entries[slot].key, key)) slot = (slot + 1) & (room - 1);
  return &entries[slot];
}

static void grow_hashed(struct table *t) {
  uint32_t room = t->hashed_room ? t->hashed_room * 2 : 8;
  struct entry *entries = allocate(room * sizeof *entries);
  memset(entries, 0, room * sizeof *entries);
  for (uint32_t i = 0; i < t->hashed_room; i++)
    if (t->hashed[i].key.tag != NIL) *find_entry(entries, room, &t->hashed[i].key) = t->hashed[i];
  t->hashed = entries;
  t->hashed_room = room;
}

static struct value get(struct table *t, const struct value *key) {
  if (key->tag == NUMBER && key->number >= 0 && key->number < t->dense_count) return t->dense[(uint32_t)key->number];
  if (t->hashed_room == 0) return (struct value){NIL, {0}};
  return find_entry(t->hashed, t->hashed_room, key)->value;
}

static void append(struct table *t, struct value value) {
  if (t->dense_count == t->dense_room) {
    uint32_t room = t->dense_room ? t->dense_room * 2 : 8;
    struct value *values = allocate(room * sizeof *values);
    if (t->dense_count) memcpy(values, t->dense, t->dense_count * sizeof *values);
    t->dense = values;
    t->dense_room = room;
  }
  t->dense[t->dense_count++] = value;
}

static void set(struct table *t, const struct value *key, struct value value) {
  if (key->tag == NUMBER && key->number >= 0 && key->number <= t->dense_count && key->number == floor(key->number)) {
    if (key->number == t->dense_count) append(t, value);
    else t->dense[(uint32_t)key->number] = value;
    return;
  }
  if (t->hashed_count * 4 >= t->hashed_room * 3) grow_hashed(t);
  struct entry *entry = find_entry(t->hashed, t->hashed_room, key);
  if (entry->key.tag == NIL) t->hashed_count++;
  *entry = (struct entry){*key, value};
}

/** The text of a string or a whole number. */
static const char *text_of(const struct value *value, char *buffer, size_t *length) {
  if (value->tag == STRING) {
    *length = value->string->length;
    return value->string->bytes;
  }
  if (value->tag != NUMBER) fail("script: not text", NULL);
  uint64_t whole = (uint64_t)value->number;
  char *at = buffer + 24;
  do *--at = (char)('0' + whole % 10);
  while (whole /= 10);
  *length = (size_t)(buffer + 24 - at);
  return at;
}

static struct value join(const struct value *a, const struct value *b) {
  char a_buffer[24], b_buffer[24];
  size_t a_length, b_length;
  const char *a_text = text_of(a, a_buffer, &a_length), *b_text = text_of(b, b_buffer, &b_length);
  return (struct value){STRING, {.string = make_string(a_text, a_length, b_text, b_length)}};
}

static double length_of(const struct value *value) {
  if (value->tag == STRING) return value->string->length;
  if (value->tag != TABLE) fail("script: has no length", NULL);
  return value->table->dense_count;
}

static struct value new_table(void) {
  struct table *t = allocate(sizeof *t);
  memset(t, 0, sizeof *t);
  return (struct value){TABLE, {.table = t}};
}

struct frame {
  const instruction *return_to;
  struct value *base;
};

static struct value stack[STACK_VALUES];
static struct frame frames[MAX_DEPTH];

static void demand_numbers(const struct value *top) {
  if (top[-2].tag != NUMBER || top[-1].tag != NUMBER) fail("script: not numbers", NULL);
}

static void demand_table(const struct value *value) {
  if (value->tag != TABLE) fail("script: not a table", NULL);
}

#define ARITHMETIC(result) \
  demand_numbers(top);     \
  top--;                   \
  top[-1].number = (result); \
  break

#define A top[-1].number
#define B top[0].number

double run_script(const struct script *script) {
  int depth = 0, main_function = 0;
  while (strcmp(script->functions[main_function].name, "main")) main_function++;
  const instruction *pc = script->code + script->functions[main_function].start;
  struct value *base = stack, *top = stack + script->functions[main_function].locals;
  for (;;) {
    instruction word = *pc++;
    uint32_t operand = word >> 8;
    switch ((enum op)(word & 0xff)) {
      case OP_CONSTANT:
        *top++ = script->constants[operand];
        break;
      case OP_LOCAL:
        *top++ = base[operand];
        break;
      case OP_SET_LOCAL:
        base[operand] = *--top;
        break;
      case OP_CALL: {
        const struct function *f = &script->functions[operand];
        if (depth == MAX_DEPTH || top + MAX_LOCALS * 2 > stack + STACK_VALUES) fail("script: too deep", NULL);
        frames[depth++] = (struct frame){pc, base};
        base = top - f->parameters;
        top = base + f->locals;
        pc = script->code + f->start;
        break;
      }
      case OP_RETURN: {
        struct value result = top[-1];
        if (depth == 0) return result.number;
        top = base;
        *top++ = result;
        depth--;
        pc = frames[depth].return_to;
        base = frames[depth].base;
        break;
      }
      case OP_JUMP:
        pc = script->code + operand;
        break;
      case OP_JUMP_UNLESS:
        top--;
        if (top->tag == NIL || (top->tag == NUMBER && top->number == 0)) pc = script->code + operand;
        break;
      case OP_ADD:
        ARITHMETIC(A + B);
      case OP_SUBTRACT:
        ARITHMETIC(A - B);
      case OP_MULTIPLY:
        ARITHMETIC(A * B);
      case OP_DIVIDE:
        ARITHMETIC(A / B);
      case OP_MODULO:
        ARITHMETIC(A - B * (double)(int64_t)(A / B));
      case OP_LESS:
        ARITHMETIC(A < B);
      case OP_AT_MOST:
        ARITHMETIC(A <= B);
      case OP_JOIN:
        top--;
        top[-1] = join(&top[-1], &top[0]);
        break;
      case OP_EQUAL:
      case OP_UNEQUAL: {
        int same = equal(&top[-2], &top[-1]);
        top--;
        top[-1] = (struct value){NUMBER, {.number = same == ((word & 0xff) == OP_EQUAL)}};
        break;
      }
      case OP_INDEX:
        demand_table(&top[-2]);
        top--;
        top[-1] = get(top[-1].table, &top[0]);
        break;
      case OP_SET_INDEX:
        demand_table(&top[-3]);
        top -= 3;
        set(top[0].table, &top[1], top[2]);
        break;
      case OP_NEW_TABLE:
        *top++ = new_table();
        break;
      case OP_LENGTH:
        top[-1] = (struct value){NUMBER, {.number = length_of(&top[-1])}};
        break;
      case OP_POP:
        top--;
        break;
    }
  }
}
