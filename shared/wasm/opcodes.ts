// WebAssembly's numeric, vector and atomic operators by name: encoding and signature. WebAssembly core
// specification 2.0 §5.4 (numeric, vector) and the threads proposal §"binary format". Memory and control
// instructions are encoded by code-writer.ts.

export type WasmType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

export const WASM_TYPE_CODE: Readonly<Record<WasmType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
};

/** An operator's encoding: opcode bytes, then operand types, result type and how many immediate bytes follow. */
export interface WasmOperator {
  readonly code: readonly number[];
  readonly operands: readonly WasmType[];
  readonly result: WasmType;
  readonly immediates: number;
}

const table = new Map<string, WasmOperator>();

function leb(value: number): number[] {
  const bytes: number[] = [];
  for (;;) {
    const byte = value & 0x7f;
    value >>>= 7;
    if (value === 0) return [...bytes, byte];
    bytes.push(byte | 0x80);
  }
}

function define(
  prefix: number | undefined,
  first: number,
  names: string,
  operands: WasmType[],
  result: WasmType,
  immediates = 0,
): void {
  names.split(' ').forEach((name, index) => {
    if (name === '-') return;
    const code = prefix === undefined ? [first + index] : [prefix, ...leb(first + index)];
    table.set(name, { code, operands, result, immediates });
  });
}

const prefixed = (type: string, names: string): string =>
  names
    .split(' ')
    .map((name) => (name === '-' ? name : `${type}.${name}`))
    .join(' ');

function defineScalars(): void {
  const compare = 'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u';
  define(undefined, 0x45, 'i32.eqz', ['i32'], 'i32');
  define(undefined, 0x46, prefixed('i32', compare), ['i32', 'i32'], 'i32');
  define(undefined, 0x50, 'i64.eqz', ['i64'], 'i32');
  define(undefined, 0x51, prefixed('i64', compare), ['i64', 'i64'], 'i32');
  define(undefined, 0x5b, prefixed('f32', 'eq ne lt gt le ge'), ['f32', 'f32'], 'i32');
  define(undefined, 0x61, prefixed('f64', 'eq ne lt gt le ge'), ['f64', 'f64'], 'i32');
  const binary = 'add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr';
  define(undefined, 0x67, prefixed('i32', 'clz ctz popcnt'), ['i32'], 'i32');
  define(undefined, 0x6a, prefixed('i32', binary), ['i32', 'i32'], 'i32');
  define(undefined, 0x79, prefixed('i64', 'clz ctz popcnt'), ['i64'], 'i64');
  define(undefined, 0x7c, prefixed('i64', binary), ['i64', 'i64'], 'i64');
  const floatUnary = 'abs neg ceil floor trunc nearest sqrt';
  const floatBinary = 'add sub mul div min max copysign';
  define(undefined, 0x8b, prefixed('f32', floatUnary), ['f32'], 'f32');
  define(undefined, 0x92, prefixed('f32', floatBinary), ['f32', 'f32'], 'f32');
  define(undefined, 0x99, prefixed('f64', floatUnary), ['f64'], 'f64');
  define(undefined, 0xa0, prefixed('f64', floatBinary), ['f64', 'f64'], 'f64');
  defineConversions();
}

function defineConversions(): void {
  const one = (code: number, name: string, from: WasmType, to: WasmType): void =>
    define(undefined, code, name, [from], to);
  one(0xa7, 'i32.wrap_i64', 'i64', 'i32');
  one(0xa8, 'i32.trunc_f32_s', 'f32', 'i32');
  one(0xa9, 'i32.trunc_f32_u', 'f32', 'i32');
  one(0xaa, 'i32.trunc_f64_s', 'f64', 'i32');
  one(0xab, 'i32.trunc_f64_u', 'f64', 'i32');
  one(0xac, 'i64.extend_i32_s', 'i32', 'i64');
  one(0xad, 'i64.extend_i32_u', 'i32', 'i64');
  one(0xae, 'i64.trunc_f32_s', 'f32', 'i64');
  one(0xaf, 'i64.trunc_f32_u', 'f32', 'i64');
  one(0xb0, 'i64.trunc_f64_s', 'f64', 'i64');
  one(0xb1, 'i64.trunc_f64_u', 'f64', 'i64');
  one(0xb2, 'f32.convert_i32_s', 'i32', 'f32');
  one(0xb3, 'f32.convert_i32_u', 'i32', 'f32');
  one(0xb4, 'f32.convert_i64_s', 'i64', 'f32');
  one(0xb5, 'f32.convert_i64_u', 'i64', 'f32');
  one(0xb6, 'f32.demote_f64', 'f64', 'f32');
  one(0xb7, 'f64.convert_i32_s', 'i32', 'f64');
  one(0xb8, 'f64.convert_i32_u', 'i32', 'f64');
  one(0xb9, 'f64.convert_i64_s', 'i64', 'f64');
  one(0xba, 'f64.convert_i64_u', 'i64', 'f64');
  one(0xbb, 'f64.promote_f32', 'f32', 'f64');
  one(0xbc, 'i32.reinterpret_f32', 'f32', 'i32');
  one(0xbd, 'i64.reinterpret_f64', 'f64', 'i64');
  one(0xbe, 'f32.reinterpret_i32', 'i32', 'f32');
  one(0xbf, 'f64.reinterpret_i64', 'i64', 'f64');
  define(undefined, 0xc0, prefixed('i32', 'extend8_s extend16_s'), ['i32'], 'i32');
  define(undefined, 0xc2, prefixed('i64', 'extend8_s extend16_s extend32_s'), ['i64'], 'i64');
  define(0xfc, 0, prefixed('i32', 'trunc_sat_f32_s trunc_sat_f32_u'), ['f32'], 'i32');
  define(0xfc, 2, prefixed('i32', 'trunc_sat_f64_s trunc_sat_f64_u'), ['f64'], 'i32');
  define(0xfc, 4, prefixed('i64', 'trunc_sat_f32_s trunc_sat_f32_u'), ['f32'], 'i64');
  define(0xfc, 6, prefixed('i64', 'trunc_sat_f64_s trunc_sat_f64_u'), ['f64'], 'i64');
}

function defineVectors(): void {
  const v: WasmType = 'v128';
  const unary = (code: number, names: string): void => define(0xfd, code, names, [v], v);
  const binary = (code: number, names: string): void => define(0xfd, code, names, [v, v], v);
  const test = (code: number, names: string): void => define(0xfd, code, names, [v], 'i32');
  const shift = (code: number, names: string): void => define(0xfd, code, names, [v, 'i32'], v);
  define(0xfd, 13, 'i8x16.shuffle', [v, v], v, 16);
  binary(14, 'i8x16.swizzle');
  define(0xfd, 15, 'i8x16.splat i16x8.splat i32x4.splat', ['i32'], v);
  define(0xfd, 18, 'i64x2.splat', ['i64'], v);
  define(0xfd, 19, 'f32x4.splat', ['f32'], v);
  define(0xfd, 20, 'f64x2.splat', ['f64'], v);
  define(0xfd, 21, 'i8x16.extract_lane_s i8x16.extract_lane_u', [v], 'i32', 1);
  define(0xfd, 23, 'i8x16.replace_lane', [v, 'i32'], v, 1);
  define(0xfd, 24, 'i16x8.extract_lane_s i16x8.extract_lane_u', [v], 'i32', 1);
  define(0xfd, 26, 'i16x8.replace_lane', [v, 'i32'], v, 1);
  define(0xfd, 27, 'i32x4.extract_lane', [v], 'i32', 1);
  define(0xfd, 28, 'i32x4.replace_lane', [v, 'i32'], v, 1);
  define(0xfd, 29, 'i64x2.extract_lane', [v], 'i64', 1);
  define(0xfd, 30, 'i64x2.replace_lane', [v, 'i64'], v, 1);
  define(0xfd, 31, 'f32x4.extract_lane', [v], 'f32', 1);
  define(0xfd, 32, 'f32x4.replace_lane', [v, 'f32'], v, 1);
  define(0xfd, 33, 'f64x2.extract_lane', [v], 'f64', 1);
  define(0xfd, 34, 'f64x2.replace_lane', [v, 'f64'], v, 1);
  const compare = 'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u';
  binary(35, prefixed('i8x16', compare));
  binary(45, prefixed('i16x8', compare));
  binary(55, prefixed('i32x4', compare));
  binary(65, prefixed('f32x4', 'eq ne lt gt le ge'));
  binary(71, prefixed('f64x2', 'eq ne lt gt le ge'));
  unary(77, 'v128.not');
  binary(78, prefixed('v128', 'and andnot or xor'));
  define(0xfd, 82, 'v128.bitselect', [v, v, v], v);
  test(83, 'v128.any_true');
  unary(94, 'f32x4.demote_f64x2_zero f64x2.promote_low_f32x4');
  unary(96, prefixed('i8x16', 'abs neg popcnt'));
  test(99, 'i8x16.all_true i8x16.bitmask');
  binary(101, 'i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u');
  unary(103, 'f32x4.ceil f32x4.floor f32x4.trunc f32x4.nearest');
  shift(107, 'i8x16.shl i8x16.shr_s i8x16.shr_u');
  binary(110, prefixed('i8x16', 'add add_sat_s add_sat_u sub sub_sat_s sub_sat_u'));
  unary(116, 'f64x2.ceil f64x2.floor');
  binary(118, prefixed('i8x16', 'min_s min_u max_s max_u'));
  unary(122, 'f64x2.trunc');
  binary(123, 'i8x16.avgr_u');
  unary(
    124,
    'i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u',
  );
  unary(128, 'i16x8.abs i16x8.neg');
  binary(130, 'i16x8.q15mulr_sat_s');
  test(131, 'i16x8.all_true i16x8.bitmask');
  binary(133, 'i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u');
  unary(
    135,
    prefixed('i16x8', 'extend_low_i8x16_s extend_high_i8x16_s extend_low_i8x16_u extend_high_i8x16_u'),
  );
  shift(139, 'i16x8.shl i16x8.shr_s i16x8.shr_u');
  binary(142, prefixed('i16x8', 'add add_sat_s add_sat_u sub sub_sat_s sub_sat_u'));
  unary(148, 'f64x2.nearest');
  binary(149, prefixed('i16x8', 'mul min_s min_u max_s max_u'));
  binary(155, 'i16x8.avgr_u');
  binary(
    156,
    prefixed('i16x8', 'extmul_low_i8x16_s extmul_high_i8x16_s extmul_low_i8x16_u extmul_high_i8x16_u'),
  );
  unary(160, 'i32x4.abs i32x4.neg');
  test(163, 'i32x4.all_true i32x4.bitmask');
  unary(
    167,
    prefixed('i32x4', 'extend_low_i16x8_s extend_high_i16x8_s extend_low_i16x8_u extend_high_i16x8_u'),
  );
  shift(171, 'i32x4.shl i32x4.shr_s i32x4.shr_u');
  binary(174, 'i32x4.add');
  binary(177, 'i32x4.sub');
  binary(181, prefixed('i32x4', 'mul min_s min_u max_s max_u dot_i16x8_s'));
  binary(
    188,
    prefixed('i32x4', 'extmul_low_i16x8_s extmul_high_i16x8_s extmul_low_i16x8_u extmul_high_i16x8_u'),
  );
  unary(192, 'i64x2.abs i64x2.neg');
  test(195, 'i64x2.all_true i64x2.bitmask');
  unary(
    199,
    prefixed('i64x2', 'extend_low_i32x4_s extend_high_i32x4_s extend_low_i32x4_u extend_high_i32x4_u'),
  );
  shift(203, 'i64x2.shl i64x2.shr_s i64x2.shr_u');
  binary(206, 'i64x2.add');
  binary(209, 'i64x2.sub');
  binary(213, prefixed('i64x2', 'mul eq ne lt_s gt_s le_s ge_s'));
  binary(
    220,
    prefixed('i64x2', 'extmul_low_i32x4_s extmul_high_i32x4_s extmul_low_i32x4_u extmul_high_i32x4_u'),
  );
  unary(224, 'f32x4.abs f32x4.neg - f32x4.sqrt');
  binary(228, prefixed('f32x4', 'add sub mul div min max pmin pmax'));
  unary(236, 'f64x2.abs f64x2.neg - f64x2.sqrt');
  binary(240, prefixed('f64x2', 'add sub mul div min max pmin pmax'));
  unary(248, 'i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u');
  unary(
    252,
    'i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u',
  );
}

defineScalars();
defineVectors();

/** The operator called `name`; throws on a name that WebAssembly does not have. */
export function wasmOperator(name: string): WasmOperator {
  const operator = table.get(name);
  if (operator === undefined) throw new Error(`no WebAssembly operator called ${name}`);
  return operator;
}
