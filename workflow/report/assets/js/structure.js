// The 3D view. 3Dmol reads mmCIF, which is written here from the job's columns with
// names reduced to harmless characters; what the user sees of names is our own text.

const harmless = (name) => name.replace(/[^A-Za-z0-9'*+-]/g, "_") || "_";

const placeOf = (positions, at) => positions.slice(3 * at, 3 * at + 3);
const isPlaced = (positions, at) => !placeOf(positions, at).includes(null);

function writeMmcif(rows) {
  const lines = [
    "data_job", "loop_", "_atom_site.group_PDB", "_atom_site.id",
    "_atom_site.type_symbol", "_atom_site.label_atom_id", "_atom_site.label_alt_id",
    "_atom_site.label_comp_id", "_atom_site.label_asym_id", "_atom_site.label_seq_id",
    "_atom_site.pdbx_PDB_ins_code", "_atom_site.Cartn_x", "_atom_site.Cartn_y",
    "_atom_site.Cartn_z", "_atom_site.occupancy", "_atom_site.B_iso_or_equiv",
    "_atom_site.auth_seq_id", "_atom_site.auth_asym_id",
    "_atom_site.pdbx_PDB_model_num",
  ];
  for (const row of rows) {
    lines.push([
      row.kind === "ligand" ? "HETATM" : "ATOM", row.at + 1,
      harmless(row.element), `"${harmless(row.name)}"`, ".", harmless(row.component),
      row.chain, row.residue, "?", ...row.place.map((step) => (step / 100).toFixed(2)),
      "1.00", row.plddt ?? 0, row.residue, row.chain, 1,
    ].join(" "));
  }
  return `${lines.join("\n")}\n`;
}

function predictedRows({ atoms, tokens }, positions) {
  const chains = new Map(chainRuns(tokens).map((run, index) => [run.chain, `c${index}`]));
  return atoms.token.flatMap((token, at) => (isPlaced(positions, at) ? [{
    at, kind: tokens.kind[token], element: atoms.element[at], name: atoms.name[at],
    component: tokens.name[token], chain: chains.get(tokens.chain[token]),
    residue: tokens.residue[token], place: placeOf(positions, at), plddt: atoms.plddt[at],
  }] : []));
}

// The structure as a file of its own: coordinates to 0.01 Å, pLDDT as B factors, chains
// by their ids.
function exportMmcif(detail, state, name, terms) {
  const positions = state === "relaxed" ? detail.relaxed_positions : detail.positions;
  const rows = predictedRows(detail, positions).map((row) => ({
    ...row, chain: harmless(detail.tokens.chain[detail.atoms.token[row.at]]) }));
  const said = [`${name}, seed ${detail.seed}, sample ${detail.sample}, ${state};`
    + " coordinates to 0.01 Å, pLDDT as B factors", ...terms];
  const comments = said.map((line) => `# ${line.replace(/\s+/g, " ").trim()}`);
  return `${comments.join("\n")}\n${writeMmcif(rows)}`;
}

function overlayRows(overlay) {
  const chains = new Map([...new Set(overlay.chain)].map((id, index) => [id, `r${index}`]));
  return overlay.name.flatMap((name, at) => (isPlaced(overlay.positions, at) ? [{
    at, kind: overlay.kind[at], element: overlay.element[at], name,
    component: overlay.residue_name[at], chain: chains.get(overlay.chain[at]),
    residue: overlay.residue[at], place: placeOf(overlay.positions, at),
  }] : []));
}

// One viewer serves the whole page: browsers allow only a few WebGL contexts.
const stage = { host: null, viewer: null, fault: "" };

function borrowStage() {
  if (stage.host) return stage;
  stage.host = make("div", { class: "stage viewer", id: "viewer" });
  return stage;
}

function startViewer() {
  if (stage.viewer || stage.fault) return;
  const probe = document.createElement("canvas");
  if (!probe.getContext("webgl2") && !probe.getContext("webgl")) {
    stage.fault = "This browser offers no WebGL, so the structure cannot be drawn.";
  } else {
    stage.viewer = $3Dmol.createViewer(stage.host, {});
  }
  if (!stage.viewer) stage.host.replaceChildren(make("p", { class: "hint" },
    stage.fault ||= "The 3D view could not start."));
}

// Draws a job and returns what its buttons change: `colour` (plddt or chain), `form`
// (cartoon or atoms), `state` (predicted or relaxed) and `overlay` (true where the
// reference is shown), each followed by its method.
function showStructure(detail, link) {
  startViewer();
  const { viewer } = stage;
  const { atoms, tokens } = detail;
  const view = { colour: "plddt", form: firstForm(detail), state: "predicted",
    overlay: Boolean(detail.overlay), reload() {}, restyle() {}, home() {}, fit() {},
    picture: () => viewer?.pngURI() };
  if (!viewer) return view;

  const colourOf = tokenColours(tokens, link, view);
  const isSplit = splitResidues(tokens);
  let drawn = [], model = null, reference = null, swelling = 1;
  const tokenOf = (atom) => atoms.token[drawn[atom.serial]];
  view.reload = () => {
    const positions = view.state === "relaxed"
      ? detail.relaxed_positions : detail.positions;
    const rows = predictedRows(detail, positions);
    drawn = rows.map(({ at }) => at);
    swelling = swellingOf(rows, firstForm(detail) === "atoms");
    viewer.removeAllModels();
    viewer.removeAllShapes();
    model = viewer.addModel(writeMmcif(rows), "cif");
    reference = detail.overlay
      && viewer.addModel(writeMmcif(overlayRows(detail.overlay)), "cif");
    viewer.setHoverDuration(40);
    viewer.setHoverable({ model }, true,
      (atom) => {
        // The viewer answers late, when the pointer may have left.
        if (atom?.serial in drawn && stage.host.matches(":hover")) {
          link.point({ scored: tokenOf(atom) });
        }
      },
      () => link.point(null));
    view.restyle();
  };
  view.restyle = () => {
    const colorfunc = (atom) => colourOf(tokenOf(atom));
    const balls = { stick: { radius: 0.2 * swelling, colorfunc },
      sphere: { radius: 0.45 * swelling, colorfunc } };
    const splitAtoms = drawn.flatMap((at, serial) => (isSplit[atoms.token[at]] ? serial : []));
    viewer.setBackgroundColor(cssColour("--sunken"));
    viewer.setStyle({ model }, view.form === "cartoon"
      ? { cartoon: { colorfunc, thickness: 0.4 } } : balls);
    viewer.setStyle({ model, hetflag: true }, balls);
    viewer.setStyle({ model, serial: splitAtoms }, balls);
    if (reference) styleReference(viewer, reference, view.overlay);
    viewer.render();
    stage.host.dataset.drawn = describeView(view, link);
  };
  markHoveredTokens(viewer, link, tokenCentres(detail));
  stage.host.onpointerleave = () => link.point(null);
  link.subscribe((_, what) => { if (what === "region") view.restyle(); });
  view.reload();
  viewer.setView([0, 0, 0, 0, 0, 0, 0, 1]);
  viewer.zoomTo({ model });
  const first = viewer.getView();
  view.home = () => viewer.setView(first);
  view.fit = () => { viewer.resize(); viewer.render(); };
  viewer.render();
  return view;
}

// How much larger atoms are drawn where they lie so far apart (untrained weights can do
// that, or a chain that falls to pieces) that one could not see them.
function swellingOf(rows, isInPieces) {
  const across = [0, 1, 2].map((axis) => {
    const values = rows.map(({ place }) => place[axis] / 100);
    return values.reduce((a, b) => Math.max(a, b), -Infinity)
      - values.reduce((a, b) => Math.min(a, b), Infinity);
  });
  const extent = Math.max(...across);
  return isInPieces || extent > 1000 ? Math.max(1, extent / 45) : 1;
}

// The reference as a thin grey trace, its ligands as thin sticks.
function styleReference(viewer, model, isShown) {
  const color = cssColour("--reference");
  viewer.setStyle({ model }, isShown ? { cartoon: { style: "trace", color } } : {});
  viewer.setStyle({ model, hetflag: true }, isShown ? { stick: { radius: 0.1, color } } : {});
}

// What the canvas shows, for whoever has to wait until it does.
function describeView(view, link) {
  return [view.state, view.form, link.state.region ? "region" : view.colour,
    ...(view.overlay ? ["reference"] : [])].join(" ");
}

// The colour of a token: by region while one is chosen, else by pLDDT or chain.
function tokenColours(tokens, link, view) {
  const chainOfToken = [];
  chainRuns(tokens).forEach(({ first, last }, index) => {
    for (let token = first; token <= last; token += 1) chainOfToken[token] = index;
  });
  const isIn = (token, [first, last]) => token >= first && token <= last;
  return (token) => {
    const { region } = link.state;
    if (region && isIn(token, region.scored)) return cssColour("--scored");
    if (region && isIn(token, region.aligned)) return cssColour("--aligned");
    if (region) return cssColour("--outside");
    return view.colour === "plddt"
      ? plddtColour(tokens.plddt[token]) : chainColour(chainOfToken[token]);
  };
}

// True for tokens of a polymer that are single atoms: modified residues.
function splitResidues(tokens) {
  const same = (a, b) => tokens.chain[a] === tokens.chain[b]
    && tokens.residue[a] === tokens.residue[b];
  return tokens.chain.map((_, at) =>
    tokens.kind[at] !== "ligand" && (same(at, at - 1) || same(at, at + 1)));
}

// A cartoon needs a backbone that holds together; atoms can always be drawn.
const MAX_BACKBONE_STEP = { protein: 5, rna: 9, dna: 9 }; // Å
const BACKBONE_ATOM = { protein: "CA", rna: "C1'", dna: "C1'" };

function firstForm({ atoms, tokens, positions }) {
  let steps = 0, breaks = 0, before = null;
  atoms.token.forEach((token, at) => {
    const kind = tokens.kind[token];
    if (atoms.name[at] !== BACKBONE_ATOM[kind]) return;
    const here = placeOf(positions, at);
    if (before && before.chain === tokens.chain[token]) {
      const step = Math.hypot(...here.map((value, axis) => value - before.here[axis])) / 100;
      steps += 1;
      breaks += step > MAX_BACKBONE_STEP[kind] ? 1 : 0;
    }
    before = { chain: tokens.chain[token], here };
  });
  return breaks > 0.3 * steps ? "atoms" : "cartoon";
}

const cssColour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function markHoveredTokens(viewer, link, centres) {
  let marks = [];
  link.subscribe(({ hover }, what) => {
    if (what !== "hover") return;
    marks.forEach((mark) => viewer.removeShape(mark));
    marks = [];
    for (const [role, colour] of [["scored", "--scored"], ["aligned", "--aligned"]]) {
      const centre = centres[hover?.[role]];
      if (centre) marks.push(viewer.addSphere({
        center: centre, radius: 1.5, color: cssColour(colour) }));
    }
    viewer.render();
  });
}

function tokenCentres({ atoms, tokens, positions }) {
  const sums = tokens.chain.map(() => ({ x: 0, y: 0, z: 0, n: 0 }));
  atoms.token.forEach((token, at) => {
    if (!isPlaced(positions, at)) return;
    const [x, y, z] = placeOf(positions, at);
    const sum = sums[token];
    sum.x += x; sum.y += y; sum.z += z; sum.n += 100;
  });
  return sums.map(({ x, y, z, n }) => (n ? { x: x / n, y: y / n, z: z / n } : null));
}
