// What failpoints cost the mailbox while no plan is set, against a mailbox from which they are cut out (bare-mailbox.ts), and what
// two of those differ by, measured alike and at the same time: less than that cannot be told.
//
// All three live at once and take turns of about a millisecond, so that what else the machine does falls on each. What V8 and the
// host's scheduler make of a mailbox stays for its life, so there are many lives, each with modules of its own, and the order in
// which the three come to life goes round. A life's figure is the median of its turns' ratios.
import { removeBareMailboxes, writeBareMailbox } from './bare-mailbox.js';
import { REAL_MAILBOX, startEcho, type Echo } from './echo-thread.js';
import type * as EndModule from './mailbox-end.js';
import type { MailboxEnd } from './mailbox-end.js';
import { quantile } from './quantile.js';

const LIVES = 30;
const TURNS = 100;
const POSTS = 4_000;
const ASKS = 400;
/** Wakes the other thread. */
const WAKE_UP = 200;
const WARM_UP = 200_000;

/** Of one of the three in one life. */
interface Figures {
  /** Time of a message, time of a round trip. */
  readonly post: number;
  readonly ask: number;
}

interface Competitor {
  readonly echo: Echo;
  readonly end: MailboxEnd;
}

const median = (values: readonly number[]): number => quantile(Float64Array.from(values).sort(), 0.5);

/** The mean of the middle half: as steady as the median, and finer than the clock's steps. */
function middle(sorted: Float64Array): number {
  const half = sorted.subarray(sorted.length >>> 2, sorted.length - (sorted.length >>> 2));
  return half.reduce((sum, time) => sum + time, 0) / half.length;
}

let lives = 0;

async function bear(mailbox: string): Promise<Competitor> {
  const echo = await startEcho('mailbox', mailbox);
  const { openMailboxEnd } = (await import(`./mailbox-end.js?life=${++lives}`)) as typeof EndModule;
  const end = await openMailboxEnd(echo.setup.buffer, mailbox);
  end.send(WARM_UP);
  end.ask(new Float64Array(ASKS));
  return { echo, end };
}

function takeTurn({ end }: Competitor, times: Float64Array): Figures {
  end.send(WAKE_UP);
  const startedMs = performance.now();
  end.send(POSTS);
  const post = performance.now() - startedMs;
  end.ask(times);
  return { post, ask: middle(times.sort()) };
}

const bareAddress = (): string => writeBareMailbox();
const realAddress = (): string => `${REAL_MAILBOX}?life=${lives}`;
/** Bare, real, and bare once more. */
const ADDRESSES = [bareAddress, realAddress, bareAddress] as const;

/** How much more than the first of the three the second and the third take. */
async function live(life: number): Promise<readonly [Figures, Figures]> {
  const order = [0, 1, 2].map((i) => (i + life) % 3);
  const three: Competitor[] = [];
  try {
    for (const i of order) three[i] = await bear(ADDRESSES[i]!());
    const ratios = [1, 2].map(() => ({ post: [] as number[], ask: [] as number[] }));
    const times = new Float64Array(ASKS);
    for (let turn = 0; turn < TURNS; turn++) {
      const figures: Figures[] = [];
      const turns = turn % 2 === 0 ? order : order.toReversed();
      for (const i of turns) figures[i] = takeTurn(three[i]!, times);
      ratios.forEach(({ post, ask }, i) => {
        post.push(figures[i + 1]!.post / figures[0]!.post);
        ask.push(figures[i + 1]!.ask / figures[0]!.ask);
      });
    }
    const [real, twin] = ratios.map(({ post, ask }) => ({ post: median(post) - 1, ask: median(ask) - 1 }));
    return [real!, twin!];
  } finally {
    for (const competitor of three) await competitor?.echo.end();
  }
}

/** '0.3 % (−0.5 to 1.1)': the median of the lives, and where their middle half lies. */
function spread(shares: readonly number[]): string {
  const sorted = Float64Array.from(shares).sort();
  const percent = (q: number): string => (quantile(sorted, q) * 100).toFixed(1).replace('-', '−');
  return `${percent(0.5)} % (${percent(0.25)} to ${percent(0.75)})`;
}

export async function printFailpointCost(): Promise<void> {
  const all: (readonly [Figures, Figures])[] = [];
  try {
    for (let life = 0; life < LIVES; life++) all.push(await live(life));
  } finally {
    removeBareMailboxes();
  }
  const row = (name: string, which: 0 | 1): string =>
    `| ${name} | ${spread(all.map((life) => life[which].post))} | ${spread(all.map((life) => life[which].ask))} |\n`;
  process.stdout.write(
    `\n| against a mailbox without failpoints | a message takes more | a round trip |\n| --- | --- | --- |\n` +
      row('the mailbox, no plan set', 0) +
      row('one more without failpoints', 1) +
      `\nMedians of ${LIVES} lives of ${TURNS} turns each, and where the middle half of the lives lies.\n`,
  );
}
