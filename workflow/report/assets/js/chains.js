// Every chain against every other: ipTM, lowest PAE, ipSAE. A cell shows its pair in the
// other views.

const PAIR_SCORES = [
  { key: "iptm", label: "ipTM", digits: 2, good: (value) => value },
  { key: "pae_min", label: "Lowest PAE, Å", digits: 1, good: (value) => 1 - value / 30 },
  { key: "ipsae", label: "ipSAE", digits: 2, good: (value) => value },
];

function chainPairCard(detail, link) {
  const ids = [...new Set(detail.interfaces.flatMap((row) => [row.chain_1, row.chain_2]))];
  const order = chainRuns(detail.tokens).map((run) => run.chain)
    .filter((chain) => ids.includes(chain));
  if (order.length < 2) return null;
  const rows = new Map(
    detail.interfaces.map((row) => [JSON.stringify([row.chain_1, row.chain_2]), row]));
  const find = (aligned, scored) => rows.get(JSON.stringify([aligned, scored]));
  const frame = make("div", { class: "facts-scroll" });
  const show = (key) => frame.replaceChildren(
    pairTable(order, find, PAIR_SCORES.find((score) => score.key === key), detail, link));
  const options = PAIR_SCORES
    .filter(({ key }) => detail.interfaces.some((row) => row[key] !== null))
    .map(({ key, label }) => [key, label]);
  show(options[0][0]);
  return make("section", { class: "card", id: "chain-pairs" },
    make("div", { class: "card-head" }, make("h3", {}, "Chain pairs"),
      choice("Score", options, show)),
    frame,
    make("p", { class: "hint" }, "Row: aligned on; column: scored. A click shows the pair."));
}

function pairTable(order, find, score, detail, link) {
  const head = make("tr", {}, make("th"), ...order.map((chain) =>
    make("th", { scope: "col" }, chain)));
  const cell = (aligned, scored) => {
    if (aligned === scored) return make("td", { class: "self" });
    const value = find(aligned, scored)?.[score.key];
    if (value === null || value === undefined) return make("td", {}, DASH);
    const pick = () => chooseChains(detail.tokens, link, aligned, scored);
    const made = make("td", {}, make("button", { type: "button", onclick: pick,
      title: `${score.label} of ${scored} when aligned on ${aligned}` },
    formatNumber(value, score.digits)));
    const share = Math.round(100 * Math.min(1, Math.max(0, score.good(value))));
    made.style.setProperty("--share", `${0.5 * share}%`);
    return made;
  };
  return make("table", { class: "pairs" }, make("thead", {}, head),
    make("tbody", {}, ...order.map((aligned) => make("tr", {},
      make("th", { scope: "row" }, aligned),
      ...order.map((scored) => cell(aligned, scored))))));
}
