// What ties the views of one job together: the tokens pointed at, and the region of
// the PAE matrix that was chosen. Views subscribe; none knows another.

function makeLink() {
  const listeners = [];
  const state = { hover: null, region: null };
  const tell = (what) => listeners.forEach((listener) => listener(state, what));
  return {
    state,
    subscribe(listener) { listeners.push(listener); },
    // { scored, aligned }: token indices; a trace has one, the matrix two.
    point(hover) { state.hover = hover; tell("hover"); },
    // { scored: [first, last], aligned: [first, last] }, both inclusive, or null.
    choose(region) { state.region = region; tell("region"); },
  };
}

// Tokens that stand side by side and belong to one chain.
function chainRuns(tokens) {
  const runs = [];
  tokens.chain.forEach((chain, index) => {
    const last = runs.at(-1);
    if (last && last.chain === chain) last.last = index;
    else runs.push({ chain, kind: tokens.kind[index], first: index, last: index });
  });
  return runs;
}

// What to write along an axis of tokens, and where (0 to 1): chain ids in the middle of
// each chain that has room, or residue numbers where there is one chain only.
function axisMarks(tokens) {
  const total = tokens.chain.length;
  const runs = chainRuns(tokens);
  if (runs.length > 1) {
    return runs.filter(({ first, last }) => last - first > total / 30)
      .map(({ chain, first, last }) => ({ at: (first + last + 1) / 2 / total, text: chain }));
  }
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((n) => total / n <= 6);
  const marks = [];
  tokens.residue.forEach((residue, index) => {
    const isFirst = tokens.residue[index - 1] !== residue;
    if (isFirst && (residue % step === 0)) marks.push({
      at: (index + 0.5) / total, text: String(residue) });
  });
  return marks;
}

function tokenLabel(tokens, index) {
  return `${tokens.chain[index]} ${tokens.name[index]} ${tokens.residue[index]}`;
}

function rangeLabel(tokens, [first, last]) {
  if (first === last) return tokenLabel(tokens, first);
  return `${tokenLabel(tokens, first)} to ${tokenLabel(tokens, last)}`;
}

// Colours in all views what is scored (a chain) and what it is aligned on (another).
function chooseChains(tokens, link, alignedOn, scoredChain) {
  const runs = new Map(chainRuns(tokens).map((run) => [run.chain, run]));
  const [aligned, scored] = [runs.get(alignedOn), runs.get(scoredChain)];
  if (aligned && scored) link.choose({
    scored: [scored.first, scored.last], aligned: [aligned.first, aligned.last] });
}
