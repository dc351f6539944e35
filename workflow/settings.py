"""The configuration of a campaign: typed at the door, frozen inside.

`Settings` is the only reader of `config/config.yaml`. Unknown keys are refused with
the nearest known one. Relative paths are relative to the folder the workflow runs in.
"""

import difflib
import hashlib
import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from af3_core.features.buckets import RELEASE_BUCKETS
from af3_core.job import MAX_SEED, InputError

if TYPE_CHECKING:
    from af3_core.features.options import FeatureOptions

Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
type TrunkFile = Literal["embeddings", "distogram"]


def _check_distinct[T](values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise ValueError("each of them once")
    return values


def _check_date(text: str) -> str:
    date.fromisoformat(text)
    return text


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Plan(_Block):
    """How work is cut into cluster jobs; see the comments in config.yaml."""

    max_cluster_jobs: Positive = 1500
    device: str | None = None
    costs: Path | None = None


class Search(_Block):
    """How sequences are searched; see the comments in config.yaml."""

    databases: Path
    store: Path = Path("store")
    imported: tuple[str, ...] = ()
    profile: Literal["paper", "server"] = "paper"
    batch_size: Positive = 200
    threads: Positive = 2
    max_template_date: Annotated[
        str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_check_date)
    ] = "2021-09-30"
    stage_to: str | None = None
    filter: Literal["search", "cpu", "triton"] = "search"


class Features(_Block):
    """What the network reads of a job, where AlphaFold 3 leaves a choice."""

    template_positions: Literal["alphafold3", "own"] = "alphafold3"
    resolve_msa_overlaps: bool = True
    fix_standalone_glycans: bool = False
    conformer_max_iterations: Annotated[int, Field(ge=0)] | None = None
    conformer_seconds: Positive = 300


class Model(_Block):
    """What is computed, and with which weights."""

    checkpoint: Path
    num_recycles: Annotated[int, Field(ge=0)] | None = None
    recycle_tolerance: Annotated[float, Field(gt=0, lt=1)] | None = None
    num_diffusion_steps: Positive | None = None
    num_samples: Positive | None = None
    noise_buckets: Literal["3.0.5", "3.0.4"] | tuple[Positive, ...] = "3.0.5"

    @property
    def drawn_sizes(self) -> tuple[int, ...]:
        """AlphaFold 3's padded sizes, for which its random numbers are drawn."""
        named = self.noise_buckets
        return RELEASE_BUCKETS[named] if isinstance(named, str) else named


class Predict(_Block):
    """How it is computed, how often, and how much goes into one cluster job."""

    seeds: Annotated[
        tuple[Seed, ...], Field(min_length=1), AfterValidator(_check_distinct)
    ] = (1,)
    num_seeds: Positive | None = None
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    attention: Literal["auto", "naive", "xla", "cpu", "cudnn", "triton"] = "auto"
    buckets: tuple[Positive, ...] | None = None
    max_tokens: Positive = 5120
    batch_minutes: Positive = 60
    items_at_once: Positive | None = None
    compilation_cache: Path | None = Path("store/compiled")
    save_embeddings: bool = False
    save_distogram: bool = False

    @property
    def trunk_files(self) -> tuple[TrunkFile, ...]:
        """What is kept of the trunk beside every prediction."""
        embeddings: tuple[TrunkFile, ...] = ("embeddings",) * self.save_embeddings
        return embeddings + ("distogram",) * self.save_distogram


class Relax(_Block):
    """Which predictions are relaxed."""

    samples: Literal["best", "all", "none"] = "best"
    max_seconds: Positive = 600
    keep_hydrogens: bool = False
    platform: Literal["CUDA", "HIP", "OpenCL", "CPU", "Reference"] | None = None


class Score(_Block):
    """What predictions are compared with, and which is the best of a job."""

    rank_by: Literal[
        "ranking_score",
        "ptm",
        "iptm",
        "mean_plddt",
        "ipsae",
        "pdockq2",
        "ilis",
        "lddt",
        "lddt_ca",
        "tm_score",
        "dockq",
    ] = "ranking_score"
    references: Path | None = None


class Export(_Block):
    """Which predictions are written as AlphaFold 3 folders, and in what else."""

    samples: Literal["best", "all", "none"] = "best"
    relaxed: bool = True
    formats: tuple[Literal["pdb", "bcif"], ...] = ()
    zip: bool = False


class Settings(_Block):
    """Everything a campaign is configured by."""

    inputs: tuple[Path, ...]
    plan: Plan = Plan()
    search: Search
    features: Features = Features()
    model: Model
    predict: Predict = Predict()
    relax: Relax = Relax()
    score: Score = Score()
    export: Export = Export()

    def feature_options(self) -> "FeatureOptions":
        """What was chosen about features."""
        # RDKit, which it brings, takes longer to import than all the rest.
        from af3_core.chemistry.conformers import ConformerLimits
        from af3_core.features.options import FeatureOptions

        chosen = self.features
        return FeatureOptions(
            resolve_msa_overlaps=chosen.resolve_msa_overlaps,
            fix_standalone_glycans=chosen.fix_standalone_glycans,
            template_positions=chosen.template_positions,
            conformers=ConformerLimits(
                max_iterations=chosen.conformer_max_iterations,
                max_seconds=chosen.conformer_seconds,
                max_date=date.fromisoformat(self.search.max_template_date),
            ),
        )

    def seen_from(self, root: Path) -> "Settings":
        """The same settings, their paths relative to the folder that holds `root`."""
        return _seen_from(self, root)


def _seen_from[Block: BaseModel](block: Block, root: Path) -> Block:
    """A block with every path below `root`; absolute ones stay."""

    def seen(value: object) -> object:
        if isinstance(value, Path):
            return root / value
        if isinstance(value, tuple):
            return tuple(seen(part) for part in value)
        return _seen_from(value, root) if isinstance(value, BaseModel) else value

    return block.model_copy(
        update={name: seen(value) for name, value in vars(block).items()}
    )


def read_settings(path: Path) -> Settings:
    """The settings of a configuration file.

    Raises:
        InputError: it is not YAML, or has a wrong key or value: the first.
    """
    return check_settings(_read_yaml(path), source=str(path))


def find_mistakes(path: Path) -> list[InputError]:
    """All that is wrong in a configuration file.

    Raises:
        InputError: it is not YAML.
    """
    try:
        Settings.model_validate(_read_yaml(path))
    except ValidationError as error:
        return _refusals(error, str(path))
    return []


def _read_yaml(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        found = f"byte {error.start} is not valid UTF-8"
        raise InputError(str(path), "file", found, "text in UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        field = "file" if mark is None else f"line {mark.line + 1}"
        found = getattr(error, "problem", None) or str(error)
        raise InputError(str(path), field, found, "YAML") from error


def check_settings(raw: object, *, source: str) -> Settings:
    """Turns the parsed YAML into `Settings`.

    Raises:
        InputError: naming the first wrong key or value.
    """
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise _refusals(error, source)[0] from error


def _refusals(error: ValidationError, source: str) -> list[InputError]:
    """One for each wrong key or value."""
    found = []
    for problem in error.errors():
        field = ".".join(str(part) for part in problem["loc"]) or "file"
        allowed = problem["msg"].removeprefix("Input should be ")
        if problem["type"] == "extra_forbidden":
            known = _known_keys(problem["loc"][:-1])
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
            allowed = f"one of {', '.join(known)}"
            allowed += f" (did you mean {near[0]}?)" if near else ""
        found.append(InputError(source, field, problem["input"], allowed))
    return found


def _known_keys(parents: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for parent in parents:
        annotation = model.model_fields[str(parent)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return sorted(model.model_fields)


def digest_of(*parts: object) -> str:
    """16 hex digits that name any values JSON can hold."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
