"""Chains that many jobs share are read once, and features of jobs stay as they are."""

from dataclasses import replace

import numpy as np
import pytest

from af3_core.chemistry import conformers
from af3_core.contracts import FeatureRow
from af3_core.features import msa, templates
from af3_core.features.featurise import embed_references, featurise
from af3_core.features.values import Features
from af3_core.inputs.chemistry import standard_components
from af3_core.job import Job, Modification, Polymer
from af3_core.recent import Recent
from tests.af3_core.features.feature_examples import (
    case,
    ligand,
    protein,
    read_job,
    rna,
)

ROOM = 1 << 30


def chains() -> list[Polymer]:
    """Proteins with alignments, species and templates; a modified one; RNA."""
    found = [
        entity
        for name in ("villin_gb1", "ubiquitin", "trna_crambin")
        for entity in read_job(case(name)).entities
        if isinstance(entity, Polymer)
    ]
    modified = replace(found[0], modifications=(Modification("SEP", 3),))
    return [replace(chain, ids=("A",)) for chain in (*found, modified)]


def test_some_of_them_have_alignments_and_templates() -> None:
    assert sum((chain.unpaired_msa or "").count(">") > 10 for chain in chains()) > 1
    assert sum((chain.paired_msa or "").count(">") > 10 for chain in chains()) > 1
    assert max(len(chain.templates or ()) for chain in chains()) > 1


def pairs() -> list[Job]:
    """The first of them with each other, in both orders; each with a ligand."""
    bait, *preys = chains()
    found = [
        pair
        for prey in preys
        for pair in (
            (bait, replace(prey, ids=("B",))),
            (prey, replace(bait, ids=("B",))),
            (prey, ligand("ATP", ids="B")),
        )
    ]
    return [Job("pair", (1,), pair) for pair in found]


def rows_of(features: Features) -> dict[str, FeatureRow]:
    return {row.array: row for row in features.to_rows()}


def test_features_of_pairs_are_those_of_the_whole_job() -> None:
    recent, components = Recent(ROOM), standard_components()
    for pair in pairs():
        found = featurise(pair, components, recent=recent)
        assert rows_of(found) == rows_of(featurise(pair, components))


def test_conformers_of_pairs_are_those_of_the_whole_job() -> None:
    bait, prey = protein("MGSAWK"), protein("MGTHY", "B", at_3="SEP")
    recent, components = Recent(ROOM), standard_components()
    for entities in ((bait, prey), (bait, ligand("ATP", ids="B")), (prey, rna("GU"))):
        features = featurise(Job("pair", (1,), entities), components)
        for seed in (1, 2, 1):
            found, _ = embed_references(features, components, seed, recent=recent)
            whole, _ = embed_references(features, components, seed)
            np.testing.assert_array_equal(found, whole)


def count_calls(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, calls: list[str]
) -> None:
    """Notes every call of a function and lets it run."""
    function = getattr(module, name)

    def counted(*arguments: object) -> object:
        calls.append(name)
        return function(*arguments)

    monkeypatch.setattr(module, name, counted)


def test_every_chain_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    count_calls(monkeypatch, msa, "_read_alignments", calls)
    count_calls(monkeypatch, templates, "_align_templates", calls)
    bait, *preys = [chain for chain in chains() if chain.kind == "protein"]
    recent, components = Recent(ROOM), standard_components()
    for _ in range(2):
        for prey in preys:
            pair = Job("pair", (1,), (bait, replace(prey, ids=("B",))))
            featurise(pair, components, recent=recent)
    assert calls.count("_read_alignments") == 1 + len(preys)
    templated = {c.templates for c in (bait, *preys) if c.templates}
    assert calls.count("_align_templates") == len(templated) > 0


def test_a_bait_is_embedded_once_for_each_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    count_calls(monkeypatch, conformers, "_embed_molecule", calls)
    recent, components = Recent(ROOM), standard_components()
    for sequence, seed in (("MGSAW", 1), ("MGSAWKT", 1), ("MGSAW", 1), ("MGSAW", 2)):
        features = featurise(Job("one", (1,), (protein(sequence),)), components)
        embed_references(features, components, seed, recent=recent)
    assert len(calls) == 5 + 2 + 0 + 5


def test_what_was_not_used_for_longest_goes_first() -> None:
    recent, made = Recent(10), list[str]()

    def ask(key: str, size: int = 4) -> str:
        def make() -> str:
            made.append(key)
            return key.upper()

        return recent.get(key, make, lambda _: size)

    assert [ask(key) for key in ("a", "b", "a", "c", "a", "b")] == list("ABACAB")
    assert made == ["a", "b", "c", "b"]
    assert ask("large", 11) == ask("large", 11) == "LARGE"
    assert made[-2:] == ["large", "large"]


def test_what_cannot_be_made_is_tried_again() -> None:
    recent = Recent(10)

    def fail() -> str:
        raise ValueError("not now")

    for _ in range(2):
        with pytest.raises(ValueError, match="not now"):
            recent.get("key", fail, len)
    assert recent.get("key", lambda: "made", len) == "made"
