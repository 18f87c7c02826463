// The report of chaos runs: report.json for programs, junit.xml for CI, index.html for people, with a timeline a run.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ActorEvent } from '../supervision/actor-event.js';
import { replayCommand, type ChaosRun } from './chaos-run.js';
import type { ChaosSummary } from './chaos-summary.js';

export interface ChaosReport {
  readonly planPath: string;
  /** As `--fault` takes them. */
  readonly faults: readonly string[];
  readonly workload: string;
  readonly summary: ChaosSummary;
  readonly runs: readonly ChaosRun[];
}

/** Writes the three files into `folder`, which is made. */
export function writeReport(folder: string, report: ChaosReport): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'report.json'), `${JSON.stringify(report, undefined, 2)}\n`);
  writeFileSync(join(folder, 'junit.xml'), formatJunit(report));
  writeFileSync(join(folder, 'index.html'), formatHtml(report));
}

const escapeMarkup = (text: string): string =>
  // Control characters are not allowed in XML at all.
  [...text]
    .filter((c) => c >= ' ' || c === '\n' || c === '\t')
    .join('')
    .replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** The format that CI systems read: a test suite, a test case a run. */
export function formatJunit({ planPath, runs, summary }: ChaosReport): string {
  const seconds = (ms: number): string => (ms / 1000).toFixed(3);
  const total = runs.reduce((sum, run) => sum + run.durationMs, 0);
  const cases = runs.map((run) => {
    const open = `    <testcase classname="troupe.chaos" name="seed ${run.seed}" time="${seconds(run.durationMs)}"`;
    if (run.passed) return `${open}/>\n`;
    const text = escapeMarkup([...run.failures, replayCommand(planPath, run)].join('\n'));
    return `${open}>\n      <failure message="${escapeMarkup(run.failures[0]!)}">${text}</failure>\n    </testcase>\n`;
  });
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n' +
    `  <testsuite name="troupe chaos" tests="${runs.length}" failures="${runs.length - summary.passed}" ` +
    `errors="0" skipped="0" time="${seconds(total)}">\n${cases.join('')}  </testsuite>\n</testsuites>\n`
  );
}

const STYLE = `
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: right }
td:first-child, th:first-child { text-align: left } .bad { color: #b00 } .good { color: #070 }
svg { width: 100%; background: #fafafa; border: 1px solid #ddd } code { background: #f0f0f0; padding: .1em .3em }
`;

export function formatHtml(report: ChaosReport): string {
  const { summary, runs } = report;
  const verdict = summary.passed === summary.runs ? 'good' : 'bad';
  const ms = (value: number): string => value.toFixed(1);
  const recoveries = Object.entries(summary.recoveryMs).map(([kind, q]) => [
    kind,
    `${q.count}`,
    ms(q.p50),
    ms(q.p99),
    ms(q.max),
  ]);
  const faults = Object.entries(summary.faultsBy).map(([what, count]) => [what, `${count}`]);
  return [
    '<!doctype html><meta charset="utf-8"><title>troupe chaos</title>',
    `<style>${STYLE}</style><h1>troupe chaos</h1>`,
    `<p class="${verdict}"><b>${summary.passed} of ${summary.runs} runs passed</b></p>`,
    `<p>${summary.faults} faults, ${summary.exits} exits, ${summary.restarts} recoveries, ${summary.messagesMended} messages made good; `,
    `longest pause of a guest's console ${ms(summary.stallMs.max)} ms; workload: ${escapeMarkup(report.workload)}</p>`,
    '<h2>Plan</h2><ul>',
    ...report.faults.map((fault) => `<li><code>${escapeMarkup(fault)}</code></li>`),
    '</ul><h2>Faults</h2>',
    formatTable(['actor, fault', 'count'], faults),
    '<h2>Recovery, ms from exit to the first turn of the replacement</h2>',
    formatTable(['kind', 'count', 'p50', 'p99', 'max'], recoveries),
    '<h2>Runs</h2>',
    ...runs.map((run) => formatRun(report.planPath, run)),
    '',
  ].join('\n');
}

function formatTable(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (tag: string, cells: readonly string[]): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeMarkup(cell)}</${tag}>`).join('')}</tr>`;
  return `<table>${line('th', heads)}${rows.map((row) => line('td', row)).join('')}</table>`;
}

function formatRun(planPath: string, run: ChaosRun): string {
  const counts = Object.entries(run.counts).map(([name, count]) => `${count} ${name}`);
  const verdict = run.passed ? '<span class="good">passed</span>' : '<span class="bad">failed</span>';
  const failures = run.failures.map((failure) => `<li class="bad">${escapeMarkup(failure)}</li>`).join('');
  const replay = run.passed ? '' : `<p>again: <code>${escapeMarkup(replayCommand(planPath, run))}</code></p>`;
  return `<h3>seed ${run.seed}: ${verdict}</h3><p>${escapeMarkup(counts.join(', '))}</p><ul>${failures}</ul>${replay}${formatTimeline(run)}`;
}

const LANE = 22;
const LABEL = 140;
const WIDTH = 1000;

/** A lane an actor: faults as ticks, the time between exit and recovery as bars. */
function formatTimeline(run: ChaosRun): string {
  const actors = [...new Set(run.events.flatMap((event) => ('actor' in event ? [event.actor] : [])))].sort();
  if (actors.length === 0) return '';
  const x = (atMs: number): string =>
    (LABEL + (Math.max(0, atMs) / Math.max(1, run.durationMs)) * (WIDTH - LABEL)).toFixed(1);
  const lanes = actors.map((actor, i) => {
    const y = i * LANE;
    const marks = run.events.flatMap((event) =>
      'actor' in event && event.actor === actor ? [formatMark(event, x, y)] : [],
    );
    return `<text x="4" y="${y + 15}" font-size="12">${escapeMarkup(actor)}</text>${marks.join('')}`;
  });
  return `<svg viewBox="0 0 ${WIDTH} ${actors.length * LANE}">${lanes.join('')}</svg>`;
}

function formatMark(event: ActorEvent, x: (atMs: number) => string, y: number): string {
  if (event.type === 'fault') {
    const title = escapeMarkup(`${event.atMs.toFixed(0)} ms: ${event.rule} × ${event.count}`);
    return `<rect x="${x(event.atMs)}" y="${y + 3}" width="1.5" height="16" fill="#b00"><title>${title}</title></rect>`;
  }
  if (event.type !== 'actor:restart') return '';
  const from = x(event.atMs - event.downMs);
  const width = Math.max(1.5, Number(x(event.atMs)) - Number(from)).toFixed(1);
  const title = escapeMarkup(`generation ${event.generation} after ${event.downMs.toFixed(1)} ms`);
  return `<rect x="${from}" y="${y + 7}" width="${width}" height="8" fill="#36c" opacity=".6"><title>${title}</title></rect>`;
}
