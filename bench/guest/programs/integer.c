// integer: work of the four kinds that embedded benchmarks such as CoreMark mix: linked lists (find, reverse, merge sort), small matrices, a
// state machine over text, and a CRC that ties their results together.
#include <stddef.h>
#include <string.h>
#include "bench.h"

#define NODES 60
#define SIDE 10
#define TEXT_BYTES 400

struct node {
  struct node *next;
  int16_t key, value;
};

static struct node nodes[NODES];
static int16_t left[SIDE][SIDE], right[SIDE][SIDE];
static int32_t product[SIDE][SIDE];
static char text[TEXT_BYTES + 1];

/** CRC-16/ARC, a bit at a time. */
static uint16_t crc16(uint16_t crc, uint16_t word) {
  for (int bit = 0; bit < 16; bit++) {
    unsigned carry = (crc ^ word) & 1;
    crc >>= 1;
    word >>= 1;
    if (carry) crc ^= 0xa001;
  }
  return crc;
}

static struct node *build_list(void) {
  uint64_t seed = 12345;
  for (int i = 0; i < NODES; i++) {
    uint64_t r = next_random(&seed);
    nodes[i] = (struct node){i + 1 < NODES ? &nodes[i + 1] : NULL, (int16_t)(r & 0x3ff), (int16_t)(r >> 20 & 0x7fff)};
  }
  return nodes;
}

static struct node *reverse(struct node *list) {
  struct node *done = NULL;
  while (list) {
    struct node *next = list->next;
    list->next = done;
    done = list;
    list = next;
  }
  return done;
}

static const struct node *find_key(const struct node *list, int16_t key) {
  while (list && list->key != key) list = list->next;
  return list;
}

static int by_key(const struct node *a, const struct node *b) { return a->key - b->key; }
static int by_value(const struct node *a, const struct node *b) { return a->value - b->value; }

static struct node *merge(struct node *a, struct node *b, int (*compare)(const struct node *, const struct node *)) {
  struct node head, *tail = &head;
  while (a && b) {
    struct node **smaller = compare(a, b) <= 0 ? &a : &b;
    tail->next = *smaller;
    tail = *smaller;
    *smaller = tail->next;
  }
  tail->next = a ? a : b;
  return head.next;
}

static struct node *sort(struct node *list, int length, int (*compare)(const struct node *, const struct node *)) {
  if (length < 2) {
    if (list) list->next = NULL;
    return list;
  }
  struct node *second = list;
  for (int i = 0; i < length / 2; i++) second = second->next;
  struct node *sorted_second = sort(second, length - length / 2, compare);
  return merge(sort(list, length / 2, compare), sorted_second, compare);
}

static uint16_t list_work(uint16_t crc) {
  struct node *list = build_list();
  for (int16_t key = 0; key < 20; key++) {
    const struct node *found = find_key(list, (int16_t)(key * 51));
    crc = crc16(crc, found ? (uint16_t)found->value : (uint16_t)key);
    list = reverse(list);
  }
  list = sort(list, NODES, by_key);
  crc = crc16(crc, (uint16_t)list->value);
  list = sort(list, NODES, by_value);
  for (const struct node *n = list; n; n = n->next) crc = crc16(crc, (uint16_t)n->key);
  return crc;
}

static uint16_t matrix_work(uint16_t crc) {
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      left[i][j] = (int16_t)(i * 7 + j * 3 + crc);
      right[i][j] = (int16_t)(i * 5 - j * 11 + 1);
    }
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      int32_t sum = 0;
      for (int k = 0; k < SIDE; k++) sum += left[i][k] * right[k][j];
      product[i][j] = sum;
    }
  int32_t sum = 0, previous = 0;
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      int32_t bits = (product[i][j] >> 2 & 0xf) * (product[i][j] >> 5 & 0x7f);
      sum += bits > previous ? 10 : bits & 1;
      previous = bits;
      crc = crc16(crc, (uint16_t)product[i][j]);
    }
  return crc16(crc, (uint16_t)sum);
}

enum state { START, SIGN, INTEGER, POINT, FRACTION, EXPONENT, SCIENTIFIC, INVALID, STATES };

static enum state next_state(enum state state, char c) {
  int digit = c >= '0' && c <= '9';
  switch (state) {
    case START:
      return digit ? INTEGER : c == '+' || c == '-' ? SIGN : c == '.' ? POINT : INVALID;
    case SIGN:
      return digit ? INTEGER : c == '.' ? POINT : INVALID;
    case INTEGER:
      return digit ? INTEGER : c == '.' ? FRACTION : c == 'e' ? EXPONENT : INVALID;
    case POINT:
    case FRACTION:
      return digit ? FRACTION : c == 'e' && state == FRACTION ? EXPONENT : INVALID;
    case EXPONENT:
      return digit || c == '-' ? SCIENTIFIC : INVALID;
    case SCIENTIFIC:
      return digit ? SCIENTIFIC : INVALID;
    default:
      return INVALID;
  }
}

static uint16_t state_work(uint16_t crc) {
  uint32_t ended[STATES] = {0}, passed[STATES] = {0};
  enum state state = START;
  for (const char *c = text; *c; c++) {
    if (*c == ',') {
      ended[state]++;
      state = START;
    } else {
      state = next_state(state, *c);
      passed[state]++;
    }
  }
  for (int i = 0; i < STATES; i++) crc = crc16(crc16(crc, (uint16_t)ended[i]), (uint16_t)passed[i]);
  return crc;
}

static void setup(void) {
  static const char *const words[] = {"7", "-31", "+90210", "2.5", ".0625", "-16.75", "6.02e23", "-1.6e-19", "3e", "12x4"};
  size_t used = 0;
  for (unsigned i = 0; used + 10 < TEXT_BYTES; i = i * 7 + 3) {
    const char *word = words[i % 10];
    memcpy(text + used, word, strlen(word));
    used += strlen(word);
    text[used++] = ',';
  }
  text[used] = 0;
}

static void work(uint64_t n) {
  while (n--) {
    uint16_t crc = state_work(matrix_work(list_work(0)));
    BARRIER();
    expect("crc", crc, 0xa3d8);
  }
}

const struct bench integer_benches[] = {{"integer", "it/s", RATE, 1, setup, work, 0}, LAST};
