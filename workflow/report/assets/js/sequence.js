// The letters of every polymer, coloured by pLDDT and linked with the other views.

const LETTERS = {
  ALA: "A", ARG: "R", ASN: "N", ASP: "D", CYS: "C", GLN: "Q", GLU: "E", GLY: "G",
  HIS: "H", ILE: "I", LEU: "L", LYS: "K", MET: "M", PHE: "F", PRO: "P", SER: "S",
  THR: "T", TRP: "W", TYR: "Y", VAL: "V", A: "A", C: "C", G: "G", U: "U",
  DA: "A", DC: "C", DG: "G", DT: "T",
};

function sequenceCard(detail, link) {
  const { tokens } = detail;
  const polymers = chainRuns(tokens).filter(({ kind }) => kind !== "ligand");
  if (polymers.length === 0) return null;
  const letters = new Map();
  const strips = polymers.map((run) => make("div", { class: "strip" },
    make("span", { class: "strip-name" }, run.chain),
    make("span", { class: "strip-letters" }, ...stripLetters(run, tokens, letters))));
  const readout = make("span", { class: "hint", role: "status" });
  const node = make("section", { class: "card", id: "sequence" },
    make("div", { class: "card-head" }, make("h3", {}, "Sequence"), readout), ...strips);
  const tokenAt = ({ target }) => {
    const token = target.dataset?.token;
    return token === undefined ? undefined : Number(token);
  };
  node.addEventListener("pointerover", (event) => {
    const token = tokenAt(event);
    link.point(token === undefined ? null : { scored: token });
  });
  node.addEventListener("pointerleave", () => link.point(null));
  let start = null;
  node.addEventListener("pointerdown", (event) => {
    start = tokenAt(event) ?? null;
    if (start !== null) event.preventDefault();
  });
  node.addEventListener("pointerup", (event) => {
    const end = tokenAt(event);
    if (start !== null && end !== undefined) {
      const range = [Math.min(start, end), Math.max(start, end)];
      link.choose({ scored: range, aligned: range });
    }
    start = null;
  });
  let marked = null;
  link.subscribe(({ hover, region }, what) => {
    if (what === "region") markRegion(letters, region);
    marked?.classList.remove("pointed");
    marked = letters.get(hover?.scored) ?? null;
    marked?.classList.add("pointed");
    readout.textContent = hover?.scored === undefined ? ""
      : `${tokenLabel(tokens, hover.scored)}, pLDDT `
        + formatNumber(tokens.plddt[hover.scored], 1);
  });
  return node;
}

// One letter for every residue; a modified one has a token for each of its atoms.
function stripLetters({ first, last }, tokens, letters) {
  const found = [];
  for (let token = first; token <= last; token += 1) {
    const isNew = token === first || tokens.residue[token] !== tokens.residue[token - 1];
    if (isNew) {
      const letter = make("span", { class: "letter", "data-token": token },
        LETTERS[tokens.name[token]] ?? "x");
      letter.style.setProperty("--band", plddtColour(tokens.plddt[token]));
      if (tokens.residue[token] % 10 === 0) letter.classList.add("tenth");
      found.push(letter);
    }
    letters.set(token, found.at(-1));
  }
  return found;
}

function markRegion(letters, region) {
  for (const role of ["scored", "aligned"]) {
    const [first, last] = region?.[role] ?? [0, -1];
    letters.forEach((letter, token) =>
      letter.classList.toggle(`in-${role}`, token >= first && token <= last));
  }
}
