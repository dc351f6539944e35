// Plain tables and lists of a job's numbers.

function card(title, ...children) {
  return make("section", { class: "card" },
    make("div", { class: "card-head" }, make("h3", {}, title)),
    ...children.filter(Boolean));
}

// A table of which some columns are shown at first, and a button for the others.
function tableCard(title, rows, fields, options = {}) {
  const used = fields.filter(({ key }) =>
    rows.some((row) => row[key] !== null && row[key] !== undefined));
  const first = used.filter(({ shown }) => shown);
  const frame = make("div");
  const show = (columns) => frame.replaceChildren(factTable(rows, columns, options));
  let isWide = false;
  const more = make("button", { type: "button", class: "quiet", onclick: () => {
    isWide = !isWide;
    more.textContent = isWide ? "Fewer columns" : "All columns";
    show(isWide ? used : first);
  } }, "All columns");
  show(first);
  const made = card(title, frame);
  if (used.length > first.length) made.querySelector(".card-head").append(more);
  return made;
}

// `pick` is called with a row that was chosen, `canPick` says of which rows that can be,
// `isPicked` which is chosen already.
function factTable(rows, fields, { pick = null, canPick = () => pick !== null,
  isPicked = () => false } = {}) {
  const used = fields.filter(({ key }) =>
    rows.some((row) => row[key] !== null && row[key] !== undefined));
  const numeric = (field) => (field.kind === "number" ? "number" : null);
  const head = make("tr", {}, ...used.map((field) => make("th", {
    scope: "col", class: numeric(field), title: field.doc,
  }, field.label + (field.unit ? `, ${field.unit}` : ""))));
  const lines = rows.map((row) => make("tr", {
    ...(canPick(row) ? { class: "pick", tabindex: 0, onclick: () => pick(row),
      onkeydown: (event) => { if (event.key === "Enter") pick(row); } } : {}),
    "aria-selected": isPicked(row) ? "true" : null,
  }, ...used.map((field) => factCell(formatValue(row[field.key], field), field))));
  return make("div", { class: "facts-scroll" },
    make("table", { class: "facts" }, make("thead", {}, head),
      make("tbody", {}, ...lines)));
}

function factCell(text, field) {
  const style = field.kind === "number" ? "number" : text.length > 24 ? "long" : null;
  return make("td", { class: style }, text);
}

// Columns `x_before` and `x_after` as one line each.
function beforeAndAfter(row, fields) {
  const pairs = fields.filter(({ key }) => key.endsWith("_before")).map((field) => {
    const after = fields.find(({ key }) => key === field.key.replace("_before", "_after"));
    return { quantity: field.label.replace(" before", ""), unit: field.unit,
      before: formatValue(row[field.key], field),
      after: after ? formatValue(row[after.key], after) : DASH };
  });
  const lines = pairs.map(({ quantity, unit, before, after }) => make("tr", {},
    make("th", { scope: "row" }, unit ? `${quantity}, ${unit}` : quantity),
    make("td", { class: "number" }, before), make("td", { class: "number" }, after)));
  return make("table", { class: "facts" },
    make("thead", {}, make("tr", {}, make("th"), make("th", { class: "number" }, "Before"),
      make("th", { class: "number" }, "After"))), make("tbody", {}, ...lines));
}

// What became of relaxing a structure, where the word alone does not say it.
const RELAX_STATES = {
  relaxed: "Its bonds, angles and contacts are sound.",
  not_converged: "It was relaxed, and some clashes or distorted bonds are left.",
  refused: "The predicted coordinates are no structure that could be relaxed, so the"
    + " predicted ones stand.",
  failed: "Relaxation broke off; the predicted coordinates stand.",
};

function relaxCard(row, fields) {
  if (!row) return null;
  const treatments = Object.entries(JSON.parse(row.treatments || "{}"));
  const shown = ["rmsd", "seconds"].map((key) => fields.find((field) => field.key === key))
    .filter((field) => field && row[field.key] !== null)
    .map((field) => `${field.label} ${formatValue(row[field.key], field)} ${field.unit}`);
  const status = [String(row.status).replaceAll("_", " "), ...shown].join(", ");
  return card("Relaxation", make("p", {}, status),
    make("p", { class: "hint" }, RELAX_STATES[row.status] ?? ""),
    row.reason ? make("p", { class: "hint" }, row.reason) : null,
    beforeAndAfter(row, fields),
    treatments.length > 0 ? factList(treatments) : null);
}

function factList(facts) {
  return make("table", { class: "facts" }, make("tbody", {}, ...facts.map(([key, value]) =>
    make("tr", {}, make("th", { scope: "row" }, key), make("td", { class: "long" }, value)))));
}

// A tree of plain values as rows of dotted names.
function flatten(tree, prefix = "") {
  return Object.entries(tree).flatMap(([key, value]) => {
    const name = prefix ? `${prefix}.${key}` : key;
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      return flatten(value, name);
    }
    return [[name, Array.isArray(value) ? value.join(", ") : String(value ?? DASH)]];
  });
}

function failureCard(failures) {
  if (!failures) return null;
  return card(failures.length === 1 ? "What failed" : `What failed (${failures.length})`,
    ...failures.map(([stage, item, , cause, evidence, remedy]) =>
      make("div", { class: "failure" },
        make("p", {}, make("strong", {}, `${stage}: ${(cause || "failed").replaceAll("_", " ")}`),
          make("span", { class: "hint" }, ` ${item}`)),
        evidence ? make("pre", {}, evidence) : null,
        remedy ? make("p", {}, `What to do: ${remedy}`) : null)));
}

function chainCard({ chains, dropped_chains: dropped, notes, tokens }) {
  const components = (ids) => [...new Set(
    tokens.name.filter((_, at) => ids.includes(tokens.chain[at])))].join(", ");
  const fields = [
    { key: "ids", label: "Chains", kind: "text" }, { key: "kind", label: "Kind", kind: "text" },
    { key: "length", label: "Residues", kind: "number", digits: 0 },
    { key: "content", label: "Sequence or components", kind: "text" },
  ];
  return card("Chains", factTable(chains.map((chain) => ({
    ids: chain.chain_ids.join(", "), kind: chain.kind,
    length: chain.sequence?.length ?? null,
    content: chain.sequence ?? components(chain.chain_ids),
  })), fields), dropped.length > 0 && make("p", { class: "hint" },
    `Left out, for want of any residue that the model knows: ${dropped.join(", ")}.`),
  ...notes.map((note) => make("p", { class: "hint" }, `${note}.`)));
}
