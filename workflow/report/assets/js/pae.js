// The PAE heat map: rows are aligned on, columns are scored. Pointing shows a pair,
// dragging chooses a region, a click or Escape lets it go.

const PAE_TOP = 300; // 30 Å, in the table's steps of 0.1 Å
const PAE_STOPS = [[0, 68, 27], [35, 139, 69], [116, 196, 118], [199, 233, 192],
  [247, 252, 245]];

function paeColour(value) {
  const at = Math.min(value / PAE_TOP, 1) * (PAE_STOPS.length - 1);
  const below = Math.min(Math.floor(at), PAE_STOPS.length - 2);
  const part = at - below;
  return PAE_STOPS[below].map((low, c) => low + part * (PAE_STOPS[below + 1][c] - low));
}

const paeRamp = () =>
  `linear-gradient(to right, ${PAE_STOPS.map((stop) => `rgb(${stop})`).join(", ")})`;

function makePae(detail, link) {
  const { pae, tokens } = detail;
  const { side, stride } = pae;
  const numTokens = pae.tokens;
  const canvas = make("canvas", { width: side, height: side });
  paintMatrix(canvas, pae);
  const overlay = draw("svg", {
    viewBox: `0 0 ${numTokens} ${numTokens}`, preserveAspectRatio: "none" });
  const marks = draw("g");
  overlay.append(chainLines(tokens, numTokens), marks);
  const node = make("div", {
    class: "stage pae-stage", id: "pae", role: "img",
    "aria-label": "Predicted aligned error between all pairs of tokens",
  }, canvas, overlay);
  const frame = make("div", { class: "pae-frame" },
    make("span", { class: "pae-axis vertical" }, "Aligned on"), chainNames(tokens, "top"),
    node, chainNames(tokens, "left"), make("span", { class: "pae-axis" }, "Scored"));
  const readout = make("p", {
    class: "readout", id: "pae-readout", role: "status" });

  let start = null;
  const tokenAt = (event) => {
    const box = node.getBoundingClientRect();
    const place = (offset, size) =>
      Math.min(numTokens - 1, Math.max(0, Math.floor((offset / size) * numTokens)));
    return {
      scored: place(event.clientX - box.left, box.width),
      aligned: place(event.clientY - box.top, box.height),
    };
  };
  node.addEventListener("pointerdown", (event) => {
    start = tokenAt(event);
    node.setPointerCapture(event.pointerId);
  });
  node.addEventListener("pointermove", (event) => {
    const here = tokenAt(event);
    link.point(here);
    if (start) drawRegion(marks, regionBetween(start, here));
  });
  node.addEventListener("pointerup", (event) => {
    const here = tokenAt(event);
    const moved = start && (Math.abs(here.scored - start.scored) > 0
      || Math.abs(here.aligned - start.aligned) > 0);
    link.choose(moved ? regionBetween(start, here) : null);
    start = null;
  });
  node.addEventListener("pointerleave", () => { if (!start) link.point(null); });

  const valueAt = ({ scored, aligned }) => {
    const row = Math.floor(aligned / stride), column = Math.floor(scored / stride);
    return pae.values[row * side + column] / 10;
  };
  link.subscribe((state, what) => {
    if (what === "region") drawRegion(marks, state.region);
    readout.textContent = describePae(state, tokens, valueAt, pae);
  });
  readout.textContent = describePae(link.state, tokens, valueAt, pae);
  return { node: frame, readout };
}

function chainNames(tokens, side) {
  const names = axisMarks(tokens).map(({ at, text }) => {
    const name = make("span", {}, text);
    name.style[side] = `${100 * at}%`;
    return name;
  });
  return make("div", { class: `chain-names ${side}`, "aria-hidden": "true" }, ...names);
}

function paintMatrix(canvas, { side, values }) {
  const palette = Array.from({ length: PAE_TOP + 1 }, (_, value) => paeColour(value));
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  for (let at = 0; at < side * side; at += 1) {
    const [red, green, blue] = palette[Math.min(values[at], PAE_TOP)];
    image.data.set([red, green, blue, 255], 4 * at);
  }
  context.putImageData(image, 0, 0);
}

function chainLines(tokens, numTokens) {
  const lines = draw("g", {
    stroke: "#16202c", "stroke-width": 1, "stroke-opacity": 0.65 });
  for (const { first } of chainRuns(tokens).slice(1)) {
    const effect = { "vector-effect": "non-scaling-stroke" };
    lines.append(
      draw("line", { x1: first, x2: first, y1: 0, y2: numTokens, ...effect }),
      draw("line", { y1: first, y2: first, x1: 0, x2: numTokens, ...effect }));
  }
  return lines;
}

function regionBetween(a, b) {
  const sorted = (x, y) => [Math.min(x, y), Math.max(x, y)];
  return {
    scored: sorted(a.scored, b.scored), aligned: sorted(a.aligned, b.aligned) };
}

function drawRegion(marks, region) {
  marks.replaceChildren();
  if (!region) return;
  const [x, right] = region.scored;
  const [y, bottom] = region.aligned;
  marks.append(draw("rect", {
    x, y, width: right - x + 1, height: bottom - y + 1, fill: "none",
    stroke: "#c2185b", "stroke-width": 2, "vector-effect": "non-scaling-stroke" }));
}

function describePae({ hover, region }, tokens, valueAt, pae) {
  if (hover && hover.aligned !== undefined) {
    return `${tokenLabel(tokens, hover.scored)} when aligned on `
      + `${tokenLabel(tokens, hover.aligned)}: ${formatNumber(valueAt(hover), 1)} Å`;
  }
  if (region) {
    return `Scored ${rangeLabel(tokens, region.scored)}; aligned on `
      + `${rangeLabel(tokens, region.aligned)}: mean `
      + `${formatNumber(meanPae(region, pae), 1)} Å`;
  }
  const averaged = pae.stride > 1
    ? ` Averaged over squares of ${pae.stride} × ${pae.stride} tokens.` : "";
  return `Drag over a region to find it in the structure.${averaged}`;
}

function meanPae({ scored, aligned }, { values, side, stride }) {
  const steps = ([first, last]) => [Math.floor(first / stride), Math.floor(last / stride)];
  const [left, right] = steps(scored), [top, bottom] = steps(aligned);
  let total = 0;
  for (let row = top; row <= bottom; row += 1) {
    for (let column = left; column <= right; column += 1) {
      total += values[row * side + column];
    }
  }
  return total / (right - left + 1) / (bottom - top + 1) / 10;
}

const STRETCH = 30; // tokens

// Stretches of every polymer by their mean inner PAE, the highest first; those that a
// chain is sure of are left out.
function uncertainStretches(tokens, pae) {
  const found = [];
  for (const { kind, first, last } of chainRuns(tokens)) {
    if (kind === "ligand") continue;
    for (let from = first; from <= last; from += STRETCH) {
      const range = [from, Math.min(last, from + STRETCH - 1)];
      if (range[1] - from + 1 < STRETCH / 2) continue;
      const region = { scored: range, aligned: range };
      found.push({ region, mean: meanPae(region, pae) });
    }
  }
  return found.filter(({ mean }) => mean >= 5).sort((a, b) => b.mean - a.mean);
}
