"""What one cluster job asks for: pure functions of its batch and of the attempt.

Anchors are published or measured: AlphaFold 3's A100 times and memory table, and what
19,000 feature jobs in production used (median 1.1 GB, 99th percentile 17 GB). Each
retry asks for half as much again, up to what the profile says a partition allows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from af3_core.job import InputError
from workflow.batches import Batch


@dataclass(frozen=True)
class Card:
    """A kind of GPU that a cluster has."""

    partition: str
    gres: str
    memory_gb: float


@dataclass(frozen=True)
class Limits:
    """The most that jobs may ask for; without a limit they get what they ask for."""

    of_all: Mapping[str, int] = field(default_factory=dict)
    """By resource: `max_mem_mb`, `max_runtime`."""
    of_rule: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Of single rules, before those of all."""
    cards: tuple[Card, ...] = ()
    """Smallest first; none where all predictions go to one partition."""

    def mem_mb(self, rule: str, amount: int) -> int:
        """Memory for a job of a rule, as wanted or as much as there is."""
        return self._cap("max_mem_mb", rule, amount)

    def runtime(self, rule: str, amount: int) -> int:
        """Minutes for a job of a rule, as wanted or as many as there are."""
        return self._cap("max_runtime", rule, amount)

    def _cap(self, limit: str, rule: str, amount: int) -> int:
        most = self.of_rule.get(rule, {}).get(limit, self.of_all.get(limit, amount))
        return min(amount, most)


def read_limits(profile: Any) -> Limits:
    """Takes the limits from Snakemake's resource settings.

    They are ordinary resources, which no scheduler looks at: `default-resources` gives
    those of all rules and `set-resources` those of single ones.

    Raises:
        InputError: a limit is not a positive integer.
    """
    of_rule = {
        rule: _limits_among(given, f"set-resources.{rule}")
        for rule, given in (profile.overwrite_resources or {}).items()
    }
    defaults = profile.default_resources or {}
    of_predict = (profile.overwrite_resources or {}).get("predict", {})
    cards = read_cards(of_predict["cards"].raw) if "cards" in of_predict else ()
    return Limits(_limits_among(defaults, "default-resources"), of_rule, cards)


def read_cards(text: Any) -> tuple[Card, ...]:
    """Partition, gres and GB of every kind of card.

    Raises:
        InputError: it says anything else.
    """
    cards = []
    for part in str(text).split(";"):
        match = re.fullmatch(r"\s*(\S+)\s+(\S+)\s+(\d+(?:\.\d+)?)\s*", part)
        if match is None:
            allowed = "PARTITION GRES GB of every kind of card, with ; between them"
            raise InputError(
                "profile", "set-resources.predict.cards", part.strip(), allowed
            )
        cards.append(Card(match[1], match[2], float(match[3])))
    return tuple(sorted(cards, key=lambda card: card.memory_gb))


def _limits_among(given: Mapping[str, Any], where: str) -> dict[str, int]:
    limits = {}
    for name in ("max_mem_mb", "max_runtime"):
        if name in given:
            value = given[name].raw
            if not isinstance(value, int) or value < 1:
                raise InputError(
                    "profile",
                    f"{where}.{name}",
                    value,
                    "a positive integer (MB, minutes)",
                )
            limits[name] = value
    return limits


def _grown(amount: float, attempt: int) -> int:
    return int(amount * 1.5 ** (attempt - 1))


def filter_mem_mb(batch: Batch, attempt: int) -> int:
    """Host memory for filtering: some blocks of the database, their scores, and JAX."""
    return _grown(6000 + 10 * len(batch.items), attempt)


def search_mem_mb(batch: Batch, attempt: int) -> int:
    """Host memory for searching: HMMER's matrices grow with the longest query."""
    return _grown(2000 + 3 * batch.longest, attempt)


def search_minutes(batch: Batch, attempt: int) -> int:
    """Run time for searching a batch; the store keeps what a killed job finished."""
    return _grown(60 + len(batch.items), attempt)


def featurise_mem_mb(batch: Batch, attempt: int) -> int:
    """Host memory for features: deep alignments of the largest job dominate."""
    return _grown(2000 + 3 * batch.longest, attempt)


def featurise_minutes(batch: Batch, attempt: int) -> int:
    """Run time for features: seconds per job, ten for the largest."""
    return _grown(10 + len(batch.items) / 6, attempt)


def predict_mem_mb(batch: Batch, attempt: int) -> int:
    """Host memory for prediction: weights, features and PAE of the largest job."""
    return _grown(8000 + 0.0045 * batch.bucket**2, attempt)


def predict_minutes(batch: Batch, attempt: int) -> int:
    """Run time for prediction: what the plan reckons, with a margin of half."""
    return _grown(10 + 1.5 * batch.seconds / 60, attempt)


def relax_mem_mb(batch: Batch, attempt: int) -> int:
    """Host memory for relaxation."""
    return _grown(2000 + 2 * batch.longest, attempt)


def relax_minutes(batch: Batch, attempt: int) -> int:
    """Run time for relaxation: a minute for each structure, more for a large one."""
    return _grown(10 + len(batch.items) * (1 + batch.longest / 300), attempt)
