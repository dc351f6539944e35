// Loads the data, keeps filter and selection, and puts both into the address.

function indexJobs(overview) {
  const own = [
    { key: "status", label: "Status", kind: "text", shown: true,
      doc: "done, partial (scored, but something failed), failed or waiting" },
    { key: "name", label: "Job", kind: "text", shown: true, doc: "the job's label" },
    { key: "num_tokens", label: "Tokens", kind: "number", digits: 0, shown: true,
      doc: "tokens before padding" },
    { key: "problem", label: "Problem", kind: "text", shown: false,
      doc: "stage and cause of the first failure" },
  ];
  const fields = [...own, ...overview.fields].map((field) => ({ unit: "", ...field }));
  const columns = new Map([
    ...["status", "name", "num_tokens", "problem", "job_id", "source", "detailed",
      "folders"].map(
      (key) => [key, overview[key]]),
    ...Object.entries(overview.scores),
  ]);
  const searchable = overview.name.map((name, row) =>
    [name, overview.source[row], overview.job_id[row], overview.problem[row]]
      .join(" ").toLowerCase());
  return {
    fields, searchable, order: overview.name.map((_, row) => row),
    fieldByKey: new Map(fields.map((field) => [field.key, field])),
    values: (key) => columns.get(key),
  };
}

function tallyCard(overview, onPick) {
  const counts = {};
  for (const status of overview.status) counts[status] = (counts[status] ?? 0) + 1;
  const tally = (n, label, query) => make("button", {
    type: "button", "data-query": query, onclick: () => onPick(query) },
  make("b", {}, formatNumber(n)), make("span", {}, label));
  return make("div", { class: "card tally" },
    tally(overview.status.length, "jobs", ""),
    tally(counts.done ?? 0, "done", "status = done"),
    tally((counts.failed ?? 0) + (counts.partial ?? 0), "with failures",
      counts.partial ? "status != done" : "status = failed"),
    tally(counts.waiting ?? 0, "waiting", "status = waiting"));
}

// What went wrong how often; each a way to the jobs concerned.
function causesCard(overview, onPick) {
  if (overview.causes.length === 0) return null;
  return make("div", { class: "card causes" }, make("h3", {}, "Failures"),
    ...overview.causes.map(([label, number]) => make("button", {
      type: "button", class: "quiet", onclick: () => onPick(`problem = "${label}"`) },
    `${label} `, make("b", {}, formatNumber(number)))));
}

const unit = () => cssColour("--accent");
const CHARTS = [
  { label: "Ranking score", key: "ranking_score", alias: "score", range: [0, 1],
    colour: unit },
  { label: "ipTM", key: "iptm", alias: "iptm", range: [0, 1], colour: unit },
  { label: "pLDDT", key: "mean_plddt", alias: "plddt", range: [0, 100],
    colour: plddtColour },
  { label: "ipSAE", key: "ipsae", alias: "ipsae", range: [0, 1], colour: unit },
  { label: "DockQ", key: "dockq", alias: "dockq", range: [0, 1], colour: unit },
  { label: "lDDT", key: "lddt", alias: "lddt", range: [0, 1], colour: unit },
];

function saveCsv(jobs, rows, fields) {
  const quote = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    // A leading =, +, - or @ would run as a formula in a spreadsheet.
    const inert = typeof value === "string" && /^[=+\-@]/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
  };
  const keys = fields.map((field) => field.key);
  const lines = rows.map((row) =>
    keys.map((key) => quote(jobs.values(key)[row])).join(","));
  saveAs(new Blob([[keys.join(","), ...lines].join("\n"), "\n"], { type: "text/csv" }),
    "jobs.csv");
}

function startTheme(onChange) {
  const modes = ["system", "light", "dark"];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let mode = "system";
  const apply = () => {
    const theme = mode === "system" ? (dark.matches ? "dark" : "light") : mode;
    document.documentElement.dataset.theme = theme;
    byId("theme").textContent = `Theme: ${mode}`;
    onChange();
  };
  byId("theme").addEventListener("click", () => {
    mode = modes[(modes.indexOf(mode) + 1) % modes.length];
    apply();
  });
  dark.addEventListener("change", apply);
  apply();
}

function startColumnMenu(fields, onChange) {
  byId("column-list").append(...fields.map((field) => {
    const box = make("input", { type: "checkbox", checked: field.shown,
      onchange: () => { field.shown = box.checked; onChange(); } });
    return make("label", { title: field.doc }, box, field.label);
  }));
  document.addEventListener("click", ({ target }) => {
    if (!byId("columns").contains(target)) byId("columns").open = false;
  });
}

const FIRST_SORT = { key: "ranking_score", descending: true };

function writeAddress(query, sort, job) {
  const state = new URLSearchParams();
  if (query) state.set("filter", query);
  if (sort.key !== FIRST_SORT.key || !sort.descending) {
    state.set("sort", `${sort.descending ? "-" : ""}${sort.key}`);
  }
  if (job !== null) state.set("job", job);
  history.replaceState(null, "", `#${state}`);
}

function readAddress(jobs) {
  const state = new URLSearchParams(location.hash.slice(1));
  const sort = state.get("sort") ?? "";
  const key = sort.replace(/^-/, "");
  return {
    query: state.get("filter") ?? "",
    sort: jobs.fieldByKey.has(key) ? { key, descending: sort.startsWith("-") } : FIRST_SORT,
    row: jobs.values("name").indexOf(state.get("job")),
  };
}

async function start() {
  const app = { query: "", sort: FIRST_SORT, rows: [], row: null, shown: null };
  startTheme(() => app.shown?.view.restyle());
  const overview = await readOverview();
  const jobs = indexJobs(overview);
  const shownFields = () => jobs.fields.filter((field) => field.shown);

  const setQuery = (text) => { byId("filter").value = text; applyFilter(); };
  const charts = CHARTS
    .filter(({ key }) => jobs.values(key)?.some((value) => value !== null))
    .map((chart) => makeHistogram(chart, jobs, setQuery));
  byId("overview").append(...present([tallyCard(overview, setQuery),
    ...charts.map((chart) => chart.node), causesCard(overview, setQuery), deviceCard(overview.devices)]));

  const showRows = () => {
    app.rows = sortRows(app.rows, app.sort.key, app.sort.descending, jobs);
    table.show(app.rows, shownFields(), app.sort);
  };
  const applyFilter = () => {
    app.query = byId("filter").value;
    const { test, error } = compileQuery(app.query, jobs);
    byId("filter").setAttribute("aria-invalid", String(Boolean(error)));
    byId("matches").classList.toggle("wrong", Boolean(error));
    if (error) { byId("matches").textContent = error; return; }
    app.rows = jobs.order.filter(test);
    byId("matches").textContent = app.rows.length === jobs.order.length
      ? `${formatNumber(app.rows.length)} ${app.rows.length === 1 ? "job" : "jobs"}`
      : `${formatNumber(app.rows.length)} of ${formatNumber(jobs.order.length)} jobs`;
    charts.forEach((chart) => chart.update(app.rows));
    table.toTop();
    showRows();
    keepAddress();
  };
  const select = async (row) => {
    app.row = row;
    table.select(row);
    keepAddress();
    const isCurrent = () => app.row === row;
    await showDetail(jobs, row, overview, isCurrent, (shown) => {
      app.shown = shown;
      document.documentElement.dataset.shown = jobs.values("name")[row];
    });
  };
  const keepAddress = () => writeAddress(
    app.query, app.sort, app.row === null ? null : jobs.values("name")[app.row]);
  const table = makeTable(jobs, {
    onSelect: select,
    onSort(field) {
      const first = field.kind === "number";
      app.sort = { key: field.key, descending: app.sort.key === field.key
        ? !app.sort.descending : first };
      showRows();
      keepAddress();
    },
  });

  makeScreen(overview.screens, (row) => {
    if (row === null) return;
    select(row);
    byId("detail").scrollIntoView({ behavior: "smooth", block: "start" });
  });
  startColumnMenu(jobs.fields, showRows);
  byId("filter").addEventListener("input", applyFilter);
  byId("download").addEventListener("click", () => saveCsv(jobs, app.rows, jobs.fields));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") app.shown?.link.choose(null);
  });

  const followAddress = () => {
    const { query, sort, row } = readAddress(jobs);
    app.sort = sort;
    setQuery(query);
    return row >= 0 ? row : app.rows[0];
  };
  const first = followAddress();
  window.addEventListener("hashchange", () => {
    const row = followAddress();
    if (row !== undefined) select(row);
  });
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
  // The table is drawn before the first structure, which takes longer.
  requestAnimationFrame(() => setTimeout(() => {
    if (first !== undefined && app.row === null) select(first);
  }));
}

start().catch((error) => {
  byId("fault").hidden = false;
  byId("fault").textContent = `This report could not be shown: ${error.message}`;
  throw error;
});
