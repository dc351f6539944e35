// The panel of the selected job.

function keyFigures(jobs, valueOf) {
  const shown = ["num_tokens", "ranking_score", "iptm", "ptm", "mean_plddt", "clashes",
    "relax_status"];
  const fields = shown.map((key) => jobs.fieldByKey.get(key)).filter(Boolean);
  return make("dl", { class: "figures" }, ...fields.map((field) => make("div", {},
    make("dt", { title: field.doc }, field.label),
    make("dd", {}, formatValue(valueOf(field.key), field)))));
}

// `score` is the row of the sample that is shown; without one, the job's best counts.
function headCard(jobs, row, score = null, numSamples = 0) {
  const status = jobs.values("status")[row];
  const folder = jobs.values("folders")[row];
  const address = folder && folder.split("/").map(encodeURIComponent).join("/");
  const which = numSamples > 1 && `seed ${score.seed}, sample ${score.sample}: `
    + `rank ${score.rank} of ${numSamples}`;
  return make("section", { class: "card" },
    make("div", { class: "detail-head" },
      make("h2", { id: "job-name" }, jobs.values("name")[row]),
      make("span", { class: `state ${status}` }, status),
      make("span", { class: "hint" }, `from ${jobs.values("source")[row]}`),
      which && make("span", { class: "hint", id: "sample-name" }, which),
      folder && make("a", { href: address, class: "hint" }, "mmCIF and JSON files")),
    keyFigures(jobs, (key) => (score ? score[key] : jobs.values(key)[row])));
}

function choice(label, options, onPick, chosen = options[0][0]) {
  const buttons = options.map(([key, text]) => make("button", {
    type: "button", "data-choice": key, "aria-pressed": "false",
    onclick: () => { press(key); onPick(key); } }, text));
  const press = (key) => buttons.forEach((button) =>
    button.setAttribute("aria-pressed", String(button.dataset.choice === key)));
  press(chosen);
  return make("span", { class: "choice", role: "group", "aria-label": label }, ...buttons);
}

function structureCard(detail, link, view) {
  const legend = make("div", { class: "legend" });
  const runs = chainRuns(detail.tokens);
  let mode = "plddt";
  const legends = {
    plddt: () => PLDDT_BANDS.map((band) => swatch(band.colour, band.label)),
    chain: () => runs.map((run, index) =>
      swatch(chainColour(index), `chain ${run.chain}`, () => link.choose({
        scored: [run.first, run.last], aligned: [run.first, run.last] }))),
    region: () => [swatch("var(--scored)", "scored"), swatch("var(--aligned)", "aligned on"),
      swatch("var(--outside)", "outside the region")],
  };
  const showLegend = () =>
    legend.replaceChildren(...legends[link.state.region ? "region" : mode]());
  showLegend();
  link.subscribe((_, what) => { if (what === "region") showLegend(); });
  const colour = choice("Colour", [["plddt", "pLDDT"], ["chain", "Chain"]], (picked) => {
    mode = picked;
    view.current.colour = mode;
    view.current.restyle();
    showLegend();
  });
  const form = choice("Form", [["cartoon", "Cartoon"], ["atoms", "Atoms"]], (kind) => {
    view.current.form = kind;
    view.current.restyle();
  }, firstForm(detail));
  const state = detail.relaxed_positions && choice("Positions",
    [["predicted", "Predicted"], ["relaxed", "Relaxed"]], (picked) => {
      view.current.state = picked;
      view.current.reload();
    });
  const home = make("button", {
    type: "button", class: "quiet corner", onclick: () => view.current.home() }, "Reset");
  return make("section", { class: "card" },
    make("div", { class: "card-head" }, make("h3", {}, "Structure"), colour,
      savePicture(view)),
    make("div", { class: "viewer-frame" },
      ...present([borrowStage().host, state, form, home])),
    legend, ...present([overlaySwitch(detail, view)]),
    atomReadout(detail.tokens, link));
}

function overlaySwitch({ overlay }, view) {
  if (!overlay) return null;
  const box = make("input", { type: "checkbox", id: "reference", checked: true,
    onchange: () => { view.current.overlay = box.checked; view.current.restyle(); } });
  const label = make("label", { class: "band", for: "reference" }, box,
    ` Reference ${overlay.label}, superposed`);
  label.style.setProperty("--band", "var(--reference)");
  return make("p", { class: "legend" }, label);
}

function savePicture(view) {
  return make("button", { type: "button", class: "quiet", id: "save-picture",
    onclick: () => make("a", {
      href: view.current.picture(), download: "structure.png" }).click() }, "Save PNG");
}

function atomReadout(tokens, link) {
  const readout = make("p", { class: "readout", role: "status" });
  const rest = "Point at a residue; drag to turn, scroll to zoom.";
  readout.textContent = rest;
  link.subscribe(({ hover }) => {
    const token = hover?.scored;
    readout.textContent = token === undefined ? rest
      : `${tokenLabel(tokens, token)}, pLDDT ${formatNumber(tokens.plddt[token], 1)}`;
  });
  return readout;
}

function swatch(colour, label, onPick = null) {
  const mark = onPick
    ? make("button", { type: "button", class: "band", onclick: onPick }, label)
    : make("span", { class: "band" }, label);
  mark.style.setProperty("--band", colour);
  return mark;
}

function paeCard(detail, link) {
  const { node, readout } = makePae(detail, link);
  const ramp = make("span", { class: "ramp" });
  ramp.style.background = paeRamp();
  const clear = make("button", {
    type: "button", class: "quiet", id: "clear-region", disabled: true,
    onclick: () => link.choose(null) }, "Clear");
  link.subscribe(({ region }) => { clear.disabled = !region; });
  return make("section", { class: "card" },
    make("div", { class: "card-head" },
      make("h3", {}, "Predicted aligned error"), clear),
    node,
    make("div", { class: "legend" }, "0 Å", ramp, "30 Å"),
    readout, worstStretches(detail, link));
}

// Where parts of one chain are placed worst against each other; a click shows one.
function worstStretches({ tokens, pae }, link) {
  const worst = uncertainStretches(tokens, pae).slice(0, 3);
  if (worst.length === 0) return make("span");
  return make("p", { class: "legend", id: "worst" }, "Least certain:",
    ...worst.map(({ region, mean }) => make("button", {
      type: "button", onclick: () => link.choose(region) },
    `${rangeLabel(tokens, region.scored)} (${formatNumber(mean, 1)} Å)`)));
}

function traceCard(title, { node, readout }) {
  return make("section", { class: "card" },
    make("div", { class: "card-head" }, make("h3", {}, title), readout), node);
}

function interfaceCard(detail, overview, link) {
  if (detail.interfaces.length === 0) return null;
  const runs = new Map(chainRuns(detail.tokens).map((run) => [run.chain, run]));
  const pick = (row) => {
    const [aligned, scored] = [runs.get(row.chain_1), runs.get(row.chain_2)];
    if (aligned && scored) link.choose({
      scored: [scored.first, scored.last], aligned: [aligned.first, aligned.last] });
  };
  const card_ = card("Interfaces", factTable(
    detail.interfaces, overview.labels.interfaces, { pick }));
  card_.id = "interfaces";
  return card_;
}

// The job's samples; those whose data are inside can be shown instead.
function sampleCard(detail, jobId, overview, pick) {
  const hidden = ["job_id", "name", "num_tokens", "num_chains"];
  const isPicked = ({ seed, sample }) =>
    seed === detail.seed && sample === detail.sample;
  const canPick = (row) => row.rank === 1 || hasData(sampleKey(jobId, row));
  const made = card("Samples", factTable(detail.scores,
    overview.labels.scores.filter(({ key }) => !hidden.includes(key)),
    { pick, canPick, isPicked }));
  made.id = "samples";
  return made;
}

// Shows a job; `isCurrent` says whether the user has moved on while data was unpacked,
// `onShown` is told what is on the page.
async function showDetail(jobs, row, overview, isCurrent, onShown) {
  const panel = byId("detail");
  if (!jobs.values("detailed")[row]) {
    panel.replaceChildren(headCard(jobs, row), ...present(
      [failureCard(overview.failures[row]),
        absentCard(jobs, row, overview.unreadable[row])]));
    onShown(null);
    return;
  }
  const jobId = jobs.values("job_id")[row];
  const best = await readDetail(jobId);
  const show = (detail) => onShown(
    fillPanel(panel, detail, jobs, row, overview, showSample));
  const showSample = async (score) => {
    const detail = score.rank === 1
      ? best : await readSample(best, sampleKey(jobId, score));
    if (isCurrent()) show(detail);
  };
  if (isCurrent()) show(best);
}

function fillPanel(panel, detail, jobs, row, overview, showSample) {
  const link = makeLink();
  const view = { current: null };
  const { tokens } = detail;
  const width = Math.max(480, panel.clientWidth - 30);
  const score = detail.scores.find(({ seed, sample }) =>
    seed === detail.seed && sample === detail.sample);
  panel.replaceChildren(headCard(jobs, row, score, detail.scores.length), ...present([
    failureCard(overview.failures[row]),
    make("div", { class: "pair" }, structureCard(detail, link, view),
      paeCard(detail, link)),
    traceCard("pLDDT along the sequence", plddtTrace(tokens, link, width)),
    traceCard("MSA depth", depthTrace(detail.msa_depth, tokens, link, width)),
    interfaceCard(detail, overview, link),
    sampleCard(detail, jobs.values("job_id")[row], overview, showSample),
    relaxCard(detail.relaxed, overview.labels.relaxed),
    chainCard(detail),
    card("Provenance", factList(flatten(detail.provenance))),
  ]));
  view.current = showStructure(detail, link);
  return { detail, link, view: view.current };
}

const present = (nodes) => nodes.filter(Boolean);

function absentCard(jobs, row, fault) {
  if (fault) {
    return card("Structure", make("p", {}, "The files of this job could not be read:"),
      make("pre", {}, fault));
  }
  if (jobs.values("job_id")[row] === null || jobs.values("ranking_score")[row] === null) {
    return card("Structure", make("p", { class: "hint" }, "Nothing was predicted."));
  }
  const command = "python -m workflow.report --jobs "
    + `${jobs.values("job_id")[row]} --out ${jobs.values("job_id")[row]}.html`;
  return card("Structure",
    make("p", {}, "To keep this page small, structure, PAE and traces are inside for the "
      + "best-scoring jobs only. This writes them for this job:"),
    make("pre", {}, make("code", {}, command)));
}
