// The control flow of a region: order, dominators and which nodes are loop headers and merges, for emitting it as
// structured code. Dominators after Cooper, Harvey and Kennedy; structure after Ramsey, "Beyond Relooper" (2022).
// A retreating edge whose target does not dominate its source would make the graph irreducible: such edges are cut
// (the caller leaves the region there).

export interface FlowGraph {
  /** Nodes in reverse postorder; node 0 is the entry. Unreachable nodes are not in it. */
  readonly order: readonly number[];
  /** Position in `order`. */
  readonly position: ReadonlyMap<number, number>;
  /** Parents in the dominator tree; the entry's is itself. */
  readonly dominator: ReadonlyMap<number, number>;
  /** Children in the dominator tree. */
  readonly dominated: ReadonlyMap<number, readonly number[]>;
  readonly loopHeaders: ReadonlySet<number>;
  /** Nodes that more than one forward edge reaches. */
  readonly merges: ReadonlySet<number>;
  /** Edges to cut, as `from * nodes + to`. */
  readonly cut: ReadonlySet<number>;
}

/** `successors[n]` are the nodes that node n may go to. */
export function analyzeFlow(successors: readonly (readonly number[])[]): FlowGraph {
  const count = successors.length;
  const order = reversePostorder(successors);
  const position = new Map(order.map((node, i) => [node, i]));
  const predecessors: number[][] = successors.map(() => []);
  for (const node of order) for (const next of successors[node]!) predecessors[next]!.push(node);
  const parent = dominators(order, position, predecessors);
  const dominates = (a: number, b: number): boolean => {
    for (let at = b; ; at = parent.get(at)!) {
      if (at === a) return true;
      if (at === 0) return false;
    }
  };
  const loopHeaders = new Set<number>();
  const cut = new Set<number>();
  const forwardEdges = new Map<number, number>();
  for (const node of order)
    for (const next of successors[node]!) {
      if (position.get(next)! > position.get(node)!)
        forwardEdges.set(next, (forwardEdges.get(next) ?? 0) + 1);
      else if (dominates(next, node)) loopHeaders.add(next);
      else cut.add(node * count + next);
    }
  const dominated = new Map<number, number[]>(order.map((node) => [node, []]));
  for (const node of order) if (node !== 0) dominated.get(parent.get(node)!)!.push(node);
  const merges = new Set([...forwardEdges].filter(([, edges]) => edges > 1).map(([node]) => node));
  return { order, position, dominator: parent, dominated, loopHeaders, merges, cut };
}

function reversePostorder(successors: readonly (readonly number[])[]): number[] {
  const done = new Set<number>([0]);
  const order: number[] = [];
  const stack: { node: number; next: number }[] = [{ node: 0, next: 0 }];
  while (stack.length > 0) {
    const top = stack.at(-1)!;
    const next = successors[top.node]![top.next++];
    if (next === undefined) {
      order.push(top.node);
      stack.pop();
    } else if (!done.has(next)) {
      done.add(next);
      stack.push({ node: next, next: 0 });
    }
  }
  return order.reverse();
}

function dominators(
  order: readonly number[],
  position: ReadonlyMap<number, number>,
  predecessors: readonly (readonly number[])[],
): Map<number, number> {
  const parent = new Map<number, number>([[0, 0]]);
  const meet = (a: number, b: number): number => {
    while (a !== b) {
      while (position.get(a)! > position.get(b)!) a = parent.get(a)!;
      while (position.get(b)! > position.get(a)!) b = parent.get(b)!;
    }
    return a;
  };
  for (let changed = true; changed;) {
    changed = false;
    for (const node of order) {
      if (node === 0) continue;
      let next: number | undefined;
      for (const p of predecessors[node]!) if (parent.has(p)) next = next === undefined ? p : meet(p, next);
      if (parent.get(node) !== next) {
        parent.set(node, next!);
        changed = true;
      }
    }
  }
  return parent;
}
