// Screens: a matrix of pairs, the best of them, and all against the background.

const MOST_HITS = 200;
const VOLCANO = { width: 420, height: 300, left: 44, right: 10, top: 10, bottom: 34 };

function makeScreen(screens, onPick) {
  const node = byId("screen");
  if (screens.length === 0) return;
  node.hidden = false;
  const state = { screen: screens[0], score: screens[0].by, order: "clustered" };
  const choice = (label, options, value, onChange) => {
    const select = make("select", { onchange: () => onChange(select.value) },
      ...options.map(([key, text]) =>
        make("option", { value: key, selected: key === value }, text)));
    return make("label", { class: "choose" }, `${label} `, select);
  };
  const show = () => {
    const { screen } = state;
    const fields = new Map(screen.fields.map((field) => [field.key, field]));
    if (!fields.has(state.score)) state.score = screen.by;
    const field = fields.get(state.score);
    const orders = [["clustered", "alike together"], ["best", "best first"], ["name", "by name"]];
    node.replaceChildren(
      make("div", { class: "screen-head" },
        make("h2", {}, `Screen ${screen.name}`),
        screens.length > 1 && choice("Screen", screens.map(({ name }) => [name, name]),
          screen.name, (name) => {
            state.screen = screens.find((one) => one.name === name); show();
          }),
        choice("Score", screen.fields.map(({ key, label }) => [key, label]), state.score,
          (key) => { state.score = key; show(); }),
        choice("Order", orders, state.order, (key) => { state.order = key; show(); }),
        make("span", { class: "status-line" }, countPairs(screen))),
      make("div", { class: "screen-body" },
        hitsCard(screen, field, onPick),
        matrixCard(screen, field, state.order, onPick),
        volcanoCard(screen, state.score, onPick)));
    node.dataset.drawn = `${screen.name} ${state.score} ${state.order}`;
  };
  show();
}

function countPairs(screen) {
  const asked = screen.asked.filter(Boolean).length;
  const behind = screen.background === "background"
    ? `${formatNumber(screen.background_pairs)} background pairs`
    : screen.background_pairs
      ? `compared with each other (${formatNumber(screen.background_pairs)} pairs)`
      : "too few to be compared";
  const left = screen.num_pairs - screen.asked.length;
  return `${formatNumber(asked)} pairs, ${behind}${
    left > 0 ? `; ${formatNumber(left)} worse ones are in the table only` : ""}`;
}

const pairName = (screen, pair) =>
  `${screen.partners[screen.first[pair]]} – ${screen.partners[screen.second[pair]]}`;

// Pairs with a value, the best first.
function rankPairs(screen, field) {
  const values = screen.scores[field.key];
  const sign = field.low_is_best ? 1 : -1;
  return screen.asked.map((_, pair) => pair)
    .filter((pair) => screen.asked[pair] && values[pair] !== null)
    .sort((a, b) => sign * (values[a] - values[b]) || a - b);
}

// From 0 (worst) to 1 (best) among what is shown.
function scaleOf(screen, field) {
  const values = screen.scores[field.key].filter((value) => value !== null);
  const bounded = field.digits === 2 && field.unit === "" && !field.key.endsWith("corrected");
  let low = values.reduce((a, b) => Math.min(a, b), bounded ? 0 : Infinity);
  let high = values.reduce((a, b) => Math.max(a, b), bounded ? 1 : -Infinity);
  if (!(high > low)) { low -= 0.5; high += 0.5; }
  const part = (value) => (value - low) / (high - low);
  return { low, high, part: field.low_is_best ? (value) => 1 - part(value) : part };
}

// Pale to dark blue, readable without colour: lightness falls evenly.
function shareColour(part) {
  const stops = [[238, 243, 247], [158, 197, 226], [66, 134, 190], [12, 58, 110]];
  const at = Math.min(0.9999, Math.max(0, part)) * (stops.length - 1);
  const index = Math.floor(at), rest = at - index;
  return stops[index].map((low, i) => Math.round(low + rest * (stops[index + 1][i] - low)));
}

function orderPartners(screen, field, order) {
  const shown = screen.partners.map((_, index) => index)
    .filter((index) => screen.sides[index] !== "background");
  if (order === "name") return shown;
  if (order === "clustered") {
    const place = new Map(screen.clustered.map((partner, index) => [partner, index]));
    return shown.sort((a, b) => place.get(a) - place.get(b));
  }
  const best = new Map();
  rankPairs(screen, field).forEach((pair, rank) => {
    for (const partner of [screen.first[pair], screen.second[pair]]) {
      if (!best.has(partner)) best.set(partner, rank);
    }
  });
  return shown.sort((a, b) => (best.get(a) ?? Infinity) - (best.get(b) ?? Infinity) || a - b);
}

function matrixCard(screen, field, order, onPick) {
  const ordered = orderPartners(screen, field, order);
  const isBait = (index) => screen.sides[index] === "bait";
  // Baits are rows and preys columns; without sides everything is both.
  const sided = ordered.some(isBait) && ordered.some((i) => screen.sides[i] === "prey");
  const rows = sided ? ordered.filter((i) => screen.sides[i] !== "prey") : ordered;
  const columns = sided ? ordered.filter((i) => !isBait(i)) : ordered;
  // One row says no more than the list of the best pairs, which needs the room.
  if (rows.length < 2 || columns.length < 2) return null;
  const values = screen.scores[field.key];
  const cells = new Map();
  screen.first.forEach((first, pair) => {
    if (!screen.asked[pair]) return;
    cells.set(first * screen.partners.length + screen.second[pair], pair);
    cells.set(screen.second[pair] * screen.partners.length + first, pair);
  });
  const pairAt = (row, column) =>
    cells.get(rows[row] * screen.partners.length + columns[column]);
  const { low, high, part } = scaleOf(screen, field);
  const image = new ImageData(Math.max(1, columns.length), Math.max(1, rows.length));
  rows.forEach((_, row) => columns.forEach((__, column) => {
    const pair = pairAt(row, column);
    const value = pair === undefined ? null : values[pair];
    const at = 4 * (row * columns.length + column);
    const colour = value === null ? [0, 0, 0, 0] : [...shareColour(part(value)), 255];
    image.data.set(colour, at);
  }));
  const size = Math.max(1, Math.min(24, Math.floor(Math.min(
    340 / columns.length, 400 / rows.length))));
  const canvas = make("canvas", {
    class: "screen-matrix", width: image.width, height: image.height, tabindex: 0,
    role: "img", "aria-label": `${field.label} of all pairs; a click shows the job`,
  });
  canvas.style.width = `${size * image.width}px`;
  canvas.style.height = `${size * image.height}px`;
  canvas.getContext("2d").putImageData(image, 0, 0);
  const reading = make("p", { class: "status-line", role: "status" },
    "Point at a cell to read it; click for its structure.");
  const pairUnder = (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / box.width * columns.length);
    const row = Math.floor((event.clientY - box.top) / box.height * rows.length);
    return rows[row] === undefined || columns[column] === undefined
      ? undefined : pairAt(row, column);
  };
  canvas.addEventListener("mousemove", (event) => {
    const pair = pairUnder(event);
    reading.textContent = pair === undefined ? "not asked for, or without a result"
      : `${pairName(screen, pair)}: ${formatValue(values[pair], field)}`;
  });
  canvas.addEventListener("click", (event) => {
    const pair = pairUnder(event);
    if (pair !== undefined) onPick(screen.row[pair]);
  });
  const labelled = size >= 11;
  const ends = (list) => make("span", { class: "status-line" },
    labelled ? "" : `${formatNumber(list.length)} partners`);
  return make("div", { class: "card screen-card" },
    make("div", { class: "chart-head" }, make("h3", {}, field.label),
      make("span", {}, `${formatNumber(low, field.digits)} `,
        make("span", { class: "ramp" }), ` ${formatNumber(high, field.digits)} ${field.unit}`)),
    make("div", { class: "matrix-frame" },
      labelled && make("div", { class: "row-names" }, ...rows.map((index) =>
        make("span", { style: `height:${size}px;line-height:${size}px`,
          title: screen.partners[index] }, screen.partners[index]))),
      make("div", {}, canvas,
        labelled && make("div", { class: "column-names" }, ...columns.map((index) =>
          make("span", { style: `width:${size}px`, title: screen.partners[index] },
            screen.partners[index]))),
        ends(columns))),
    reading);
}

function hitsCard(screen, field, onPick) {
  const above = screen.scores[`${field.key}_above`]
    ?? screen.scores[`${field.key.replace("_corrected", "")}_above`];
  const ranked = rankPairs(screen, field).slice(0, MOST_HITS);
  const hasDrawings = Object.keys(screen.drawings).length > 0;
  const hasPools = screen.num_jobs.some((number) => number > 1);
  const head = ["", ...(hasDrawings ? ["Ligand"] : []), "Pair", field.label,
    ...(above ? ["Background as high"] : []), ...(hasPools ? ["Jobs"] : []),
    ...(hasDrawings ? ["Valid"] : [])];
  const line = (pair, rank) => make("tr", {
    class: "row", tabindex: 0, "data-pair": pair,
    onclick: () => onPick(screen.row[pair]),
    onkeydown: (event) => { if (event.key === "Enter") onPick(screen.row[pair]); },
  },
  make("td", { class: "number" }, formatNumber(rank + 1)),
  hasDrawings && make("td", {}, screen.drawings[pair] && make("img", {
    class: "drawing", alt: `Structural formula of the ligand of ${pairName(screen, pair)}`,
    src: `data:image/svg+xml;base64,${screen.drawings[pair]}` })),
  make("td", { class: "name", title: pairName(screen, pair) }, pairName(screen, pair)),
  make("td", { class: "number" }, formatValue(screen.scores[field.key][pair], field)),
  above && make("td", { class: "number" }, above[pair] === null ? DASH
    : `${formatNumber(100 * above[pair], 1)} %`),
  hasPools && make("td", { class: "number" }, formatNumber(screen.num_jobs[pair])),
  hasDrawings && make("td", {}, formatValue(screen.valid[pair], { kind: "flag" })));
  return make("div", { class: "card screen-card hits" },
    make("div", { class: "chart-head" }, make("h3", {}, "Best pairs"),
      make("span", {}, `${formatNumber(ranked.length)} shown`)),
    make("div", { class: "hits-scroller", tabindex: 0, "aria-label": "Best pairs" },
      make("table", { class: "job-table" },
        make("thead", {}, make("tr", {}, ...head.map((text) =>
          make("th", { scope: "col" }, text)))),
        make("tbody", {}, ...ranked.map(line)))));
}

// Score against how much of the background is as high, sizes taken out.
function volcanoCard(screen, score, onPick) {
  const base = score.replace("_corrected", "");
  const name = screen.scores[`${base}_above`] ? base : screen.by;
  const above = screen.scores[`${name}_above`];
  const values = screen.scores[`${name}_corrected`];
  const pairs = screen.asked.map((_, pair) => pair)
    .filter((pair) => values?.[pair] != null && above?.[pair] != null);
  if (pairs.length === 0) return null;
  const { width, height, left, right, top, bottom } = VOLCANO;
  const least = 1 / (screen.background_pairs + 1);
  const lift = (pair) => -Math.log10(Math.max(above[pair], least));
  const xs = pairs.map((pair) => values[pair]);
  const low = xs.reduce((a, b) => Math.min(a, b)), high = xs.reduce((a, b) => Math.max(a, b));
  const tallest = -Math.log10(least);
  const x = (value) => left + (width - left - right) * (value - low) / (high - low || 1);
  const y = (value) => height - bottom - (height - top - bottom) * value / tallest;
  const field = { kind: "number", digits: 3 };
  const dots = pairs.map((pair) => draw("circle", {
    cx: x(values[pair]).toFixed(1), cy: y(lift(pair)).toFixed(1), r: 3,
    class: screen.asked[pair] ? "asked" : "behind",
    onclick: () => { if (screen.row[pair] !== null) onPick(screen.row[pair]); },
  }, draw("title", {}, `${pairName(screen, pair)}: ${formatValue(values[pair], field)}, `
    + `${formatNumber(100 * above[pair], 1)} % of the background as high`)));
  // Background below, so that no hit hides.
  const layers = [
    dots.filter((_, i) => !screen.asked[pairs[i]]), dots.filter((_, i) => screen.asked[pairs[i]])];
  const ticks = [1, 0.1, 0.01, 0.001, 0.0001].filter((share) => share >= least * 0.999);
  const label = screen.fields.find(({ key }) => key === name)?.label ?? name;
  return make("div", { class: "card screen-card" },
    make("div", { class: "chart-head" }, make("h3", {}, `${label} against the background`),
      make("span", {}, screen.background === "background" ? "shuffled or unrelated pairs"
        : "all pairs of the screen")),
    draw("svg", { class: "volcano", viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `${label} against the share of the background that is as high` },
    ...ticks.map((share) => draw("g", { class: "tick" },
      draw("line", { x1: left, x2: width - right, y1: y(-Math.log10(share)), y2: y(-Math.log10(share)) }),
      draw("text", { x: left - 6, y: y(-Math.log10(share)) + 4, "text-anchor": "end" },
        `${formatNumber(100 * share, share < 0.01 ? 2 : 0)} %`))),
    draw("text", { x: 4, y: top + 2, class: "axis" }, "as high"),
    draw("text", { x: left, y: height - 14 }, formatNumber(low, 2)),
    draw("text", { x: width - right, y: height - 14, "text-anchor": "end" }, formatNumber(high, 2)),
    draw("text", { x: (left + width) / 2, y: height - 2, "text-anchor": "middle" },
      `${label}, size taken out`),
    ...layers.flat()));
}
