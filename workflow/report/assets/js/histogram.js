// Distribution of one score: all jobs pale, the filtered ones in colour. A click on a
// bar asks for the jobs in it.

const NUM_BINS = 20;

function makeHistogram({ label, key, alias, range, colour }, jobs, onPick) {
  const values = jobs.values(key);
  const width = 240, height = 76, base = 75;
  const [low, high] = range;
  const step = (high - low) / NUM_BINS;
  const binOf = (value) =>
    Math.min(NUM_BINS - 1, Math.max(0, Math.floor((value - low) / step)));
  const count = (rows) => {
    const bins = new Array(NUM_BINS).fill(0);
    for (const row of rows) if (values[row] !== null) bins[binOf(values[row])] += 1;
    return bins;
  };
  const all = count(jobs.order);
  const tallest = Math.max(1, ...all);
  const scale = (n) => (n === 0 ? 0 : Math.max(1.5, (n / tallest) * (base - 4)));
  const barWidth = width / NUM_BINS;
  const spread = draw("svg", {
    viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `Distribution of ${label}`,
  });
  const filtered = all.map((n, index) => {
    const from = low + index * step;
    const x = index * barWidth + 1;
    const bar = draw("rect", { x, width: barWidth - 2, fill: colour(from + step / 2) });
    const tip = `${formatNumber(from, 2)} to ${formatNumber(from + step, 2)}: ${n} jobs`;
    spread.append(draw("g", { class: "bin", onclick: () => onPick(binQuery(index)) },
      draw("title", {}, tip),
      draw("rect", { class: "hit", x: x - 1, y: 0, width: barWidth, height: base }),
      draw("rect", { class: "all", x, y: base - scale(n), width: barWidth - 2,
        height: scale(n) }),
      bar));
    return bar;
  });
  // The outermost bars also hold what lies beyond the range.
  const binQuery = (index) => [
    index > 0 ? `${alias} >= ${round(low + index * step)}` : "",
    index < NUM_BINS - 1 ? `${alias} < ${round(low + (index + 1) * step)}` : "",
  ].join(" ").trim();
  const round = (value) => Number(value.toFixed(3));
  const summary = make("span");
  const node = make("div", { class: "card chart" },
    make("div", { class: "chart-head" }, make("h3", {}, label), summary),
    spread, axisLabels(low, high));
  const update = (rows) => {
    count(rows).forEach((n, index) => {
      filtered[index].setAttribute("y", base - scale(n));
      filtered[index].setAttribute("height", scale(n));
    });
    summary.textContent = describeMedian(rows, values);
  };
  return { node, update };
}

function axisLabels(low, high) {
  return make("div", { class: "chart-head" },
    make("span", {}, formatNumber(low, high > 1 ? 0 : 1)),
    make("span", {}, formatNumber((low + high) / 2, high > 1 ? 0 : 1)),
    make("span", {}, formatNumber(high, high > 1 ? 0 : 1)));
}

function describeMedian(rows, values) {
  const present = Float64Array.from(
    [...rows].map((row) => values[row]).filter((value) => value !== null)).sort();
  if (present.length === 0) return "no values";
  const middle = present[present.length >> 1];
  return `median ${formatNumber(middle, middle > 2 ? 1 : 2)}`;
}
