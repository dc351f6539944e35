"""Looks at all that a campaign needs before anything is computed.

Every mistake is told at once, in one sentence each with its remedy: configuration,
inputs, weights, databases, search store, disk, GPU, and what the scheduler would say of
the profile's partitions, accounts and limits.
"""

import contextlib
import getpass
import importlib.metadata
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import yaml

from af3_core.job import InputError
from af3_core.model.checkpoint_files import find_parts, read_config
from af3_core.model.config import ModelConfig
from kernels.devices import Device, why_no_dtype
from kernels.hazards import hazards_of
from workflow import machine
from workflow.batches import Plan, load_plan
from workflow.campaign import Campaign, split_item
from workflow.databases.manifest import read_manifest
from workflow.installation import ROOT
from workflow.machine import Partition
from workflow.plan import find_unreadable, make_plan
from workflow.planning.batching import Refusal
from workflow.planning.memory import device_memory_gb, holds, most_tokens
from workflow.resources import Card, read_cards
from workflow.settings import Settings
from workflow.sources import current_plan

_LEAST_FREE_BYTES = 1_000_000_000
_LEAST_FREE_INODES = 10_000
_OLDEST_DRIVERS = {"jax-cuda12-plugin": 525, "jax-cuda13-plugin": 580}
"""Of NVIDIA's, by what JAX drives a GPU with (docs.jax.dev, "Installation")."""
_SHOWN_REFUSALS = 20


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or looks so."""

    where: str
    """The file and field, folder or program."""
    said: str
    """What is wrong."""
    remedy: str
    """What to do about it."""
    stops: bool = True
    """Whether the campaign cannot run with it; else it is a warning."""

    def __str__(self) -> str:
        return f"{self.where}: {self.said}; {self.remedy}"


def problem_of(error: InputError) -> Problem:
    """A refusal as a problem."""
    where = f"{error.file}: {error.field}"
    return Problem(where, f"got {error.value!r}", f"allowed: {error.allowed}")


def find_problems(
    settings: Settings,
    folder: Path,
    profile: Path | None = None,
    *,
    with_weights: bool = True,
    with_inputs: bool = False,
) -> list[Problem]:
    """All that is wrong with a campaign, most basic things first.

    Args:
        settings: of the campaign, their paths relative to `folder`.
        folder: of the campaign.
        profile: the folder of the Snakemake profile it will run with.
        with_weights: whether the weights are read to their end. That takes seconds;
            without, that a checkpoint is there is enough.
        with_inputs: whether every input is read, too. That takes seconds for thousands
            of jobs, and a run says the same when it plans.
    """
    at = Places(settings, folder, profile, with_weights)
    checks: Sequence[Callable[[], Iterator[Problem]]] = (
        lambda: _check_inputs(at),
        lambda: _check_weights(at),
        lambda: _check_databases(at),
        lambda: _check_store(at),
        lambda: _check_disk(at),
        lambda: _check_demo(at),
        lambda: _check_scheduler(at),
        lambda: _check_cards(at),
        lambda: _check_filter(at),
    )
    found: list[Problem] = []
    for check in checks:
        found += _told(check)
    if not any(problem.stops for problem in found):
        found += _told(lambda: _check_jobs(at, with_inputs=with_inputs))
    elif with_inputs and all(at.path(given).exists() for given in settings.inputs):
        with contextlib.chdir(folder):
            found += _told(lambda: _refused(find_unreadable(settings)))
    return found


def _told(check: Callable[[], Iterator[Problem]]) -> list[Problem]:
    try:
        return list(check())
    except InputError as error:
        return [problem_of(error)]


@dataclass(frozen=True)
class Places:
    """A campaign's settings, where their paths lead, and how it will run."""

    settings: Settings
    folder: Path
    profile: Path | None = None
    with_weights: bool = True
    """Whether the checkpoint is read to its end."""

    def path(self, path: Path) -> Path:
        """A path of the settings, from here."""
        return self.folder / path

    @cached_property
    def network(self) -> ModelConfig:
        """The configuration of the checkpoint, which is there and, if asked, whole.

        Raises:
            InputError: it is not.
        """
        path = self.path(self.settings.model.checkpoint)
        if self.with_weights:
            # Brings JAX along, which takes as long as all the rest.
            from af3_core.model.checkpoint import check_checkpoint

            return check_checkpoint(path)
        find_parts(path)
        return read_config(path)

    @property
    def is_of_full_size(self) -> bool:
        """Whether the network is as large as the published one."""
        return self.network.pairformer == ModelConfig().pairformer

    @cached_property
    def profile_file(self) -> Path | None:
        """The profile's settings."""
        return self.profile and next(
            iter(sorted(self.profile.glob("*config.yaml"))), None
        )

    @cached_property
    def asked(self) -> Mapping[str, object]:
        """What the profile says; nothing where there is none."""
        if self.profile_file is None:
            return {}
        return yaml.safe_load(self.profile_file.read_text(encoding="utf-8")) or {}

    @cached_property
    def of_predict(self) -> Mapping[str, object]:
        """The resources that the profile gives to predictions."""
        return self.of_rule("predict")

    def of_rule(self, rule: str) -> Mapping[str, object]:
        """The resources that the profile gives to the jobs of a rule."""
        found = dict(_asked_resources(self.asked))
        return found.get(f"set-resources {rule}", found.get("default-resources", {}))

    @property
    def is_on_cluster(self) -> bool:
        """Whether predictions do not run on this machine."""
        return self.asked.get("executor", "local") != "local"


def _check_inputs(at: Places) -> Iterator[Problem]:
    for given in at.settings.inputs:
        path = at.path(given)
        if not path.exists():
            yield Problem("inputs", f"{given} is not there", "name a file or folder")
        elif path.is_dir() and not any(path.iterdir()):
            remedy = "put JSON, FASTA, CSV or YAML files there"
            yield Problem("inputs", f"the folder {given} is empty", remedy)
    references = at.settings.score.references
    if references is not None and not at.path(references).is_dir():
        said = f"{references} is no folder"
        remedy = "name a folder of known structures, or null"
        yield Problem("score.references", said, remedy)


def _check_weights(at: Places) -> Iterator[Problem]:
    """Whether the checkpoint is there, readable and, if asked, whole."""
    path = at.path(at.settings.model.checkpoint)
    try:
        for part in find_parts(path):
            if not os.access(part, os.R_OK):
                remedy = "ask its owner for the right to read it"
                yield Problem("model.checkpoint", f"{part} may not be read", remedy)
                return
        is_of_full_size = at.is_of_full_size
    except InputError as error:
        where = f"model.checkpoint ({error.field})"
        # Of hundreds of parameters, the first says which network it is not.
        allowed, *more = error.allowed.split("; ")
        remedy = f"allowed: {allowed}{'; …' if more else ''}"
        yield Problem(where, f"{path}: {error.value}", remedy)
        return
    if is_of_full_size and at.settings.predict.dtype == "float32":
        yield Problem(
            "predict.dtype",
            "float32 with a network of the published size",
            "set bfloat16, as published, unless numbers are to be compared: float32"
            " takes twice the memory and several times the time",
            stops=False,
        )


def _check_databases(at: Places) -> Iterator[Problem]:
    path = at.path(at.settings.search.databases)
    for database in read_manifest(path):
        for shard in database.shards:
            if not shard.path.exists():
                remedy = f"mend the path in {path}, or make it again"
                yield Problem(f"database {database.name}", f"no {shard.path}", remedy)
            elif shard.path.is_file() and shard.path.stat().st_size != shard.bytes:
                size = shard.path.stat().st_size
                said = f"{shard.path} has {size} bytes, not {shard.bytes}"
                remedy = "make the table of databases again: foldmill databases make"
                yield Problem(f"database {database.name}", said, remedy)
            elif not os.access(shard.path, os.R_OK):
                remedy = "ask its owner for the right to read it"
                said = f"{shard.path} may not be read"
                yield Problem(f"database {database.name}", said, remedy)


def _check_store(at: Places) -> Iterator[Problem]:
    given = at.settings.search.store
    store = _nearest(at.path(given))
    if store.exists() and not os.access(store, os.W_OK | os.X_OK):
        yield Problem(
            "search.store",
            f"{store} may not be written",
            "what it lacks cannot be searched: ask its owner, or name another folder",
            stops=False,
        )


def _check_disk(at: Places) -> Iterator[Problem]:
    for name, path in (
        ("the campaign's folder", at.folder),
        ("search.store", at.path(at.settings.search.store)),
    ):
        here = _nearest(path)
        if name == "the campaign's folder" and not os.access(here, os.W_OK):
            yield Problem(name, f"{here} may not be written", "choose another folder")
        free = shutil.disk_usage(here).free
        if free < _LEAST_FREE_BYTES:
            said = f"{free / 1e9:.2f} GB are free at {here}"
            yield Problem(name, said, "free some disk, or choose another folder")
        inodes = os.statvfs(here)
        if inodes.f_files and inodes.f_favail < _LEAST_FREE_INODES:
            said = f"{inodes.f_favail} more files fit at {here}"
            yield Problem(name, said, "remove files, or choose another folder")


def _nearest(path: Path) -> Path:
    """The path, or the first of the folders above it that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _check_demo(at: Places) -> Iterator[Problem]:
    """Whether a campaign of somebody's own uses something of the demo."""
    demo = ROOT / "config/demo"
    settings = at.settings
    used = {
        "search.databases": settings.search.databases,
        "model.checkpoint": settings.model.checkpoint,
        "score.references": settings.score.references,
    }
    own = [p for p in settings.inputs if not _is_below(at.path(p), demo)]
    for key, path in used.items():
        if own and path is not None and _is_below(at.path(path), demo):
            remedy = "name your own; the demo's are for trying the workflow only"
            yield Problem(key, f"{path} is the demo's", remedy, stops=False)


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _check_scheduler(at: Places) -> Iterator[Problem]:
    """What the profile asks of a Slurm that does not have it."""
    if at.profile is None:
        return
    file = at.profile_file
    if file is None:
        remedy = "name slurm, lsf, or a folder with Snakemake's config.yaml"
        yield Problem(f"--profile {at.profile}", "no such profile", remedy)
        return
    if at.asked.get("executor") != "slurm":
        return
    asked = _asked_resources(at.asked)
    partitions = machine.slurm_partitions()
    if partitions is None:
        said = "sinfo is not there, or Slurm does not answer"
        yield Problem("Slurm", said, "start where jobs can be submitted")
        return
    for rules, resources in asked:
        where = f"{file}: {rules}"
        if (name := resources.get("slurm_partition")) is not None:
            yield from _check_partition(where, resources, str(name), partitions)
    for card in _cards_asked(at.of_predict):
        gres = {"gres": card.gres}
        where = f"{file}: set-resources predict: cards"
        yield from _check_partition(where, gres, card.partition, partitions)
    yield from _check_accounts(file, asked)


def _cards_asked(predict: Mapping[str, object]) -> tuple[Card, ...]:
    """Kinds of GPU that the profile names, smallest first."""
    return read_cards(predict["cards"]) if "cards" in predict else ()


def _asked_resources(
    profile: Mapping[str, object],
) -> list[tuple[str, Mapping[str, object]]]:
    """Resources by the part of the profile that asks for them, defaults filled in."""
    default = profile.get("default-resources") or {}
    special = profile.get("set-resources") or {}
    if not isinstance(default, Mapping) or not isinstance(special, Mapping):
        return []
    found: list[tuple[str, Mapping[str, object]]] = [("default-resources", default)]
    for rule, values in special.items():
        if isinstance(values, Mapping):
            found.append((f"set-resources {rule}", {**default, **values}))
    return found


def _check_partition(
    where: str,
    asked: Mapping[str, object],
    name: str,
    partitions: Mapping[str, Partition],
) -> Iterator[Problem]:
    if (partition := partitions.get(name)) is None:
        known = ", ".join(sorted(partitions))
        said = f"partition {name!r} is none of this cluster's"
        yield Problem(where, said, f"write one of {known}")
        return
    runtime, memory = asked.get("max_runtime"), asked.get("max_mem_mb")
    if isinstance(runtime, int) and runtime > partition.minutes:
        said = f"max_runtime {runtime} is more than {name} gives"
        yield Problem(where, said, f"write at most {partition.minutes:.0f} minutes")
    if isinstance(memory, int) and memory > partition.memory_mb:
        said = f"max_mem_mb {memory} is more than any node of {name} has"
        yield Problem(where, said, f"write at most {partition.memory_mb}")
    if (kind := _device_asked(asked)) and "gpu" not in partition.gres:
        yield Problem(where, f"{name} has no GPU", "name a partition with GPUs")
    elif kind and kind not in partition.gres:
        said = f"{name} has no {kind}, but {partition.gres}"
        yield Problem(where, said, "name a GPU that it has")


def _device_asked(asked: Mapping[str, object]) -> str:
    """The kind of GPU that a job asks for, such as gpu:a100; "" for none."""
    # A name, or a slice of a card as 1g.10gb; a number alone says how many.
    named = re.search(r"gpu(:(?!\d+(,|$))[\w.-]+)?", str(asked.get("gres", "")))
    if named:
        return named[0]
    return "gpu" if asked.get("gpu") else ""


def _check_accounts(
    file: Path, asked: Sequence[tuple[str, Mapping[str, object]]]
) -> Iterator[Problem]:
    given = {
        str(resources["slurm_account"])
        for _, resources in asked
        if "slurm_account" in resources
    }
    user = getpass.getuser()
    accounts = machine.slurm_accounts(user) if given else set()
    wrong = sorted(given - accounts) if accounts else []
    stops = bool(wrong) and machine.are_accounts_enforced()
    for account in wrong:
        said = f"slurm_account {account!r} is none of {user}'s"
        remedy = f"write one of {', '.join(sorted(accounts))}"
        yield Problem(str(file), said, remedy, stops=stops)


def _check_cards(at: Places) -> Iterator[Problem]:
    """Whether a network of full size has a GPU, and one that it can compute on."""
    with contextlib.suppress(InputError):  # told of the weights
        if not at.is_of_full_size:
            return
        if at.is_on_cluster:
            predict = at.of_predict
            if at.asked["executor"] == "slurm" and not (
                _device_asked(predict) or "cards" in predict
            ):
                where = f"{at.profile_file}: set-resources predict"
                remedy = 'add gres: "gpu:1", as the profile that comes along does'
                yield Problem(where, "predictions ask for no GPU", remedy, stops=False)
        elif not _are_processors_asked_for():
            yield from _check_cards_here(at)


def _check_filter(at: Places) -> Iterator[Problem]:
    """Whether jobs that filter on a GPU have one."""
    if at.settings.search.filter != "triton":
        return
    if not at.is_on_cluster:
        if not machine.gpus():
            remedy = "write search: each search then filters for itself"
            said = "triton, and no GPU here"
            yield Problem("search.filter", said, remedy, stops=False)
    elif at.asked["executor"] == "slurm" and not _device_asked(at.of_rule("filter")):
        where = f"{at.profile_file}: set-resources filter"
        remedy = 'add gres: "gpu:1", as the profile that comes along does'
        yield Problem(where, "search.filter asks for a GPU", remedy, stops=False)


def _are_processors_asked_for() -> bool:
    return os.environ.get("JAX_PLATFORMS", "").startswith("cpu")


def _check_cards_here(at: Places) -> Iterator[Problem]:
    gpus = machine.gpus()
    if not gpus:
        said = "no GPU here, and a network of the published size"
        remedy = "name a --profile, or expect hours for a structure"
        yield Problem("GPU", said, remedy, stops=False)
        return
    card, plugin = gpus[0], _cuda_plugin()
    if plugin is None:
        remedy = (
            "sh envs/setup.sh --extra cuda (or pip install 'foldmill[cuda]') adds them,"
            " and JAX_PLATFORMS=cpu does without the GPU"
        )
        yield Problem(f"GPU {card.name}", "CUDA's libraries are not installed", remedy)
        return
    oldest = _OLDEST_DRIVERS[plugin]
    if int(card.driver.partition(".")[0]) < oldest:
        said = f"its driver {card.driver} is older than {oldest}"
        yield Problem(f"GPU {card.name}", said, "update NVIDIA's driver")
        return
    device = Device("cuda", card.capability)
    for hazard in hazards_of(device):
        yield Problem(f"GPU {card.name}", hazard.sentence, hazard.remedy)
    if why := why_no_dtype(device, at.settings.predict.dtype):
        remedy = "expect several times the time and memory, or choose a newer card"
        yield Problem(f"GPU {card.name}", why, remedy, stops=False)


def _cuda_plugin() -> str | None:
    """The package that JAX drives a GPU with."""
    for name in _OLDEST_DRIVERS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version(name)
            return name
    return None


def _check_jobs(at: Places, *, with_inputs: bool) -> Iterator[Problem]:
    """Inputs that are refused, and jobs that the GPUs have no room for."""
    room = _room_on_device(at)
    # Planning may take long, and a run plans by itself.
    if not with_inputs and room is None:
        return
    campaign = Campaign()
    with contextlib.chdir(at.folder):
        if not with_inputs:
            plan = current_plan(campaign, at.settings)
        else:
            made = make_plan(campaign, at.settings, load_plan(campaign))
            plan = made.plan
            yield from _refused(made.refusals)
    if room is not None:
        yield from _check_room(plan, *room)


def _refused(refusals: Sequence[Refusal]) -> Iterator[Problem]:
    """Inputs that cannot run, which keep no other from running."""
    for refusal in refusals[:_SHOWN_REFUSALS]:
        yield replace(problem_of(refusal.error), stops=False)
    if more := len(refusals[_SHOWN_REFUSALS:]):
        remedy = "mend these first; `foldmill plan` counts all"
        yield Problem("inputs", f"{more} more are refused", remedy, stops=False)


def _room_on_device(at: Places) -> tuple[str, float] | None:
    """The GPU that has to hold the largest jobs, and its memory, if they are known."""
    if not at.is_of_full_size or _are_processors_asked_for():
        return None
    if at.is_on_cluster:
        kinds = _cards_asked(at.of_predict)
        return (kinds[-1].gres, kinds[-1].memory_gb) if kinds else None
    # Each job takes the first that is free.
    found = min(machine.gpus(), key=lambda gpu: gpu.memory_gb, default=None)
    return (found.name, found.memory_gb) if found else None


def _check_room(plan: Plan, name: str, memory_gb: float) -> Iterator[Problem]:
    large = [b for b in plan.jobs.values() if not holds(memory_gb, b.bucket)]
    if not large:
        return
    jobs = {split_item(item)[0] for batch in large for item in batch.items}
    bucket = max(batch.bucket for batch in large)
    number = "a job" if len(jobs) == 1 else f"{len(jobs)} jobs"
    said = (
        f"{number} may not fit on the GPU: {bucket} tokens take about"
        f" {device_memory_gb(bucket):.0f} GB, and {name} has {memory_gb:.0f} GB"
    )
    most = most_tokens(memory_gb)
    remedy = f"use a larger GPU, or write {most} to leave out what is larger"
    yield Problem("predict.max_tokens", said, remedy, stops=False)


def as_json(problems: Sequence[Problem]) -> str:
    """The problems for other programs."""
    return json.dumps([vars(problem) for problem in problems], indent=1)
