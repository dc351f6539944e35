// The filter box: words, which must all occur in name, source or id, and comparisons
// such as `iptm > 0.6`. A word in quotes is always a word.

const ALIASES = {
  tokens: "num_tokens", plddt: "mean_plddt", score: "ranking_score",
  chains: "num_chains", relax: "relax_status", disordered: "fraction_disordered",
};

const TERM = /"([^"]*)"|([A-Za-z_]\w*)\s*(>=|<=|!=|=|>|<)\s*("[^"]*"|[^\s"]+)|(\S+)/g;

const COMPARE = {
  ">": (a, b) => a > b, "<": (a, b) => a < b, ">=": (a, b) => a >= b,
  "<=": (a, b) => a <= b, "=": (a, b) => a === b, "!=": (a, b) => a !== b,
};

// Returns { test(row) } or { error } with a sentence for the user.
function compileQuery(text, jobs) {
  const tests = [];
  for (const [, quoted, key, operator, value, word] of text.matchAll(TERM)) {
    if (key === undefined) {
      tests.push(wordTest((quoted ?? word).toLowerCase(), jobs));
      continue;
    }
    const field = findField(key, jobs);
    if (!field) return { error: unknownField(key, jobs) };
    const compiled = comparison(field, operator, value.replaceAll('"', ""), jobs);
    if (compiled.error) return compiled;
    tests.push(compiled.test);
  }
  return { test: (row) => tests.every((test) => test(row)) };
}

function wordTest(word, jobs) {
  return (row) => jobs.searchable[row].includes(word);
}

function findField(key, jobs) {
  const name = key.toLowerCase();
  return jobs.fieldByKey.get(ALIASES[name] ?? name);
}

function unknownField(key, jobs) {
  const short = Object.fromEntries(Object.entries(ALIASES).map(([a, k]) => [k, a]));
  const known = [...jobs.fieldByKey.keys()].map((name) => short[name] ?? name);
  return `There is no column “${key}”. Columns: ${known.join(", ")}.`;
}

function comparison(field, operator, text, jobs) {
  const compare = COMPARE[operator];
  const values = jobs.values(field.key);
  if (field.kind === "number") {
    const wanted = Number(text);
    if (Number.isNaN(wanted)) return { error: `“${text}” is no number.` };
    return { test: (row) => values[row] !== null && compare(values[row], wanted) };
  }
  if (operator !== "=" && operator !== "!=") {
    return { error: `${field.label} is no number: use = or !=.` };
  }
  const plain = (value) => formatValue(value, field).toLowerCase();
  const wanted = text.replaceAll("_", " ").toLowerCase();
  return { test: (row) => compare(plain(values[row]), wanted) };
}

// Row numbers that match, in order; rows without a value come last either way.
function sortRows(rows, key, descending, jobs) {
  const values = jobs.values(key);
  const collator = new Intl.Collator("en", { numeric: true });
  const order = (a, b) => {
    const [x, y] = [values[a], values[b]];
    if (x === y) return a - b;
    if (x === null) return 1;
    if (y === null) return -1;
    const sign = typeof x === "string" ? collator.compare(x, y) : x - y;
    return descending ? -sign : sign;
  };
  return rows.sort(order);
}
