// mandelbrot, nbody, matmul: IEEE doubles in SSE2, scalar and (matmul) packed. nbody-x87: the same bodies in the x87's 80 bits. Results are
// compared bit by bit: every operation used is correctly rounded, so they are the same on every processor.
#include <emmintrin.h>
#include <string.h>
#include "bench.h"

#define SIDE_POINTS 32
#define MAX_ITERATIONS 200
#define MANDELBROT_ITERATIONS 47559 // of all points of the picture together
#define STEPS 200
#define ORDER 64

static inline double sqrt_sse2(double x) {
  __m128d value = _mm_set_sd(x);
  return _mm_cvtsd_f64(_mm_sqrt_sd(value, value));
}

static inline long double sqrt_x87(long double x) {
  long double root;
  __asm__("fsqrt" : "=t"(root) : "0"(x));
  return root;
}

#define REAL double
#define SQRT sqrt_sse2
#define BODY body_sse2
#define BODIES bodies_sse2
#define PREPARE prepare_sse2
#define ADVANCE advance_sse2
#define DIGEST digest_sse2
#include "nbody.h"

#define REAL long double
#define SQRT sqrt_x87
#define BODY body_x87
#define BODIES bodies_x87
#define PREPARE prepare_x87
#define ADVANCE advance_x87
#define DIGEST digest_x87
#include "nbody.h"

static void nbody(uint64_t n) {
  while (n--) {
    prepare_sse2();
    advance_sse2(STEPS);
    expect("positions", digest_sse2(), 0x8e9c7f960301abb7u);
  }
}

static void nbody_x87(uint64_t n) {
  while (n--) {
    prepare_x87();
    advance_x87(STEPS);
    expect("positions", digest_x87(), 0x7101dd45ca307823u);
  }
}

static __attribute__((noinline)) int iterations_at(double cx, double cy) {
  double x = 0, y = 0;
  int i = 0;
  for (; i < MAX_ITERATIONS; i++) {
    double xx = x * x, yy = y * y;
    if (xx + yy > 4) break;
    y = 2 * x * y + cy;
    x = xx - yy + cx;
  }
  return i;
}

static void mandelbrot(uint64_t n) {
  while (n--) {
    uint64_t sum = 0;
    for (int row = 0; row < SIDE_POINTS; row++)
      for (int column = 0; column < SIDE_POINTS; column++)
        sum += (uint64_t)iterations_at(column * (3.0 / SIDE_POINTS) - 2.25, row * (2.5 / SIDE_POINTS) - 1.25);
    expect("iterations", sum, MANDELBROT_ITERATIONS);
  }
}

static double a[ORDER][ORDER], b[ORDER][ORDER], c[ORDER][ORDER];

static void setup_matrices(void) {
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++) {
      a[i][j] = (i * 13 + j * 7) % 32 / 8.0 - 1.5;
      b[i][j] = (i * 5 + j * 11) % 64 / 16.0 - 1.0;
    }
}

/** Two columns at a time, as a compiler vectorizes it. */
static __attribute__((noinline)) void multiply(void) {
  memset(c, 0, sizeof c);
  for (int i = 0; i < ORDER; i++)
    for (int k = 0; k < ORDER; k++) {
      __m128d factor = _mm_set1_pd(a[i][k]);
      for (int j = 0; j < ORDER; j += 2)
        _mm_storeu_pd(&c[i][j], _mm_add_pd(_mm_loadu_pd(&c[i][j]), _mm_mul_pd(factor, _mm_loadu_pd(&b[k][j]))));
    }
}

static void matmul(uint64_t n) {
  while (n--) {
    multiply();
    uint64_t hash = MIX_START;
    for (int i = 0; i < ORDER; i++) {
      uint64_t bits;
      memcpy(&bits, &c[i][(i * 29) % ORDER], 8);
      hash = mix(hash, bits);
    }
    expect("product", hash, 0xb8ec3f3a46fd0825u);
  }
}

const struct bench float_benches[] = {
    {"mandelbrot", "M it/s", RATE, MANDELBROT_ITERATIONS / 1e6, NULL, mandelbrot, NULL},
    {"nbody", "k steps/s", RATE, STEPS / 1e3, NULL, nbody, NULL},
    {"nbody-x87", "k steps/s", RATE, STEPS / 1e3, NULL, nbody_x87, NULL},
    {"matmul", "Mflop/s", RATE, 2.0 * ORDER * ORDER * ORDER / 1e6, setup_matrices, matmul, NULL},
    LAST,
};
