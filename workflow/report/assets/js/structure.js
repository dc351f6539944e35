// The 3D view. 3Dmol reads mmCIF, which is written here from the job's columns with
// names reduced to harmless characters; what the user sees of names is our own text.

const harmless = (name) => name.replace(/[^A-Za-z0-9'*+-]/g, "_") || "_";

function writeMmcif({ atoms, tokens }) {
  const chains = new Map(chainRuns(tokens).map((run, index) => [run.chain, index]));
  const lines = [
    "data_job", "loop_", "_atom_site.group_PDB", "_atom_site.id",
    "_atom_site.type_symbol", "_atom_site.label_atom_id", "_atom_site.label_comp_id",
    "_atom_site.label_asym_id", "_atom_site.label_seq_id", "_atom_site.Cartn_x",
    "_atom_site.Cartn_y", "_atom_site.Cartn_z", "_atom_site.B_iso_or_equiv",
    "_atom_site.auth_seq_id", "_atom_site.auth_asym_id",
  ];
  atoms.token.forEach((token, at) => {
    const xyz = atoms.xyz.slice(3 * at, 3 * at + 3);
    if (xyz.includes(null)) return;
    const chain = `c${chains.get(tokens.chain[token])}`;
    lines.push([
      tokens.kind[token] === "ligand" ? "HETATM" : "ATOM", at + 1,
      harmless(atoms.element[at]), `"${harmless(atoms.name[at])}"`,
      harmless(tokens.name[token]), chain, tokens.residue[token],
      ...xyz.map((step) => (step / 100).toFixed(2)), atoms.plddt[at],
      tokens.residue[token], chain,
    ].join(" "));
  });
  return `${lines.join("\n")}\n`;
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
    stage.viewer = $3Dmol.createViewer(stage.host, { backgroundAlpha: 0 });
  }
  if (!stage.viewer) stage.host.replaceChildren(make("p", { class: "hint" },
    stage.fault ||= "The 3D view could not start."));
}

function showStructure(detail, link) {
  startViewer();
  const { viewer } = stage;
  const { atoms, tokens } = detail;
  const runs = chainRuns(tokens);
  const chainOfToken = new Int32Array(tokens.chain.length);
  runs.forEach((run, index) => chainOfToken.fill(index, run.first, run.last + 1));
  const view = { colour: "plddt", form: firstForm(detail), restyle() {}, home() {} };
  if (!viewer) return view;

  viewer.removeAllModels();
  viewer.removeAllShapes();
  viewer.removeAllLabels();
  const drawn = atoms.token.map((_, at) => at)
    .filter((at) => !atoms.xyz.slice(3 * at, 3 * at + 3).includes(null));
  viewer.addModel(writeMmcif(detail), "cif");
  const isSplit = splitResidues(tokens);
  const splitAtoms = drawn.map((at, serial) => [atoms.token[at], serial])
    .filter(([token]) => isSplit[token]).map(([, serial]) => serial);
  const inRange = (token, range) => range && token >= range[0] && token <= range[1];
  const colourOf = (atom) => {
    const at = drawn[atom.serial];
    const token = atoms.token[at];
    const { region } = link.state;
    if (region) {
      if (inRange(token, region.scored)) return cssColour("--scored");
      if (inRange(token, region.aligned)) return cssColour("--aligned");
      return cssColour("--bar");
    }
    return view.colour === "plddt"
      ? plddtColour(tokens.plddt[token]) : chainColour(chainOfToken[token]);
  };
  view.restyle = () => {
    const colorfunc = colourOf;
    const balls = { stick: { radius: 0.2, colorfunc }, sphere: { radius: 0.45, colorfunc } };
    viewer.setStyle({}, view.form === "cartoon"
      ? { cartoon: { colorfunc, thickness: 0.4 } } : balls);
    viewer.setStyle({ hetflag: true }, balls);
    viewer.setStyle({ serial: splitAtoms }, balls);
    viewer.render();
  };
  view.home = () => { viewer.zoomTo(); viewer.render(); };
  pointAtAtoms(viewer, link, (atom) => atoms.token[drawn[atom.serial]]);
  markHoveredTokens(viewer, link, tokenCentres(atoms, tokens.chain.length));
  link.subscribe((_, what) => { if (what === "region") view.restyle(); });
  view.restyle();
  view.home();
  return view;
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

function firstForm({ atoms, tokens }) {
  let steps = 0, breaks = 0, before = null;
  atoms.token.forEach((token, at) => {
    const kind = tokens.kind[token];
    if (atoms.name[at] !== BACKBONE_ATOM[kind]) return;
    const here = atoms.xyz.slice(3 * at, 3 * at + 3);
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

function pointAtAtoms(viewer, link, tokenOf) {
  viewer.setHoverDuration(40);
  viewer.setHoverable({}, true,
    (atom) => { if (atom?.serial !== undefined) link.point({ scored: tokenOf(atom) }); },
    () => link.point(null));
}

function markHoveredTokens(viewer, link, centres) {
  let marks = [];
  link.subscribe(({ hover }, what) => {
    if (what !== "hover") return;
    marks.forEach((mark) => viewer.removeShape(mark));
    marks = [];
    for (const [role, colour] of [["scored", "--scored"], ["aligned", "--aligned"]]) {
      const centre = centres[hover?.[role]];
      if (centre) marks.push(viewer.addSphere({
        center: centre, radius: 1.6, color: cssColour(colour), opacity: 0.75 }));
    }
    viewer.render();
  });
}

function tokenCentres(atoms, numTokens) {
  const sums = Array.from({ length: numTokens }, () => ({ x: 0, y: 0, z: 0, n: 0 }));
  atoms.token.forEach((token, at) => {
    const [x, y, z] = atoms.xyz.slice(3 * at, 3 * at + 3);
    if (x === null || y === null || z === null) return;
    const sum = sums[token];
    sum.x += x; sum.y += y; sum.z += z; sum.n += 100;
  });
  return sums.map(({ x, y, z, n }) => (n ? { x: x / n, y: y / n, z: z / n } : null));
}
