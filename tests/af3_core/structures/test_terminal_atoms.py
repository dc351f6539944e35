import functools

import numpy as np

from af3_core.chemistry.dictionary import Components
from af3_core.features.featurise import featurise
from af3_core.features.values import Features
from af3_core.job import Job, Polymer
from af3_core.structures.terminal_atoms import find_terminal_atoms


@functools.cache
def features() -> Features:
    peptide = Polymer(
        "protein", ("A",), "GA", unpaired_msa="", paired_msa="", templates=()
    )
    dna = Polymer("dna", ("B",), "AT")
    return featurise(Job("ends", (1,), (peptide, dna)), Components.load())


def ideal_positions() -> np.ndarray:
    """Every residue as the dictionary has it, of itself."""
    components, atoms = Components.load(), features().atoms

    def ideal(code: str, name: str) -> np.ndarray:
        component = components[code]
        return component.ideal_positions[component.atom_names.index(name)]

    named = zip(atoms.residue_name, atoms.atom_name, strict=True)
    return np.array([ideal(code, name) for code, name in named])


def test_the_ends_of_chains_are_found() -> None:
    found = find_terminal_atoms(features())
    names = [features().atoms.atom_name[i] for i in found.atoms]
    assert names == ["OXT", "OP3"]
    bound = [features().atoms.atom_name[i] for i in found.bound_to]
    assert bound == ["C", "P"]


def test_built_atoms_are_where_chemistry_has_them() -> None:
    true, terminal = ideal_positions(), find_terminal_atoms(features())
    lost = true.copy()
    lost[terminal.atoms] = 0.0
    built = terminal.build(lost)
    off = np.linalg.norm(built - true, axis=-1)
    assert off[terminal.atoms].max() < 0.25  # Å
    assert not np.delete(off, terminal.atoms).any()


def test_atoms_that_coincide_still_have_a_place() -> None:
    terminal = find_terminal_atoms(features())
    built = terminal.build(np.zeros((len(features().atoms.atom_name), 3)))
    assert np.isfinite(built).all()


def test_a_built_atom_is_as_sure_as_the_one_it_is_bound_to() -> None:
    terminal = find_terminal_atoms(features())
    values = terminal.inherit(np.arange(float(len(features().atoms.atom_name))))
    np.testing.assert_array_equal(values[terminal.atoms], terminal.bound_to)
