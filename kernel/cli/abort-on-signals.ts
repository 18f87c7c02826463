// Ctrl-C in a command that runs guest after guest.
const SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

/** The first signal ends the run that is under way and lets it clean up; a second one ends the process. */
export function abortOnSignals(): { readonly signal: AbortSignal; exitCode(): number | undefined } {
  const controller = new AbortController();
  let code: number | undefined;
  for (const [name, number] of Object.entries(SIGNALS))
    process.once(name, () => {
      code = 128 + number;
      controller.abort();
    });
  return { signal: controller.signal, exitCode: () => code };
}
