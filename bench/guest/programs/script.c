// script: a script of recursion, arrays, string keys and string building, in an interpreter of byte code (script.h).
#include "bench.h"
#include "script.h"

static const char text[] =
    "fn fib(n) { if n < 2 { return n } return fib(n - 1) + fib(n - 2) }"
    "fn sieve(limit) {"
    "  composite = {} i = 0 count = 0"
    "  while i <= limit { composite[i] = 0 i = i + 1 }"
    "  i = 2"
    "  while i <= limit {"
    "    if composite[i] == 0 { count = count + 1 j = i * i while j <= limit { composite[j] = 1 j = j + i } }"
    "    i = i + 1"
    "  }"
    "  return count"
    "}"
    "fn words(turns) {"
    "  seen = {} i = 0 different = 0 letters = 0"
    "  while i < turns {"
    "    word = 'word' .. (i * i % 37)"
    "    if seen[word] == seen['none'] { seen[word] = 0 different = different + 1 }"
    "    seen[word] = seen[word] + i"
    "    letters = letters + #word"
    "    i = i + 1"
    "  }"
    "  return different * 100000 + letters + seen['word4']"
    "}"
    "fn swap(list, a, b) { kept = list[a] list[a] = list[b] list[b] = kept return 0 }"
    "fn sort(list, low, high) {"
    "  if high <= low { return 0 }"
    "  border = low i = low"
    "  while i < high { if list[i] < list[high] { swap(list, i, border) border = border + 1 } i = i + 1 }"
    "  swap(list, border, high)"
    "  sort(list, low, border - 1)"
    "  return sort(list, border + 1, high)"
    "}"
    "fn sorted(length) {"
    "  list = {} seed = 17 i = 0 sum = 0"
    "  while i < length { seed = (seed * 421 + 1663) % 7875 list[i] = seed i = i + 1 }"
    "  sort(list, 0, length - 1)"
    "  i = 1"
    "  while i < length { if list[i] < list[i - 1] { return 0 } sum = sum + i * list[i] % 101 i = i + 1 }"
    "  return sum"
    "}"
    "fn main() { return fib(13) + sieve(800) * 1000 + words(150) + sorted(120) }";

static struct script script;
static size_t compiled_bytes;

static void setup(void) {
  compile_script(&script, text);
  compiled_bytes = allocated();
}

static void work(uint64_t n) {
  while (n--) {
    forget(compiled_bytes);
    expect("result", (uint64_t)run_script(&script), 0x1f3ac1);
  }
}

const struct bench script_benches[] = {{"script", "runs/s", RATE, 1, setup, work, NULL}, LAST};
