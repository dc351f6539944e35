"""What the plan on disk was made of, and whether all of it is as it was.

Apart from `workflow.plan`, which reads inputs and imports much: most processes look
only whether they have to be read again.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from af3_core.contracts import CONTRACTS
from af3_core.inputs.listing import find_inputs
from workflow.batches import Plan, batch_id, load_plan
from workflow.campaign import Campaign
from workflow.digests import Files, find_identity
from workflow.settings import Settings, digest_of
from workflow.tables import DamagedFile, read_json, verify, verify_json, write_json

_TABLES = ("jobs", "chains", "screen_chains", "outcomes")
_OBJECTS = ("settings", "forecast", "sources", "plan")


@contextmanager
def uncollected() -> Iterator[None]:
    """Python's collector rests: what a plan is made of lives as long as the plan, and
    would be gone through again and again, for a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def current_plan(campaign: Campaign, settings: Settings) -> Plan:
    """The plan on disk if nothing that it was made of has changed, else a new one.

    Nothing is written.

    Raises:
        InputError: see `make_plan`.
    """
    written = load_plan(campaign)
    if written is not None and _is_current(campaign, settings, written):
        return written
    from workflow.plan import make_plan

    return make_plan(campaign, settings, written).plan


def _is_current(campaign: Campaign, settings: Settings, plan: Plan) -> bool:
    try:
        sources = read_json(_sources_path(campaign))
    except (FileNotFoundError, DamagedFile):
        return False
    return (
        plan.settings == settings_digest(settings)
        and sources["plan"] == plan.id
        and sources["inputs"] == list_inputs(settings)
        and Files.from_json(sources).are_unchanged()
    )


def settings_digest(settings: Settings) -> str:
    """Names all settings, and the versions of the tables that are made by them."""
    versions = {name: contract.version for name, contract in CONTRACTS.items()}
    return digest_of(settings.model_dump(mode="json"), versions)


def list_inputs(settings: Settings) -> list[str]:
    """Files that the settings' inputs come to, and what is wrong with the others."""
    files, errors = find_inputs(settings.inputs)
    return [*files, *map(str, errors)]


def write_sources(
    campaign: Campaign, plan: Plan, inputs: list[str], files: Files
) -> None:
    """Writes what a plan was made of: the list of its inputs, and all that was read."""
    sources = {"plan": plan.id, "inputs": inputs, **files.to_json()}
    write_json(_sources_path(campaign), sources)


def read_known_files(campaign: Campaign) -> Files | None:
    """The files that the plan on disk was made of; None where that is not known."""
    try:
        return Files.from_json(read_json(_sources_path(campaign)))
    except (FileNotFoundError, DamagedFile):
        return None


def _sources_path(campaign: Campaign) -> Path:
    return campaign.plan / "sources.json"


def find_damage(campaign: Campaign) -> str:
    """Names the files of the plan that are not as they were written, as they lie there;
    "" where all are well."""
    found = []
    checks = (
        *((verify, f"{name}.parquet") for name in _TABLES),
        *((verify_json, f"{name}.json") for name in _OBJECTS),
    )
    for check, name in checks:
        path = campaign.plan / name
        try:
            check(path)
        except (FileNotFoundError, DamagedFile):
            found.append((name, find_identity(path)))
    return batch_id(found) if found else ""
