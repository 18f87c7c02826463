// A seeded run of many cases on the host and the engine side by side.

import { createPrng } from '#shared/base/prng.js';
import type { InstructionForm } from '#shared/translate/instruction-form.js';
import { type Case, type CaseMode, copyCase, DATA_BYTES, type Outcome } from './case-record.js';
import { comparesMemory, differences } from './comparison.js';
import { comparedForms } from './coverage.js';
import { EngineOracle } from './engine-oracle.js';
import { CaseGenerator } from './generator.js';
import { HostOracle } from './host-oracle.js';
import { hostRules } from './host-rules.js';
import type { Latitude } from './latitude.js';
import { SequenceGenerator } from './sequence.js';
import { makeBackground } from './values.js';

const BATCH = 1024;
/** The runner's word for a case that did not end. */
const NO_OUTCOME = 255;
const SEQUENCE_PERIOD = 16;
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
  readonly #rules = hostRules();
  readonly #engines = new Map<CaseMode, EngineOracle>();
  readonly #heat: number;

  /** `heat`: executions after which a block is compiled; 0 for the interpreter alone. */
  constructor(heat = 0) {
    this.#heat = heat;
  }

  engine(mode: CaseMode): EngineOracle {
    let engine = this.#engines.get(mode);
    if (engine === undefined)
      this.#engines.set(mode, (engine = new EngineOracle(mode, this.background, this.#heat)));
    return engine;
  }

  /** Runs cases on both; the mismatches. */
  async compare(cases: readonly Case[]): Promise<Mismatch[]> {
    return this.judge(cases, await this.host.run(cases));
  }

  /** Runs cases on the engine and holds them against the host's outcomes. */
  judge(cases: readonly Case[], outcomes: readonly Outcome[]): Mismatch[] {
    const mismatches: Mismatch[] = [];
    cases.forEach((c, i) => {
      if (outcomes[i]!.trap === NO_OUTCOME) return;
      const engine = this.engine(c.mode);
      let found: string[];
      try {
        found = this.#differences(c, outcomes[i]!, engine);
      } catch (error) {
        found = [`engine broke: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`];
      }
      engine.restore();
      if (found.length > 0) mismatches.push({ case: c, differences: found });
    });
    return mismatches;
  }

  #differences(c: Case, host: Outcome, engine: EngineOracle): string[] {
    const outcome = engine.run(this.#rules.decoded(c));
    const found = (latitude?: Latitude): string[] => {
      const list = differences(c, host, outcome, latitude);
      if (latitude?.all !== true && comparesMemory(c, host) && engine.memoryDiffers(host, latitude?.memory))
        list.push(describeMemory(engine));
      return list;
    };
    const strict = found();
    return strict.length === 0 ? strict : found(this.#rules.latitude(c, host, outcome));
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
  /** Ends it early. */
  readonly maximumMs?: number;
}

/** Makes a campaign's batches: forms in turn, and a sequence now and then. */
class BatchSource {
  readonly perForm: Map<string, number>;
  made = 0;
  readonly #options: CampaignOptions;
  readonly #generator: CaseGenerator;
  readonly #sequences: SequenceGenerator;
  readonly #forms: readonly InstructionForm[];
  #turn = 0;

  constructor(options: CampaignOptions) {
    this.#options = options;
    this.#generator = new CaseGenerator(createPrng(options.seed));
    this.#sequences = new SequenceGenerator(this.#generator, options.mode);
    this.#forms = comparedForms(options.mode).filter((form) => options.only?.(form) ?? true);
    this.perForm = new Map(this.#forms.map((form) => [form.name, 0]));
  }

  #make(): Case | undefined {
    const { mode, only } = this.#options;
    if (only === undefined && ++this.#turn % SEQUENCE_PERIOD === 0) return this.#sequences.make();
    if (only !== undefined) this.#turn++;
    return this.#generator.make(this.#forms[this.#turn % this.#forms.length]!, mode);
  }

  next(): Case[] {
    const cases: Case[] = [];
    for (
      let tries = 0;
      cases.length < BATCH && this.made < this.#options.cases && tries < BATCH * 20;
      tries++
    ) {
      const c = this.#make();
      if (c === undefined) continue;
      cases.push(c);
      this.perForm.set(c.form, (this.perForm.get(c.form) ?? 0) + 1);
      this.made++;
    }
    return cases;
  }
}

/** Runs `options.cases` cases. The host has the next batch while the engine works on one. */
export async function runCampaign(bench: Bench, options: CampaignOptions): Promise<CampaignResult> {
  const started = performance.now();
  const source = new BatchSource(options);
  const mismatches: Mismatch[] = [];
  const isOver = (): boolean =>
    mismatches.length >= (options.stopAfter ?? 100) ||
    performance.now() - started > (options.maximumMs ?? Infinity);
  let batch = source.next();
  let outcomes = bench.host.run(batch);
  while (batch.length > 0) {
    const next = isOver() ? [] : source.next();
    const nextOutcomes = next.length > 0 ? bench.host.run(next) : Promise.resolve([]);
    for (const mismatch of bench.judge(batch, await outcomes))
      mismatches.push({ ...mismatch, case: copyCase(mismatch.case) });
    batch = next;
    outcomes = nextOutcomes;
  }
  const { made: cases, perForm } = source;
  return { cases, perForm, mismatches, milliseconds: performance.now() - started };
}
