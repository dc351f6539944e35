// The panel of the selected job.

function keyFigures(jobs, valueOf) {
  const shown = ["num_tokens", "ranking_score", "iptm", "ptm", "mean_plddt", "clashes",
    "relax_status"];
  const fields = shown.map((key) => jobs.fieldByKey.get(key)).filter(Boolean);
  return make("dl", { class: "figures" }, ...fields.map((field) => make("div", {},
    make("dt", { title: field.doc }, field.label),
    make("dd", {}, formatValue(valueOf(field.key), field)))));
}

const STATES = {
  done: "All that was asked for is there.",
  partial: "There are scores, and something failed.",
  failed: "There is no result; what failed is named below.",
  waiting: "It has no result yet.",
};

// Words and numbers of the head that need a word of their own.
function explanations(valueOf) {
  const relaxed = valueOf("relax_status");
  return present([
    valueOf("has_clash") && "AlphaFold 3 takes 100 off the ranking score of a structure "
      + "whose chains clash: it is not to be used.",
    relaxed && relaxed !== "relaxed" && `Relaxation: ${RELAX_STATES[relaxed] ?? relaxed}`,
  ]).map((text) => make("p", { class: "hint explained" }, text));
}

// `score` is the row of the sample that is shown; without one, the job's best counts.
function headCard(jobs, row, score = null, numSamples = 0) {
  const status = jobs.values("status")[row];
  const folder = jobs.values("folders")[row];
  const address = folder && folder.split("/").map(encodeURIComponent).join("/");
  const valueOf = (key) => (score ? score[key] : jobs.values(key)?.[row]);
  const which = numSamples > 1 && `seed ${score.seed}, sample ${score.sample}: `
    + `rank ${score.rank} of ${numSamples}`;
  return make("section", { class: "card" },
    make("div", { class: "detail-head" },
      make("h2", { id: "job-name" }, jobs.values("name")[row]),
      make("span", { class: `state ${status}`, title: STATES[status] }, status),
      make("span", { class: "hint" }, `from ${jobs.values("source")[row]}`),
      which && make("span", { class: "hint", id: "sample-name" }, which),
      folder && make("a", { href: address, class: "hint" }, "mmCIF and JSON files")),
    keyFigures(jobs, valueOf), ...explanations(valueOf));
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

function structureCard(detail, link, view, name) {
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
      saveStructure(detail, view, name), savePicture(view)),
    make("div", { class: "viewer-frame" },
      ...present([borrowStage().host, state, form, fullScreen(view), home])),
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
    title: "Save the view as a picture", onclick: () => make("a", {
      href: view.current.picture(), download: "structure.png" }).click() }, "PNG");
}

// What is seen, predicted or relaxed, as mmCIF for other programs.
function saveStructure(detail, view, name) {
  return make("button", { type: "button", class: "quiet", id: "save-structure",
    title: "Save the coordinates, predicted or relaxed, whichever is shown", onclick: () => {
      const terms = [...document.querySelectorAll("#usage p")].map((p) => p.textContent);
      const blob = new Blob([exportMmcif(detail, view.current.state, name, terms)],
        { type: "chemical/x-mmcif" });
      saveAs(blob, `${harmless(name)}_${detail.seed}_${detail.sample}_`
        + `${view.current.state}.cif`);
    } }, "mmCIF");
}

function fullScreen(view) {
  const button = make("button", { type: "button", class: "quiet corner wide",
    onclick: () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else button.parentElement.requestFullscreen().then(() => view.current.fit());
    } }, "Full screen");
  return button;
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
  const pick = (row) => chooseChains(detail.tokens, link, row.chain_1, row.chain_2);
  const made = tableCard(
    "Interfaces", detail.interfaces, overview.labels.interfaces, { pick });
  made.id = "interfaces";
  return made;
}

// The job's samples; those whose data are inside can be shown instead.
function sampleCard(detail, jobId, overview, pick) {
  const hidden = ["job_id", "name", "num_tokens", "num_chains"];
  const isPicked = ({ seed, sample }) =>
    seed === detail.seed && sample === detail.sample;
  const canPick = (row) => row.rank === 1 || hasData(sampleKey(jobId, row));
  const made = tableCard("Samples", detail.scores,
    overview.labels.scores.filter(({ key }) => !hidden.includes(key)),
    { pick, canPick, isPicked });
  made.id = "samples";
  return made;
}

// Shows a job; `isCurrent` says whether the user has moved on while data was unpacked,
// `onShown` is told what is on the page.
async function showDetail(jobs, row, overview, isCurrent, onShown) {
  const panel = byId("detail");
  byId("side").replaceChildren();
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
    make("div", { class: "pair" },
      structureCard(detail, link, view, jobs.values("name")[row]),
      paeCard(detail, link)),
    sequenceCard(detail, link),
    traceCard("pLDDT along the sequence", plddtTrace(tokens, link, width)),
    traceCard("MSA depth", depthTrace(detail.msa_depth, tokens, link, width)),
    relaxCard(detail.relaxed, overview.labels.relaxed),
    foldedCard("Provenance", factList(flatten(detail.provenance))),
  ]));
  // Beside the views: tables, most of which choose what the views show.
  byId("side").replaceChildren(...present([
    sampleCard(detail, jobs.values("job_id")[row], overview, showSample),
    chainPairCard(detail, link),
    interfaceCard(detail, overview, link),
    chainCard(detail),
  ]));
  view.current = showStructure(detail, link);
  return { detail, link, view: view.current };
}

function foldedCard(title, ...children) {
  return make("details", { class: "card folded", id: title.toLowerCase() },
    make("summary", {}, make("h3", {}, title)), ...children);
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
  const command = "foldmill report --jobs "
    + `${jobs.values("job_id")[row]} --out ${jobs.values("job_id")[row]}.html`;
  return card("Structure",
    make("p", {}, "To keep this page small, structure, PAE and traces are inside for the "
      + "best-scoring jobs only. This writes them for this job:"),
    make("pre", {}, make("code", {}, command)));
}
