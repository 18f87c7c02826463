// Reads what a Linux kernel module says of itself: the NUL-separated `key=value` strings of the `.modinfo` section
// of an ELF64 little-endian object (System V gABI 4.1, ELF-64). Debian's kernel package carries no `modules.dep`
// (depmod writes it at installation), so the order of loading comes from here. Leaves out soft dependencies of
// built-in modules and symbol versions.

export interface ModuleInfo {
  name: string;
  depends: string[];
  /** Modules that `softdep` asks to have loaded before. */
  softDepends: string[];
  aliases: string[];
}

const SHDR_BYTES = 64;

/** The module's own description; throws a plain Error when `image` is no ELF64 object with a `.modinfo`. */
export function readModuleInfo(image: Uint8Array): ModuleInfo {
  const info: ModuleInfo = { name: '', depends: [], softDepends: [], aliases: [] };
  for (const line of new TextDecoder().decode(modinfoSection(image)).split('\0')) {
    const equals = line.indexOf('=');
    if (equals < 0) continue;
    const value = line.slice(equals + 1);
    switch (line.slice(0, equals)) {
      case 'name':
        info.name = canonicalModuleName(value);
        break;
      case 'depends':
        info.depends = value.split(',').filter(Boolean).map(canonicalModuleName);
        break;
      case 'softdep': {
        const pre = /pre:\s*(.*?)(?:post:|$)/.exec(value)?.[1] ?? '';
        info.softDepends.push(...pre.split(/\s+/).filter(Boolean).map(canonicalModuleName));
        break;
      }
      case 'alias':
        info.aliases.push(value);
        break;
    }
  }
  return info;
}

/** Module names treat `-` and `_` alike; file names do not. */
export function canonicalModuleName(name: string): string {
  return name.replaceAll('-', '_');
}

function modinfoSection(image: Uint8Array): Uint8Array {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (image.length < 64 || view.getUint32(0) !== 0x7f454c46 || image[4] !== 2 || image[5] !== 1) {
    throw new Error('not an ELF64 little-endian object');
  }
  const e_shoff = Number(view.getBigUint64(0x28, true));
  const e_shnum = view.getUint16(0x3c, true);
  const e_shstrndx = view.getUint16(0x3e, true);
  const section = (index: number) => {
    const at = e_shoff + index * SHDR_BYTES;
    return {
      sh_name: view.getUint32(at, true),
      sh_offset: Number(view.getBigUint64(at + 0x18, true)),
      sh_size: Number(view.getBigUint64(at + 0x20, true)),
    };
  };
  const names = section(e_shstrndx).sh_offset;
  const wanted = new TextEncoder().encode('.modinfo\0');
  for (let i = 0; i < e_shnum; i++) {
    const { sh_name, sh_offset, sh_size } = section(i);
    if (wanted.every((byte, k) => image[names + sh_name + k] === byte))
      return image.subarray(sh_offset, sh_offset + sh_size);
  }
  throw new Error('no .modinfo section');
}
