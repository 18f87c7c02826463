// The compiler actor: turns hot guest code into WebAssembly, off the vCPUs' threads. Takes requests from all vCPUs in turn,
// several at a time into one module, and answers with the module's bytes, which it has compiled before: the vCPU's own
// compilation of the same bytes finds the machine code made. Keeps nothing that a successor could not make again.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ActorBehaviour, ActorContext } from '#shared/ipc/actor.js';
import { monotonicNs } from '#shared/base/clock.js';
import { assert } from '#shared/base/error.js';
import { COMPILER_COUNTERS, CounterPage } from '#shared/ipc/engine-counters.js';
import { SymbolTable } from '#shared/boot/symbol-table.js';
import { signalWord } from '#shared/ipc/doorbell.js';
import type { MailboxReceiver } from '#shared/ipc/mailbox.js';
import { MailboxSender } from '#shared/ipc/mailbox.js';
import { mailboxName } from '#shared/memory/machine-layout.js';
import { HeadFilter } from '#shared/translate/head-filter.js';
import { ShapeIndex } from '#shared/translate/region.js';
import { decodeRegionRequest } from '#shared/translate/region-request.js';
import {
  type CompiledModule,
  type CompiledRegion,
  MODULE_ID_BYTES,
} from '#shared/translate/region-service.js';
import { PENDING, PENDING_REGION } from '#shared/x86/cpu-state.js';
import { ROUTINES, SEMANTICS } from '#shared/x86/semantics/index.js';
import { CacheFile } from './cache-file.js';
import { type AskedRegion, CodeStore, type FoundRegion } from './code-store.js';
import {
  ANSWER_KIND,
  ASK_BYTES,
  ASK_KIND,
  CACHE_LIMIT_BYTES,
  type CompilerParams,
  REQUEST_HEADER_BYTES,
  REQUEST_KIND,
  answerBytes,
  encodeAnswer,
  headFilterRegion,
} from './protocol.js';
import { createWarmer } from './warmer.js';

/** Requests of one vCPU that go into one module. */
const BATCH = 8;
/** Bytes of requests after which a batch takes no more. */
const BATCH_BYTES = 24 * 1024;
/** How soon to look again when a vCPU takes no answers: it does not ring. */
const RETRY_NS = 2e6;
const STORE_BYTES = 64 * 2 ** 20;

interface Client {
  readonly receiver: MailboxReceiver;
  readonly sender: MailboxSender;
  readonly pendingWord: number;
  /** Answers that found no room. */
  readonly unsent: CompiledModule[];
}

interface Asked extends AskedRegion {
  readonly ticket: number;
}

/** Who asks for what there is. */
interface Wanted {
  readonly ticket: number;
  readonly head: number;
}

export function createCompiler(ctx: ActorContext): ActorBehaviour {
  const { vcpus, cacheFolder, symbolsPath, statistics } = ctx.params as CompilerParams;
  const { views } = ctx;
  const clients = vcpus.map((name, index) => openClient(ctx, name, index));
  const { shapes, engineVersion } = loadIndex();
  const cache = cacheFolder === undefined ? undefined : openCache(ctx, cacheFolder, engineVersion);
  const heads = new HeadFilter(views.buffer, headFilterRegion(ctx.statePage));
  const store = new CodeStore({
    shapes: () => new ShapeIndex(SEMANTICS, shapes),
    routines: ROUTINES,
    warm: createWarmer(ctx.memory, ctx.beat),
    beat: ctx.beat,
    onHead: (head) => heads.add(head),
    limitBytes: STORE_BYTES,
    nameOf: createNamer(symbolsPath),
    cache,
  });
  const counters = statistics
    ? new CounterPage(views.buffer, ctx.statePage.offset, COMPILER_COUNTERS)
    : undefined;
  let first = 0;

  function send(client: Client): void {
    while (client.unsent.length > 0 && client.sender.hasRoom) {
      const answer = fitting(client.unsent.shift()!, client.sender.payloadBytes);
      const payload = client.sender.reserve();
      const length = answerBytes(answer);
      encodeAnswer(answer, views.u8.subarray(payload, payload + length));
      client.sender.post(payload, ANSWER_KIND, length);
      signalWord(views.i32, client.pendingWord, PENDING_REGION);
    }
  }

  /** One batch of one vCPU; true when there was one. */
  function serve(client: Client): boolean {
    send(client);
    if (client.unsent.length > 0) return false;
    const asked: Asked[] = [];
    const wanted: Wanted[] = [];
    let n = 0;
    for (let bytes = 0; n < BATCH && bytes < BATCH_BYTES; n++) {
      const payload = client.receiver.peek();
      if (payload < 0) break;
      const { kind, length } = client.receiver;
      bytes += length;
      const message = views.u8.slice(payload, payload + length);
      client.receiver.complete();
      const request = kind === REQUEST_KIND ? readRequest(message) : undefined;
      if (request !== undefined) asked.push(request);
      if (kind === ASK_KIND && length === ASK_BYTES) wanted.push(readWanted(message));
    }
    if (n === 0) return false;
    ctx.failpoint('compile');
    client.unsent.push(...answer(store, asked, wanted));
    counters?.write(store);
    send(client);
    return true;
  }

  return {
    poll: () => {
      for (let i = 0; i < clients.length; i++) {
        const client = clients[(first + i) % clients.length]!;
        if (!serve(client)) continue;
        first = (first + i + 1) % clients.length;
        return true;
      }
      return false;
    },
    nextDeadlineNs: () =>
      clients.some(({ unsent }) => unsent.length > 0) ? monotonicNs() + RETRY_NS : Infinity,
    pause: () => {},
    resume: () => {},
    save: () => new Uint8Array(0),
    restore: () => {},
    reset: () => {},
    halt: () => cache?.file.close(),
    inspect: () => {
      const { compiled, reused, loaded, cached, compileMs } = store;
      return { compiled, reused, loaded, cached, compileMs };
    },
  };
}

/** A module that no message can carry is as good as none. */
function fitting(answer: CompiledModule, limitBytes: number): CompiledModule {
  if (answerBytes(answer) <= limitBytes) return answer;
  const regions = answer.regions.map(({ ticket }) => ({ ticket, index: -1, links: 0 }));
  return { id: answer.id, bytes: new Uint8Array(0), regions };
}

function openClient(ctx: ActorContext, vcpu: string, index: number): Client {
  const region = ctx.layout.mailboxes[mailboxName(ctx.name, vcpu)];
  const own = ctx.layout.actors[vcpu];
  assert(region !== undefined && own !== undefined, `${vcpu} has a mailbox for answers`);
  const options = { ...ctx.senderOptions, postsOnly: true };
  return {
    receiver: ctx.receiveFrom(vcpu),
    sender: new MailboxSender(ctx.views, region, own.doorbell, options),
    pendingWord: (ctx.layout.vcpus[index]!.state.offset + PENDING) >>> 2,
    unsent: [],
  };
}

function readWanted(message: Uint8Array): Wanted {
  const view = new DataView(message.buffer, message.byteOffset);
  return { ticket: view.getUint32(0, true), head: view.getUint32(4, true) };
}

function readRequest(message: Uint8Array): Asked | undefined {
  if (message.length < REQUEST_HEADER_BYTES) return undefined;
  const view = new DataView(message.buffer, message.byteOffset);
  const ticket = view.getUint32(0, true);
  const exact = view.getUint32(4, true) === 1;
  const address = view.getBigUint64(8, true);
  const bytes = message.slice(REQUEST_HEADER_BYTES);
  const request = decodeRegionRequest(bytes);
  if (request === undefined) return undefined;
  return { ticket, exact, address, key: createHash('sha256').update(bytes).digest('hex'), request };
}

/** Answers to requests and to those who ask what there is, one for each module that they are in. */
function answer(store: CodeStore, asked: readonly Asked[], wanted: readonly Wanted[]): CompiledModule[] {
  const modules = new Map<string, { bytes: Uint8Array<ArrayBuffer>; regions: CompiledRegion[] }>();
  const add = (ticket: number, found: FoundRegion | undefined): void => {
    const { id, bytes } = found?.region.module ?? NO_MODULE;
    let entry = modules.get(id);
    if (entry === undefined) modules.set(id, (entry = { bytes, regions: [] }));
    const { index, links } = found?.region ?? { index: -1, links: 0 };
    entry.regions.push({ ticket, index, links, offered: found?.offered });
  };
  store.find(asked).forEach((found, i) => add(asked[i]!.ticket, found));
  for (const { ticket, head } of wanted) add(ticket, store.offer(head));
  return [...modules].map(([id, { bytes, regions }]) => ({ id, bytes, regions }));
}

const NO_MODULE = { id: '0'.repeat(2 * MODULE_ID_BYTES), bytes: new Uint8Array(0) };

/** What the build says of its interpreter: the shapes in table order, and the version of all that makes code. */
function loadIndex(): { readonly shapes: readonly string[]; readonly engineVersion: string } {
  const file = new URL('../../shared/translate/interpreter.json', import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as { shapes: string[]; engineVersion: string };
}

/** What profiles call a region. A file that cannot be read was told of before the machine began. */
function createNamer(symbolsPath: string | undefined): (address: bigint) => string {
  let symbols: SymbolTable | undefined;
  return (address) => {
    if (symbolsPath !== undefined) symbols ??= SymbolTable.parse(readFileSync(symbolsPath, 'latin1'));
    return `guest ${symbols?.nameOf(address) ?? `0x${address.toString(16)}`}`;
  };
}

function openCache(ctx: ActorContext, folder: string, engineVersion: string) {
  const complain = (reason: string): void => ctx.log.debug({ reason }, 'translation cache');
  return CacheFile.open({ folder, engineVersion, limitBytes: CACHE_LIMIT_BYTES, complain, beat: ctx.beat });
}
