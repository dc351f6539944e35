"""What was found is put into a job, each alignment built once."""

from pathlib import Path

import pytest

from af3_core.job import Job, Polymer
from af3_core.msa import Msa
from workflow.searching import evidence
from workflow.settings import check_settings


def test_a_chain_s_alignment_is_built_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = check_settings(
        {
            "inputs": ["inputs"],
            "search": {"databases": str(tmp_path), "store": str(tmp_path / "store")},
            "model": {"checkpoint": "none.bin"},
        },
        source="test",
    )
    built: list[str] = []

    def unpaired(query: str, *_: object) -> Msa:
        built.append(query)
        return Msa(("query", "hit"), (query, query.lower()))

    monkeypatch.setattr(evidence, "databases_of", lambda search: ())
    monkeypatch.setattr(evidence, "unpaired_msa", unpaired)
    chain = Polymer("protein", ("A",), "GSHMK", paired_msa="")
    found = evidence.add_evidence(Job("one", (1,), (chain,)), settings)
    (complete,) = found.entities
    assert isinstance(complete, Polymer)
    assert complete.unpaired_msa == ">query\nGSHMK\n>hit\ngshmk\n"
    assert complete.templates == ()
    assert built == ["GSHMK"]
