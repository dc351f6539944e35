// Values along the sequence: pLDDT as a line over AlphaFold's bands, MSA depth as area.

const TRACE = { left: 34, right: 6, top: 6 };

function makeTrace({ values, top, height, ticks, paint, describe, width }, tokens, link) {
  const bottom = height - 18;
  const inner = width - TRACE.left - TRACE.right;
  const x = (index) => TRACE.left + (inner * (index + 0.5)) / values.length;
  const edge = (index) => TRACE.left + (inner * index) / values.length;
  const y = (value) => bottom - (bottom - TRACE.top) * (value / top);
  const picture = draw("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img" });
  const marks = draw("g");
  const cursor = draw("line", {
    class: "cursor", y1: TRACE.top, y2: bottom, "vector-effect": "non-scaling-stroke",
    visibility: "hidden" });
  const axes = ticks.map((tick) => draw("g", {},
    draw("line", { class: "axis", x1: TRACE.left, x2: width - TRACE.right,
      y1: y(tick), y2: y(tick) }),
    draw("text", { x: TRACE.left - 5, y: y(tick) + 4, "text-anchor": "end" },
      formatNumber(tick))));
  const names = axisMarks(tokens).map(({ at, text }) => draw("text", {
    x: TRACE.left + inner * at, y: height - 4, "text-anchor": "middle" }, text));
  const borders = chainRuns(tokens).slice(1).map((run) => draw("line", {
    class: "axis", x1: edge(run.first), x2: edge(run.first), y1: TRACE.top, y2: bottom }));
  picture.append(...paint({ x, y, edge, bottom, inner }), ...axes, ...borders, ...names,
    marks, cursor);
  const readout = make("span", { class: "hint" });

  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * width - TRACE.left;
    const token = Math.floor((place / inner) * values.length);
    link.point(token >= 0 && token < values.length ? { scored: token } : null);
  });
  picture.addEventListener("pointerleave", () => link.point(null));
  link.subscribe(({ hover, region }, what) => {
    const token = hover?.scored;
    cursor.setAttribute("visibility", token === undefined ? "hidden" : "visible");
    readout.textContent = "";
    if (token !== undefined) {
      cursor.setAttribute("x1", x(token));
      cursor.setAttribute("x2", x(token));
      readout.textContent = `${tokenLabel(tokens, token)}: ${describe(values[token])}`;
    }
    if (what === "region") shade(marks, region, edge, bottom);
  });
  return { node: make("div", { class: "trace" }, picture), readout };
}

function shade(marks, region, edge, bottom) {
  marks.replaceChildren();
  for (const role of region ? ["scored", "aligned"] : []) {
    const [first, last] = region[role];
    marks.append(draw("rect", {
      class: `mark-${role}`, x: edge(first), y: TRACE.top,
      width: edge(last + 1) - edge(first), height: bottom - TRACE.top }));
  }
}

function points(values, { x, y }) {
  return values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`)
    .join(" ");
}

function plddtTrace(tokens, link, width) {
  const paint = (scale) => [
    ...PLDDT_BANDS.map((band, index) => {
      const upper = index === 0 ? 100 : PLDDT_BANDS[index - 1].from;
      return draw("rect", {
        x: TRACE.left, width: scale.inner, y: scale.y(upper),
        height: scale.y(Math.max(0, band.from)) - scale.y(upper),
        fill: band.colour, "fill-opacity": 0.16 });
    }),
    draw("polyline", { class: "line", points: points(tokens.plddt, scale),
      "vector-effect": "non-scaling-stroke" }),
  ];
  return makeTrace({
    values: tokens.plddt, width, top: 100, height: 130, ticks: [0, 50, 70, 90],
    paint, describe: (value) => formatNumber(value, 1),
  }, tokens, link);
}

function depthTrace(depth, tokens, link, width) {
  const top = Math.max(1, ...depth);
  const paint = (scale) => [draw("polygon", { class: "area", points:
    `${scale.edge(0)},${scale.bottom} ${points(depth, scale)} `
    + `${scale.edge(depth.length)},${scale.bottom}` })];
  return makeTrace({
    values: depth, width, top, height: 84, ticks: [0, top], paint,
    describe: (value) => `${formatNumber(value)} sequences`,
  }, tokens, link);
}
