from datetime import date
from pathlib import Path

import pytest

from af3_core.msa import Msa, parse_a3m
from tests.workflow.searching.search_examples import DATABASES, VILLIN
from workflow.databases.files import make_structures
from workflow.databases.shards import shard_database
from workflow.databases.template_store import pack_structures
from workflow.searching.search_keys import TemplateDatabases, TemplateQuery
from workflow.searching.template_search import read_templates, search_templates
from workflow.store.entries import Store

FROM_FOLDER = TemplateDatabases(DATABASES["pdb_seqres"], DATABASES["pdb_mmcif"])
LATE = date(2021, 9, 30)
QUERY = TemplateQuery(VILLIN, Msa(("query",), (VILLIN,)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def find(
    query: TemplateQuery,
    store: Store,
    databases: TemplateDatabases = FROM_FOLDER,
    *,
    max_date: date = LATE,
) -> list[str]:
    """First lines of the templates found."""
    search_templates({"q": query}, databases, store, max_date=max_date)
    found = read_templates(query, databases, store, max_date=max_date)
    return [template.mmcif.split("\n")[0] for template in found]


def test_a_template_is_found_without_an_alignment(store: Store) -> None:
    assert find(QUERY, store) == ["data_1VII"]


def test_a_template_released_later_is_not_used(store: Store) -> None:
    assert find(QUERY, store, max_date=date(1995, 12, 31)) == []
    assert find(QUERY, store, max_date=date(1996, 1, 1)) == ["data_1VII"]


def test_packed_structures_and_shards_give_the_same(
    store: Store, tmp_path: Path
) -> None:
    target = tmp_path / "pdb.templates"
    pack_structures(DATABASES["pdb_mmcif"].path, target)
    sequences = shard_database(DATABASES["pdb_seqres"], tmp_path / "shards", 5)
    databases = TemplateDatabases(sequences, make_structures(target))
    expected = find(QUERY, store)
    assert find(QUERY, Store(tmp_path / "other"), databases) == expected


def test_what_was_found_is_not_searched_again(store: Store, tmp_path: Path) -> None:
    find(QUERY, store)
    gone = shard_database(DATABASES["pdb_seqres"], tmp_path / "shards", 2)
    gone.shards[0].path.unlink()
    databases = TemplateDatabases(gone, DATABASES["pdb_mmcif"])
    assert find(QUERY, store, databases) == ["data_1VII"]


def test_another_alignment_is_another_search(store: Store) -> None:
    find(QUERY, store)
    aligned = parse_a3m(f">query\n{VILLIN}\n>a\n{VILLIN[:-5]}-----\n")
    with pytest.raises(LookupError, match="run the search again"):
        read_templates(
            TemplateQuery(VILLIN, aligned), FROM_FOLDER, store, max_date=LATE
        )
