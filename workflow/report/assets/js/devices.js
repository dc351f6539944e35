// What the devices did: one lane for each batch, drawn where the network ran. What is
// left empty is waiting for files.

const LANE = { height: 12, step: 16, width: 1000 };

function deviceCard(devices) {
  if (!devices) return null;
  const share = devices.seconds > 0 ? (100 * devices.busy) / devices.seconds : 0;
  const batches = devices.batches === 1 ? "1 batch" : `${formatNumber(devices.batches)} batches`;
  const summary = `${batches} on ${devices.devices.join(", ")}: `
    + `${formatDuration(devices.seconds)}, ${formatNumber(share)} % of it busy, `
    + `${formatDuration(devices.compiling)} with compiling`;
  const hidden = devices.batches - devices.lanes.length;
  return make("details", { class: "card devices", id: "devices" },
    make("summary", {}, make("b", {}, "Devices "), summary),
    laneChart(devices.lanes),
    make("div", { class: "legend" }, swatch("var(--accent)", "running"),
      swatch("var(--warn)", "compiling and running"), swatch("var(--sunken)", "waiting"),
      ...present([hidden > 0 && make("span", {},
        `The ${devices.lanes.length} longest; ${formatNumber(hidden)} are not drawn.`)])));
}

function laneChart(lanes) {
  const longest = Math.max(...lanes.map((lane) => lane.seconds));
  const x = (seconds) => (LANE.width * seconds) / longest;
  const bar = (start, end, y, fill) => draw("rect", {
    x: x(start), width: Math.max(0.5, x(end - start)), y, height: LANE.height, fill });
  const picture = draw("svg", {
    viewBox: `0 0 ${LANE.width} ${LANE.step * lanes.length}`, role: "img",
    preserveAspectRatio: "none", "aria-label": "When each batch ran the network" });
  picture.style.height = `${LANE.step * lanes.length}px`;
  lanes.forEach((lane, index) => {
    const y = index * LANE.step;
    const tip = `batch ${lane.batch}: ${lane.items} structures of up to `
      + `${formatNumber(lane.bucket)} tokens, ${formatDuration(lane.seconds)}`;
    picture.append(draw("g", { class: "lane" }, draw("title", {}, tip),
      bar(0, lane.seconds, y, "var(--sunken)"),
      ...lane.spans.map(([start, end, compiled]) =>
        bar(start, end, y, compiled ? "var(--warn)" : "var(--accent)"))));
  });
  return make("div", { class: "lanes" }, picture);
}

function formatDuration(seconds) {
  if (seconds < 120) return `${formatNumber(seconds, seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${formatNumber(seconds / 60)} min`;
  return `${formatNumber(seconds / 3600, 1)} h`;
}
