"""What predictions cost on a device: shipped numbers, a site's, or those measured here.

    python -m workflow.planning.costs results/timings/*.parquet > costs.toml

fits the cost model to recorded timings, one entry for each kind of device, in the
format that `plan.costs` takes.
"""

import argparse
import statistics
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from af3_core.contracts import TIMINGS
from af3_core.job import InputError
from workflow.campaign import Campaign
from workflow.planning.buckets import CostModel
from workflow.settings import Plan
from workflow.tables import (
    ContractError,
    DamagedFile,
    read_columns,
    read_made_from,
)

SHIPPED = Path(__file__).with_name("costs.toml")
ENOUGH_ITEMS = 10
"""Fewer timed items than this say nothing."""
_ENOUGH_BUCKETS, _ENOUGH_SPREAD = 4, 3.0
"""Padded sizes, and the ratio of largest to smallest, that show a curve's shape."""


@dataclass(frozen=True)
class Costs:
    """The costs that a plan is made with."""

    device: str
    model: CostModel
    source: str
    """Where the numbers are from, as the end of a sentence."""


@dataclass(frozen=True)
class Timing:
    """One item on the device, as a batch recorded it."""

    device: str
    bucket: int
    seconds: float
    compiled: bool
    from_cache: bool


def read_costs(path: Path = SHIPPED) -> tuple[str, dict[str, CostModel]]:
    """The default device and the costs of every kind of device in a file.

    Raises:
        InputError: the file cannot be read or lacks a number.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        models = {
            name: CostModel(**{key: float(value) for key, value in costs.items()})
            for name, costs in raw["devices"].items()
        }
        return raw.get("default", next(iter(models))), models
    except (OSError, ValueError, TypeError, KeyError, StopIteration) as error:
        allowed = f"a file like {SHIPPED}"
        raise InputError(str(path), "plan.costs", str(error), allowed) from error


def find_costs(plan: Plan, timings: Sequence[Timing]) -> Costs:
    """The costs to plan with: measured ones where enough items were timed.

    Raises:
        InputError: the device that the settings name is not known.
    """
    default, models = read_costs()
    if plan.costs is not None:
        theirs, more = read_costs(plan.costs)
        default, models = theirs, models | more
    by_device = {
        device: [t for t in timings if t.device == device]
        for device in dict.fromkeys(t.device for t in timings)
    }
    measured = {d: ts for d, ts in by_device.items() if _num_timed(ts) >= ENOUGH_ITEMS}
    device = plan.device or max(measured, key=lambda d: len(measured[d]), default="")
    if device in measured:
        start = models.get(device, models[default])
        source = f"measured: {_num_timed(measured[device])} items of this campaign"
        return Costs(device, fit(measured[device], start), source)
    if device and device not in models:
        known = ", ".join([*models, *measured])
        raise InputError("settings", "plan.device", device, f"one of {known}")
    device = device or default
    return Costs(device, models[device], "published, not measured here")


def fit(timings: Sequence[Timing], start: CostModel) -> CostModel:
    """The cost model that fits timings of one kind of device best.

    Least squares of relative errors, no coefficient negative. Too few padded sizes do
    not show how time grows: they scale the curve of `start`.
    """
    # It takes longer to import than a plan takes to read.
    from scipy.optimize import nnls

    timed = [t for t in timings if not t.compiled]
    buckets = np.array([t.bucket for t in timed], dtype=float)
    seconds = np.array([max(t.seconds, 1e-3) for t in timed])
    spread = buckets.max() / buckets.min()
    if len(set(buckets)) >= _ENOUGH_BUCKETS and spread >= _ENOUGH_SPREAD:
        powers = np.stack([np.ones_like(buckets), buckets**2, buckets**3], axis=1)
        # Columns of one size, so that the solver does not lose the smallest.
        scale = powers.max(axis=0)
        found, _ = nnls(powers / scale / seconds[:, None], np.ones(len(timed)))
        constant, quadratic, cubic = (found / scale).tolist()
    else:
        ratios = seconds / np.array([start.seconds(b) for b in buckets])
        factor = float(np.median(ratios))
        constant, quadratic, cubic = (
            factor * x for x in (start.constant, start.quadratic, start.cubic)
        )
    model = replace(start, constant=constant, quadratic=quadratic, cubic=cubic)
    first = [
        t.seconds - model.seconds(t.bucket)
        for t in timings
        if t.compiled and not t.from_cache
    ]
    if first:
        model = replace(model, compile=max(0.0, statistics.median(first)))
    return model


def _num_timed(timings: Sequence[Timing]) -> int:
    return sum(not t.compiled for t in timings)


_PLANNED = (
    (pc.field("phase") == "compute")
    & (pc.field("rung") == "planned")
    & ~pc.field("failed")
)


def read_timings(paths: Iterable[Path], network: str | None = None) -> list[Timing]:
    """Times on the device from tables of contract `timings`.

    Others, and damaged ones, are passed over, as are those of another network than the
    one with this key, if one is given.

    So are items that failed or needed less memory than planned: they say nothing of
    the network as it is planned.
    """
    timings = []
    for path in paths:
        if network is not None and read_made_from(path) != network:
            continue
        try:
            rows = read_columns(path, TIMINGS, where=_PLANNED).to_pylist()
        except (ContractError, DamagedFile):
            continue
        timings += [
            Timing(
                row["device"],
                row["bucket"],
                row["end"] - row["start"],
                row["compiled"],
                row["from_cache"],
            )
            for row in rows
        ]
    return timings


def campaign_timings(campaign: Campaign, network: str) -> list[Timing]:
    """What the batches of a campaign recorded of the network with this key."""
    return read_timings(sorted(campaign.timings("x").parent.glob("*.parquet")), network)


def dump_costs(models: Mapping[str, CostModel]) -> str:
    """The format of `costs.toml`."""
    blocks = []
    for device, model in models.items():
        values = [f"{name} = {value:.4g}" for name, value in asdict(model).items()]
        name = device.replace("\\", "\\\\").replace('"', '\\"')
        blocks.append("\n".join([f'[devices."{name}"]', *values]))
    return "\n\n".join(blocks) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Prints fitted costs."""
    parser = argparse.ArgumentParser(
        prog="workflow.planning.costs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("timings", type=Path, nargs="+", help="recorded timings")
    paths = parser.parse_args(argv).timings
    if len({read_made_from(path) for path in paths}) > 1:
        parser.error("timings of several networks; give those of one")
    timings = read_timings(paths)
    default, shipped = read_costs()
    fitted = {}
    for device in sorted({t.device for t in timings}):
        own = [t for t in timings if t.device == device]
        if _num_timed(own) >= ENOUGH_ITEMS:
            fitted[device] = fit(own, shipped.get(device, shipped[default]))
    if not fitted:
        parser.error(f"no kind of device has {ENOUGH_ITEMS} timed items")
    print(dump_costs(fitted), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
