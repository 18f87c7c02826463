// Has V8 make a region module's machine code now: it compiles a function when it is called first. Called with 0 for the
// state page, a region's function returns at once.

/** `beat` shows life: V8 may take as long for a large module as a heartbeat. */
export function createWarmer(
  memory: WebAssembly.Memory,
  beat: () => void,
): (module: WebAssembly.Module) => void {
  const nothing = (): number => 0;
  return (module) => {
    const imports: WebAssembly.Imports = { env: { memory } };
    for (const { module: from, name, kind } of WebAssembly.Module.imports(module))
      if (kind === 'function') (imports[from] ??= {})[name] = nothing;
    const { exports } = new WebAssembly.Instance(module, imports);
    for (const call of Object.values(exports)) {
      beat();
      (call as (record: number, cpu: number) => number)(0, 0);
    }
  };
}
