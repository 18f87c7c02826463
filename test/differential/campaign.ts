// A seeded run of many cases on the host and the engine side by side.

import { createPrng } from '#shared/base/prng.js';
import type { InstructionForm } from '#shared/translate/instruction-form.js';
import { type Case, type CaseMode, copyCase, DATA_BYTES } from './case-record.js';
import { comparesMemory, differences } from './comparison.js';
import { comparedForms } from './coverage.js';
import { EngineOracle } from './engine-oracle.js';
import { CaseGenerator } from './generator.js';
import { HostOracle } from './host-oracle.js';
import { makeBackground } from './values.js';

const BATCH = 1024;
/** The data pages are the same in every run, so that kept examples replay. */
const BACKGROUND_SEED = 1;

export interface Mismatch {
  readonly case: Case;
  readonly differences: readonly string[];
}

export interface CampaignResult {
  readonly cases: number;
  readonly perForm: ReadonlyMap<string, number>;
  readonly mismatches: readonly Mismatch[];
  readonly milliseconds: number;
}

/** The two judges, and what each case starts from. */
export class Bench {
  readonly background = makeBackground(createPrng(BACKGROUND_SEED), DATA_BYTES);
  readonly host = new HostOracle(this.background);
  readonly #engines = new Map<CaseMode, EngineOracle>();

  engine(mode: CaseMode): EngineOracle {
    let engine = this.#engines.get(mode);
    if (engine === undefined) this.#engines.set(mode, (engine = new EngineOracle(mode, this.background)));
    return engine;
  }

  /** Runs cases on both; the mismatches. */
  async compare(cases: readonly Case[]): Promise<Mismatch[]> {
    const outcomes = await this.host.run(cases);
    const mismatches: Mismatch[] = [];
    cases.forEach((c, i) => {
      const engine = this.engine(c.mode);
      let found: string[];
      try {
        found = differences(c, outcomes[i]!, engine.run(c));
        if (engine.memoryDiffers(outcomes[i]!) && comparesMemory(c, outcomes[i]!))
          found.push(describeMemory(engine));
      } catch (error) {
        found = [`engine broke: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`];
      }
      engine.restore();
      if (found.length > 0) mismatches.push({ case: c, differences: found });
    });
    return mismatches;
  }

  close(): void {
    this.host.close();
  }
}

function describeMemory(engine: EngineOracle): string {
  const memory = engine.memory();
  const first = memory.engine.findIndex((byte, i) => byte !== memory.host[i]);
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes.slice(first, first + 16)).toString('hex');
  return `memory at +0x${first.toString(16)}: host ${hex(memory.host)} engine ${hex(memory.engine)}`;
}

export interface CampaignOptions {
  readonly seed: number;
  readonly cases: number;
  readonly mode: CaseMode;
  /** Only forms that it accepts. */
  readonly only?: (form: InstructionForm) => boolean;
  readonly stopAfter?: number;
}

/** Runs `options.cases` cases, forms in turn. The engine works while the host has the next batch. */
export async function runCampaign(bench: Bench, options: CampaignOptions): Promise<CampaignResult> {
  const started = performance.now();
  const generator = new CaseGenerator(createPrng(options.seed));
  const forms = comparedForms(options.mode).filter((form) => options.only?.(form) ?? true);
  const perForm = new Map(forms.map((form) => [form.name, 0]));
  const mismatches: Mismatch[] = [];
  let turn = 0;
  let made = 0;
  const nextBatch = (): Case[] => {
    const cases: Case[] = [];
    for (let tries = 0; cases.length < BATCH && made < options.cases && tries < BATCH * 20; tries++) {
      const form = forms[turn++ % forms.length]!;
      const c = generator.make(form, options.mode);
      if (c === undefined) continue;
      cases.push(c);
      perForm.set(form.name, perForm.get(form.name)! + 1);
      made++;
    }
    return cases;
  };
  for (let batch = nextBatch(); batch.length > 0; batch = nextBatch()) {
    for (const mismatch of await bench.compare(batch))
      mismatches.push({ ...mismatch, case: copyCase(mismatch.case) });
    if (mismatches.length >= (options.stopAfter ?? 1000)) break;
  }
  return { cases: made, perForm, mismatches, milliseconds: performance.now() - started };
}
