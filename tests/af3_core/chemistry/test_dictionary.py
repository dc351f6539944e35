import subprocess
import sys

import numpy as np
import pytest

from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.user_components import UserComponentError

USER_CCD = """data_MY-1
_chem_comp.id MY-1
_chem_comp.name 'my own'
_chem_comp.type non-polymer
_chem_comp.formula ?
_chem_comp.mon_nstd_parent_comp_id ?
_chem_comp.pdbx_synonyms ?
_chem_comp.formula_weight ?
loop_
_chem_comp_atom.comp_id
_chem_comp_atom.atom_id
_chem_comp_atom.type_symbol
_chem_comp_atom.charge
_chem_comp_atom.pdbx_model_Cartn_x_ideal
_chem_comp_atom.pdbx_model_Cartn_y_ideal
_chem_comp_atom.pdbx_model_Cartn_z_ideal
MY-1 C1 C 0 0.0 0.0 0.0
MY-1 "O1'" O -1 1.4 0.0 ?
loop_
_chem_comp_bond.atom_id_1
_chem_comp_bond.atom_id_2
_chem_comp_bond.value_order
_chem_comp_bond.pdbx_aromatic_flag
C1 "O1'" SING N
"""


def test_a_user_component_is_read() -> None:
    component = Components.load(USER_CCD)["MY-1"]
    assert component.atom_names == ("C1", "O1'")
    assert component.charges == (0, -1)
    assert np.isnan(component.ideal_positions[1, 2])
    assert component.leaving == ("?", "?")


def test_a_user_component_hides_that_of_the_dictionary() -> None:
    components = Components.load(USER_CCD.replace("data_MY-1", "data_ALA"))
    assert components["ALA"].atom_names == ("C1", "O1'")
    assert components["GLY"].atom_names[:2] == ("N", "CA")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("_chem_comp.formula ?\n", "", "_chem_comp.formula: got 'nothing'"),
        ("MY-1 C1 C 0 ", "MY-1 C1 C one ", "charge: got 'one'"),
        ("1.4 0.0 ?", "1.4(2) 0.0 ?", "Cartn_x_ideal: got '1.4\\(2\\)'"),
        ('MY-1 "O1\'" O', "MY-1 C1 O", "'C1'; allowed: each name once"),
        ("MY-1 C1 C", "MY-1 CARBON C", "'CARBON'; allowed: one to 4"),
        ('C1 "O1\'" SING', "C1 O9 SING", "two different atoms"),
        ("data_MY-1", "", "CIF text"),
    ],
)
def test_a_broken_user_component_is_refused(old, new, complaint) -> None:
    with pytest.raises(UserComponentError, match=complaint):
        Components.load(USER_CCD.replace(old, new))


def test_codes_are_known_or_not() -> None:
    components = Components.load(USER_CCD)
    assert "MY-1" in components and "ATP" in components
    assert "NO-SUCH" not in components
    with pytest.raises(KeyError, match="NO-SUCH"):
        components["NO-SUCH"]


def test_saccharides_are_glycans_even_if_the_user_redefines_them() -> None:
    components = Components.load(USER_CCD.replace("data_MY-1", "data_GLC"))
    assert components.is_glycan("GLC") and components.is_glycan("NAG")
    assert not components.is_glycan("ATP") and not components.is_glycan("MY-1")


def test_deposited_coordinates_are_read_where_ideal_ones_are_incomplete() -> None:
    components = Components.load()
    assert components["ALA"].deposited_positions is None
    assert np.isfinite(components["UNX"].deposited_positions).any()


PLAIN = """
import sys
from af3_core.chemistry.dictionary import Components, _dictionary
from af3_core.features.featurise import count_tokens
from af3_core.job import Job, Polymer
chains = Polymer("protein", ("A",), "MKV"), Polymer("dna", ("B",), "ACGT")
job = Job("x", (1,), chains)
assert count_tokens(job, Components.load()) == 7
assert not _dictionary.cache_info().currsize, "the dictionary was read"
assert "jax" not in sys.modules, "JAX was imported"
"""


def test_counting_plain_polymers_reads_no_dictionary_and_imports_no_jax() -> None:
    subprocess.run([sys.executable, "-c", PLAIN], check=True)
