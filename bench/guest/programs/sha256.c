// sha256: FIPS 180-4 SHA-256 in portable C over a 16 KiB message.
#include <string.h>
#include "bench.h"

#define MESSAGE_BYTES 16384

static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint8_t message[MESSAGE_BYTES];

static inline uint32_t rotate(uint32_t x, int by) { return x >> by | x << (32 - by); }

/** 6.2.2 step 3 with the variables renamed instead of moved. */
#define ROUND(t, a, b, c, d, e, f, g, h)                                                                       \
  do {                                                                                                         \
    uint32_t t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + k[t] + w[t];       \
    d += t1;                                                                                                   \
    h = t1 + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));                     \
  } while (0)

static void compress(uint32_t h[8], const uint8_t *block) {
  uint32_t w[64], s[8];
  for (int t = 0; t < 16; t++) {
    uint32_t word;
    memcpy(&word, block + t * 4, 4);
    w[t] = __builtin_bswap32(word);
  }
  for (int t = 16; t < 64; t++) {
    uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
    uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  memcpy(s, h, sizeof s);
  for (int t = 0; t < 64; t += 8) {
    ROUND(t + 0, s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
    ROUND(t + 1, s[7], s[0], s[1], s[2], s[3], s[4], s[5], s[6]);
    ROUND(t + 2, s[6], s[7], s[0], s[1], s[2], s[3], s[4], s[5]);
    ROUND(t + 3, s[5], s[6], s[7], s[0], s[1], s[2], s[3], s[4]);
    ROUND(t + 4, s[4], s[5], s[6], s[7], s[0], s[1], s[2], s[3]);
    ROUND(t + 5, s[3], s[4], s[5], s[6], s[7], s[0], s[1], s[2]);
    ROUND(t + 6, s[2], s[3], s[4], s[5], s[6], s[7], s[0], s[1]);
    ROUND(t + 7, s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[0]);
  }
  for (int i = 0; i < 8; i++) h[i] += s[i];
}

/** Of a message whose length is a multiple of 64 bytes. */
static void sha256(uint32_t h[8], const uint8_t *bytes, uint64_t length) {
  static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint8_t last[64] = {0x80};
  uint64_t bits = __builtin_bswap64(length * 8);
  memcpy(last + 56, &bits, 8);
  memcpy(h, initial, sizeof initial);
  for (uint64_t at = 0; at < length; at += 64) compress(h, bytes + at);
  compress(h, last);
}

static void setup(void) {
  for (int i = 0; i < MESSAGE_BYTES; i++) message[i] = (uint8_t)i;
}

static void work(uint64_t n) {
  while (n--) {
    uint32_t h[8];
    sha256(h, message, MESSAGE_BYTES);
    expect("digest", (uint64_t)h[0] << 32 | h[7], 0xa1f259d4eac86654u);
  }
}

const struct bench sha256_benches[] = {{"sha256", "MB/s", RATE, MESSAGE_BYTES / 1e6, setup, work, 0}, LAST};
