"""How a network is trained. A run is reproduced by these, its examples and its model.

Defaults of weights and optimiser are those of AF3 SI 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pydantic

_FORBID_EXTRA = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Optimiser:
    """Adam with warm-up and decay."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    learning_rate: float = 1.8e-3
    warmup_steps: int = 1000
    final_fraction: float = 1.0
    """The rate falls along a cosine to this fraction of its height at the last step."""
    b1: float = 0.9
    b2: float = 0.95
    epsilon: float = 1e-8
    max_norm: float = 10.0
    """Longer gradients are shortened to this norm."""
    ema_decay: float = 0.999


@dataclass(frozen=True)
class Weights:
    """Of the losses of structure, SI equations 6 and 15."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    diffusion: float = 4.0
    bond: float = 1.0
    smooth_lddt: float = 1.0
    distogram: float = 0.03


@dataclass(frozen=True)
class Noise:
    """Levels that the denoiser learns at, and what counts there. SI 3.7.1."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    log_mean: float = -1.2
    log_deviation: float = 1.5
    """Levels are σ_data · exp(log_mean + log_deviation · N(0, 1))."""
    least_weight: Annotated[float, pydantic.Field(ge=0.0)] = 0.0
    """Of squared errors, 1/Å²: their weight falls with the level, at most to 1/256."""
    fixed_pose_above: Annotated[float, pydantic.Field(gt=0.0)] | None = None
    """Å; above, positions keep the pose of their file, and errors are as they lie.

    So much noise hides the pose. An error after alignment then leaves the network free
    to answer in any, and one that follows the noise follows it into mirror images: of
    a few structures, half of the samples. A pose to be learnt by heart has a hand.
    None: every level in random poses, as in the paper.
    """


@dataclass(frozen=True)
class Structure:
    """A stage that trains all but the confidence head."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA
    name: ClassVar[str] = "structure"

    steps: int = 1000
    noise_levels: int = 48
    """Of one example in one step; they share one pass through the trunk."""
    lddt_partners: int | None = None
    """Atoms that every atom is compared with in smooth lDDT; None: all."""
    noise: Noise = Noise()
    weights: Weights = Weights()
    optimiser: Optimiser = Optimiser()


@dataclass(frozen=True)
class Confidence:
    """The stage that trains the confidence head, on samples of the network.

    Its losses have no weight against the structure's: under the SI's 1e-4 its gradients
    would be no larger than Adam's `epsilon`.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA
    name: ClassVar[str] = "confidence"

    steps: int = 0
    rollout_steps: int = 20
    """Of the sampler, for the samples."""
    pae: float = 1.0
    """Its weight beside pLDDT, PDE and resolved; 0 in AF3's first stages."""
    optimiser: Optimiser = Optimiser()


type Stage = Structure | Confidence


@dataclass(frozen=True)
class Training:
    """Stages of the structure, one after another, and then one of confidence.

    A stage starts from the averaged weights of the one before, with an optimiser that
    remembers nothing. The loss of confidence has no gradient in trunk and denoiser
    (SI 4.3), so it can wait until they stand still.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _FORBID_EXTRA

    seed: int = 0
    structure: tuple[Structure, ...] = (Structure(),)
    confidence: Confidence = Confidence()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """In their order."""
        return (*self.structure, self.confidence)

    @property
    def num_steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)


_TRAINING = pydantic.TypeAdapter(Training)


def training_from_dict(values: Mapping[str, Any]) -> Training:
    """Raises ValueError that names an unknown key or an unfitting value."""
    return _TRAINING.validate_python(dict(values))
