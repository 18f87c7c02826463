// Runs contenders in turns, so that what the host does meanwhile falls on both alike, and reduces the turns to medians.

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Each contender's values, turn by turn: A B, A B, … `measure` gives one value. */
export async function alternate<C>(
  contenders: readonly C[],
  turns: number,
  measure: (contender: C) => Promise<number[]>,
): Promise<Map<C, number[][]>> {
  const results = new Map<C, number[][]>(contenders.map((contender) => [contender, []]));
  for (let turn = 0; turn < turns; turn++) {
    for (const contender of contenders) results.get(contender)!.push(await measure(contender));
  }
  return results;
}
