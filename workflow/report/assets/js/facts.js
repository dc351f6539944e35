// Plain tables and lists of a job's numbers.

function card(title, ...children) {
  return make("section", { class: "card" },
    make("div", { class: "card-head" }, make("h3", {}, title)), ...children);
}

function factTable(rows, fields, onPick = null) {
  const used = fields.filter(({ key }) =>
    rows.some((row) => row[key] !== null && row[key] !== undefined));
  const numeric = (field) => (field.kind === "number" ? "number" : null);
  const head = make("tr", {}, ...used.map((field) => make("th", {
    scope: "col", class: numeric(field), title: field.doc,
  }, field.label + (field.unit ? `, ${field.unit}` : ""))));
  const lines = rows.map((row) => make("tr", {
    class: onPick ? "pick" : null, tabindex: onPick ? 0 : null,
    onclick: onPick && (() => onPick(row)),
    onkeydown: onPick && ((event) => { if (event.key === "Enter") onPick(row); }),
  }, ...used.map((field) => make("td", { class: numeric(field) },
    formatValue(row[field.key], field)))));
  return make("div", { class: "facts-scroll" },
    make("table", { class: "facts" }, make("thead", {}, head),
      make("tbody", {}, ...lines)));
}

function factList(facts) {
  return make("table", { class: "facts" }, make("tbody", {}, ...facts.map(([key, value]) =>
    make("tr", {}, make("th", { scope: "row" }, key), make("td", {}, value)))));
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
        make("p", {}, make("strong", {}, `${stage}: ${cause || "failed"}`),
          make("span", { class: "hint" }, ` ${item}`)),
        evidence ? make("pre", {}, evidence) : null,
        remedy ? make("p", {}, `What to do: ${remedy}`) : null)));
}

function chainCard(chains) {
  const fields = [
    { key: "ids", label: "Chains", kind: "text" }, { key: "kind", label: "Kind", kind: "text" },
    { key: "length", label: "Residues", kind: "number", digits: 0 },
    { key: "sequence", label: "Sequence", kind: "text" },
  ];
  return card("Chains", factTable(chains.map((chain) => ({
    ids: chain.chain_ids.join(", "), kind: chain.kind,
    length: chain.sequence?.length ?? null, sequence: chain.sequence,
  })), fields));
}
