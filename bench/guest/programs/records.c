// records: what systems programs do most, as Dhrystone has it: assign records, copy and compare short strings, call small procedures
// through two or three levels, switch on enumerations, index arrays, follow pointers. Here: a desk that takes orders.
#include <string.h>
#include "bench.h"

#define ORDERS 16
#define LOOPS 1000
#define APART __attribute__((noinline))

enum status { NEW, PRICED, PACKED, SENT, STATUSES };

struct order {
  struct order *next;
  enum status status;
  int item, count, price;
  char customer[32];
};

static const char *const customers[4] = {"Miller and Daughters, Harbour", "Miller and Daughters, Station", "The Lamp Maker", "Observatory"};
static struct order orders[ORDERS], template, *first;
static int stock[64], ledger[8][STATUSES];

static APART int unit_price(int item) { return item % 7 * 3 + 5; }

static APART void set_price(struct order *order, int discount) {
  int price = unit_price(order->item) * order->count;
  order->price = discount ? price - price / 8 : price;
}

static APART int is_regular(const char *customer) { return strcmp(customer, customers[1]) == 0 || customer[0] == 'O'; }

static APART void take_from_stock(int *shelf, int item, int count) {
  shelf[item] -= count;
  if (shelf[item] < 0) {
    shelf[item] += 40;
    shelf[(item + 9) & 63]++;
  }
}

static APART void advance(struct order *order) {
  switch (order->status) {
    case NEW:
      set_price(order, is_regular(order->customer));
      order->status = PRICED;
      break;
    case PRICED:
      take_from_stock(stock, order->item, order->count);
      order->status = PACKED;
      break;
    case PACKED:
      order->status = SENT;
      break;
    default: {
      struct order *next = order->next;
      *order = template;
      order->next = next;
    }
  }
}

static APART void book(const struct order *order) {
  int *row = ledger[order->item & 7];
  row[order->status] += order->price;
  if (row[order->status] > 1 << 20) row[order->status] = 0;
}

static APART const struct order *dearest(void) {
  const struct order *found = first;
  for (const struct order *order = first; order; order = order->next)
    if (order->price > found->price) found = order;
  return found;
}

static APART uint64_t loop(int turn) {
  struct order *order = first;
  for (int skip = turn & 3; skip > 0 && order->next; skip--) order = order->next;
  strcpy(template.customer, customers[turn & 3]);
  template.item = (turn * 5) & 63;
  template.count = turn % 9 + 1;
  advance(order);
  book(order);
  if (memcmp(order->customer, template.customer, 8) == 0) order->count++;
  const struct order *top = turn % 8 == 0 ? dearest() : order;
  return (uint64_t)(top->price + stock[order->item] + ledger[order->item & 7][order->status] + (int)strlen(order->customer));
}

static void prepare(void) {
  memset(ledger, 0, sizeof ledger);
  for (int i = 0; i < 64; i++) stock[i] = i;
  template = (struct order){NULL, NEW, 1, 1, 0, ""};
  for (int i = 0; i < ORDERS; i++) {
    orders[i] = template;
    orders[i].next = i + 1 < ORDERS ? &orders[i + 1] : NULL;
    strcpy(orders[i].customer, customers[i & 3]);
  }
  first = orders;
}

static void work(uint64_t n) {
  while (n--) {
    prepare();
    uint64_t sum = 0;
    for (int turn = 0; turn < LOOPS; turn++) sum = mix(sum, loop(turn));
    expect("sum", sum, 0xc8c353d47dbe55f4u);
  }
}

const struct bench record_benches[] = {{"records", "k/s", RATE, LOOPS / 1e3, NULL, work, NULL}, LAST};
