// One sample, packed by xz (x86 filter, LZMA2), zstd -19 and lz4 -l -9: opcodes and bytes that the x86 branch filter
// acts on, then long repeats, then bytes that do not repeat. {@link buildSample} makes the same bytes again.

export function buildSample(): Uint8Array {
  const alphabet = [0xe8, 0xe9, 0, 0xff, 1];
  const bytes = [0x7f, 0x45, 0x4c, 0x46];
  let seed = 7;
  for (let i = 0; i < 360; i++) {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fff_ffff;
    bytes.push(alphabet[(seed >>> 16) % alphabet.length]!);
  }
  for (let i = 0; i < 90; i++) bytes.push(...new TextEncoder().encode('abcabcabcabd'));
  for (let i = 0; i < 64; i++) bytes.push(i);
  return Uint8Array.from(bytes);
}

function fromBase64(...lines: string[]): Uint8Array {
  return Uint8Array.from(Buffer.from(lines.join(''), 'base64'));
}

export const SAMPLE_XZ = fromBase64(
  '/Td6WFoAAAFpIt42AgEEACEBCADSuXTL4AXjAUVdAD+RRYRoOMADrerLun61C+nlYcFDhRkWdk+zjJB94b0Q6hkOOeQK9AV4uatD',
  'yzJpzMNCLdY0Ab/bG54WSKWx1pbqVaaRH48qhi3uLxZgTI/cOrTA3OWmUdjlpBqiqHvwLx7j2Cvr73GBgOWl/X1ipCnnyOcl1rtx',
  'Xs8tRjeoIoIJ63gXb50+mkfEqTae35ZvHx4U4OaVrHn6N5Ih0J1nIjyfl4WwlgtwvNnS7MTpHeZk3/FS4LTd0nJj/HgxICXckEho',
  'KLG8FdxWTsPA3bia6L+0AhcP8VUyLOBhpFUhBHnn0UammOQbHo1vSV3uGKeCTIhnMh+Ja5hgfbdwFXXoTslpNs0i6QyVjJ/uv3WI',
  '4CGVSPCO7OfJwPerWT8Uu1nSy5RWvL8ahc8mXeKRo8sOIJ+uShYLs1c9vgPmZkVz4RIoaIPSTgAAAAAA/IWn/AAB3QLkCwAAwrF9',
  'Qj4wDYsCAAAAAAFZWg==',
);

export const SAMPLE_ZSTD = fromBase64(
  'KLUv/QBoVQgAlpo+KnDZcvxfAPj///////v/pFRpzfyh9IfSH0p/KP2h9IfSf7L33nvvvXeSASoAJwApAOxdXevdqrWyeI3kirVv',
  'a+tqsnuv5try+Yo159xbXxU51safHLu7GhuanX0ka7xPskr++iQvtuv2unLlXa1fbddd5Gp1yddyXX8Xr46s6sXfuGyR3LW2rr5y',
  '1u71I6u4kmzVK1/JsbaqL66tmsWyu/bk3a2rt1c7Wa8CMzIxMC8uLSwrKikoJyYlJCMiISAfHh0cGxoZGBcWFRQTEhEQDw4NDAsK',
  'CQgHBgUEAwIBACdTiTQShUAfz0onB+emtau6V7U3Xn+vi5PF7gMAKbx8cdA9GSaukgI=',
);

export const SAMPLE_LZ4 = fromBase64(
  'AiFMGI0BAADwBX9FTEYB6f8B6egB6Oj////oAQEACwCwAAAB/+kBAf8B6P8CAPAEAOgAAf/o///o6enpAej/AAH/ATQAAAoAkOkB',
  'AQDp6f//ASQA8Abo6OgBAP/oAOjpAQDpAAEB6f/pAQAlABD/YQDgAQH//+gA/+kAAOjoAekoAPAE/wH//+kB6QHo6ekB/+jo6f8A',
  'AUUAkAD/AekB6enpAB4AAD4AEOgjAFEB6QH/ARkAQOgA/+ivABDpUQAy6OkADQAw/+gBCgChAf/pAAH/AOjo/0EAAiEAcOnp/+kA',
  '/wDqABD/LQAQAWMAgOjp6ADo/wAA1ABTAP//AAD9AACMACDpARkAEOgNABHosABQ//8A/+nmAAEcAAFNAADcAADzADAA6ehOAABz',
  'ACHoACcAAC0AAO8AEAFIAbQB6QAA/wEA6WFiYwMAH2QMAP////8d8DEAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh',
  'IiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4/',
);
