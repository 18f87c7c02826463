// The sun and four planets under gravity, in the floating-point type REAL with the square root SQRT; the including file names both and
// ADVANCE. Positions and velocities are made-up, of a solar system's order of magnitude (astronomical units, years, solar masses).
struct BODY {
  REAL x, y, z, vx, vy, vz, mass;
};

static struct BODY BODIES[5];

static void PREPARE(void) {
  static const double start[5][7] = {
      {0, 0, 0, 0, 0, 0, 39.5},
      {4.75, -1.25, -0.125, 0.625, 2.75, -0.0625, 0.0375},
      {8.25, 4.125, -0.375, -1.0, 1.875, 0.0078125, 0.0117},
      {12.75, -15.0, -0.25, 1.0625, 0.875, -0.01171875, 0.0017},
      {15.5, -26.0, 0.1875, 0.96875, 0.59375, -0.03515625, 0.002},
  };
  for (int i = 0; i < 5; i++) {
    const double *s = start[i];
    BODIES[i] = (struct BODY){s[0], s[1], s[2], s[3], s[4], s[5], s[6]};
  }
}

static __attribute__((noinline)) void ADVANCE(int steps) {
  const REAL dt = (REAL)0.015625;
  while (steps--) {
    for (int i = 0; i < 5; i++) {
      struct BODY *a = &BODIES[i];
      for (int j = i + 1; j < 5; j++) {
        struct BODY *b = &BODIES[j];
        REAL dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
        REAL distance2 = dx * dx + dy * dy + dz * dz;
        REAL magnitude = dt / (distance2 * SQRT(distance2));
        a->vx -= dx * b->mass * magnitude;
        a->vy -= dy * b->mass * magnitude;
        a->vz -= dz * b->mass * magnitude;
        b->vx += dx * a->mass * magnitude;
        b->vy += dy * a->mass * magnitude;
        b->vz += dz * a->mass * magnitude;
      }
    }
    for (int i = 0; i < 5; i++) {
      BODIES[i].x += dt * BODIES[i].vx;
      BODIES[i].y += dt * BODIES[i].vy;
      BODIES[i].z += dt * BODIES[i].vz;
    }
  }
}

/** Digest of the positions, each as the nearest double. */
static uint64_t DIGEST(void) {
  uint64_t hash = MIX_START;
  for (int i = 0; i < 5; i++) {
    double place[3] = {(double)BODIES[i].x, (double)BODIES[i].y, (double)BODIES[i].z};
    for (int axis = 0; axis < 3; axis++) {
      uint64_t bits;
      memcpy(&bits, &place[axis], 8);
      hash = mix(hash, bits);
    }
  }
  return hash;
}

#undef REAL
#undef SQRT
#undef BODY
#undef BODIES
#undef PREPARE
#undef ADVANCE
#undef DIGEST
