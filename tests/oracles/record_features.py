"""Records what AlphaFold 3 v3.0.4 feeds its model, for `tests/data/features`.

    python tests/oracles/record_features.py tests/data/features/*.json

To be run where `alphafold3` 3.0.4, biotite 2.0.0 and RDKit 2025.9.4 are installed.
Chemical components come from biotite, as Foldmill's do. Alignments and templates are
left out: these cases are about chemistry. (For the files in the repository, AlphaFold
3's compiled helpers for strings and CIF were replaced by Python ones that do the same.)
"""

import datetime
import json
import pickle
import re
import sys
from pathlib import Path

import numpy as np
from alphafold3.common import folding_input, resources
from alphafold3.model import features
from alphafold3.model.pipeline import pipeline
from biotite.structure.info.ccd import get_ccd

MASKED = {1: ".", 2: "?"}
GATHERS = {
    "polymer_ligand_bonds": "tokens_to_polymer_ligand_bonds",
    "ligand_ligand_bonds": "tokens_to_ligand_ligand_bonds",
    "pseudo_beta": "token_atoms_to_pseudo_beta",
}
PER_TOKEN = """
    aatype residue_index asym_id entity_id sym_id is_protein is_rna is_dna is_ligand
    ref_pos ref_mask ref_element ref_charge ref_atom_name_chars ref_space_uid
    pred_dense_atom_mask residue_center_index frames_mask
""".split()


def column_texts(category: str, name: str) -> list[str]:
    """A column of the dictionary as the text of its mmCIF file."""
    column = get_ccd()[category][name]
    digits = ".3f" if "Cartn" in name or name == "formula_weight" else ""
    texts = [format(value, digits) for value in column.data.array.tolist()]
    if column.mask is not None:
        for row in np.flatnonzero(column.mask.array):
            texts[row] = MASKED[int(column.mask.array[row])]
    return texts


def write_components() -> None:
    """Puts biotite's dictionary in the place of AlphaFold 3's own."""
    ccd: dict[str, dict[str, list[str]]] = {}
    for category, key in (
        ("chem_comp", "id"),
        ("chem_comp_atom", "comp_id"),
        ("chem_comp_bond", "comp_id"),
    ):
        codes = column_texts(category, key)
        for name in get_ccd()[category]:
            for code, text in zip(codes, column_texts(category, name), strict=True):
                entry = ccd.setdefault(code, {})
                entry.setdefault(f"_{category}.{name}", []).append(text)
    sugars = [
        code
        for code, entry in ccd.items()
        if re.search(r"\bsaccharide\b", entry["_chem_comp.type"][0].lower())
        and code != "UNX"
    ]
    sets = {"glycans_linking": frozenset(sugars), "glycans_other": frozenset()}
    folder = Path(resources.ROOT) / "constants/converters"
    (folder / "ccd.pickle").write_bytes(pickle.dumps(ccd))
    (folder / "chemical_component_sets.pickle").write_bytes(
        pickle.dumps(sets | {"ions": frozenset()})
    )


def record(path: Path) -> None:
    """Writes the unpadded arrays of one job beside it."""
    job = folding_input.Input.from_json(path.read_text()).fill_missing_fields()
    config = pipeline.WholePdbPipeline.Config(
        buckets=[128, 256, 512], ref_max_modified_date=datetime.date(2021, 9, 30)
    )
    seed = job.rng_seeds[0]
    batch = pipeline.WholePdbPipeline(config=config).process_item(
        fold_input=job,
        ccd=pipeline.chemical_components.Ccd(user_ccd=job.user_ccd),
        random_state=np.random.RandomState(seed),
        random_seed=seed,
    )
    num_tokens = int(batch["seq_mask"].sum())
    arrays = {name: batch[name][:num_tokens] for name in PER_TOKEN}
    for ours, theirs in GATHERS.items():
        mask = batch[f"{theirs}:gather_mask"]
        index = batch[f"{theirs}:gather_idxs"].astype(np.int32)
        arrays[ours] = index[mask.reshape(len(mask), -1).all(axis=1)]
    layout = batch["flat_output_layout"].item()
    atoms = zip(
        layout.chain_id, layout.res_id, layout.res_name, layout.atom_name, strict=True
    )
    arrays["atoms"] = np.array([f"{c} {i} {r} {a}" for c, i, r, a in atoms])
    np.savez_compressed(path.with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    write_components()
    empty = np.zeros(1)
    features.MSA.compute_features = lambda **_: features.MSA(*[empty] * 6)
    features.Templates.compute_features = lambda **_: features.Templates(*[empty] * 3)
    for argument in sys.argv[1:]:
        job = json.loads(Path(argument).read_text())
        print(argument, job["name"])
        record(Path(argument))
