"""Weights of the network: imported, shown, and loaded from those who publish them.

    foldmill weights import FILE.pt [--out NAME]
    foldmill weights show NAME
    foldmill weights fetch alphafold3|openfold3

NAME is a path, or the name of a checkpoint in the folder `models`. Whose weights there
are, on what terms, and what they were checked against: docs/weights.md.
"""

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TransferSpeedColumn,
)

from af3_core.job import InputError
from af3_core.model.checkpoint import published_shapes, read_records
from af3_core.model.checkpoint_files import config_path, find_parts, read_card
from af3_core.model.config import ModelConfig, config_to_dict
from af3_core.model.imports import import_openfold3
from af3_core.model.renames import IDENTIFIER
from af3_core.structures.mmcif_origin import RELEASES, USAGE
from workflow.download import Download

MODELS = Path("models")
"""Where checkpoints are kept, from the folder that a campaign runs in."""
type Published = Literal["alphafold3", "openfold3"]


@dataclass(frozen=True)
class Vendor:
    """Where weights are published, and on what terms."""

    name: Published
    address: str
    terms: str
    """What to accept, in short."""
    terms_address: str


VENDORS: Mapping[Published, Vendor] = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            "alphafold3",
            "https://storage.googleapis.com/alphafold3/af3.bin.zst",
            "AlphaFold 3's model parameters are for non-commercial use only. Only who"
            " has received\nthem directly from Google may use them, and nobody may pass"
            " them on. What is predicted\nwith them is under terms of its own, which"
            " forbid commercial use and the training of\nsimilar models.",
            "https://github.com/google-deepmind/alphafold3/blob/main/"
            "WEIGHTS_TERMS_OF_USE.md",
        ),
        Vendor(
            "openfold3",
            "https://openfold3-data.s3.amazonaws.com/openfold3-parameters/"
            "of3-ob-2025-06-30-174k.pt",
            "OpenFold3's parameters (OpenBind-0) are under the Apache License, Version"
            " 2.0: free for any use,\ncommercial use included, without warranty.",
            "https://www.apache.org/licenses/LICENSE-2.0",
        ),
    )
}


def vendor_of(name: str) -> Vendor:
    """Looks a vendor up.

    Raises:
        InputError: there is none of this name.
    """
    for vendor in VENDORS.values():
        if vendor.name == name:
            return vendor
    raise InputError("weights", "vendor", name, f"one of {', '.join(VENDORS)}")


def import_weights(source: Path, out: str = "openfold3") -> Path:
    """Writes OpenFold3's weights in our format; returns the checkpoint's path.

    Raises:
        InputError: the file cannot be read, or is not of that network's version.
    """
    target = checkpoint_path(out)
    import_openfold3(source, target)
    return target


def checkpoint_path(name: str) -> Path:
    """A path as it is; the checkpoint of a name in `MODELS`."""
    path = Path(name)
    if path.suffix in (".bin", ".zst") or path.exists():
        return path
    known = [MODELS / f"{name}.bin", MODELS / f"{name}.bin.zst"]
    return next((p for p in known if p.exists()), known[0])


def describe_weights(path: Path) -> list[tuple[str, str]]:
    """What there is to say of a checkpoint, as rows of a table; reads it whole.

    Raises:
        InputError: no checkpoint is there, or it is cut short or corrupt.
    """
    parts, card, digest = find_parts(path), read_card(path), hashlib.sha256()
    identifier, count = bytes(64), 0
    for record in read_records(parts, digest):
        if (record.scope, record.name) == IDENTIFIER:
            identifier = record.values.tobytes()
        else:
            count += record.values.size
    release = card.release
    if release is None:
        is_ours = identifier.startswith(b"foldmill")
        origin = "foldmill" if is_ours else "alphafold3"
        release = RELEASES[origin if any(identifier) else "untrained"]
    found = digest.hexdigest()
    verdict = "as when imported" if card.digest == found else "OTHERS than imported"
    config, published = config_to_dict(card.config), config_to_dict(ModelConfig())
    different = [f"{k} {v}" for k, v in config.items() if published.get(k) != v]
    terms = USAGE[release.origin][0].url
    rows = [
        ("file", ", ".join(map(str, parts))),
        ("network", release.title),
        ("licence", release.licence or "none stated"),
        ("terms", {"?": "none"}.get(terms, terms)),
        ("parameters", f"{count / 1e6:.2f} million"),
        ("size", f"{sum(p.stat().st_size for p in parts) / 1e9:.2f} GB"),
        ("configuration", str(config_path(path))),
        ("unlike AlphaFold 3", "\n".join(different) or "nothing"),
        ("SHA-256 of records", found + (f" ({verdict})" if card.digest else "")),
    ]
    if release.source:
        rows.append(("imported from", f"{release.source} ({release.source_sha256})"))
    return rows


@dataclass(frozen=True)
class Wish:
    """What to load, and where to."""

    vendor: Vendor
    folder: Path = MODELS
    address: str = ""
    """Instead of the vendor's."""
    sha256: str = ""
    """That the file must have, in hexadecimal; empty: as the server says."""

    @property
    def url(self) -> str:
        """Where the file is."""
        return self.address or self.vendor.address


def fetch_weights(
    wish: Wish,
    accept: Callable[[Vendor], bool],
    report: Callable[[int, int], None] = lambda loaded, total: None,
) -> Path:
    """Loads weights from those who publish them, checks and imports them.

    What was loaded before a broken connection is kept; the next call goes on there.

    Args:
        accept: shows the terms and says whether they are accepted.
        report: told of bytes loaded and of all bytes.

    Returns:
        The checkpoint.

    Raises:
        InputError: the terms are not accepted, the file cannot be loaded, or it is not
            what it should be.
    """
    vendor = wish.vendor
    if not accept(vendor):
        allowed = f"acceptance of the terms at {vendor.terms_address}"
        raise InputError(vendor.name, "terms of use", "not accepted", allowed)
    wish.folder.mkdir(parents=True, exist_ok=True)
    part = wish.folder / f".{Path(wish.url).name}.part"
    download = Download(wish.url, part, sha256=wish.sha256, report=report)
    download.load()
    download.check()
    # A file that is no checkpoint must not get a checkpoint's name.
    name = Path(wish.url).name
    trial = wish.folder / (f".new.{name}" if vendor.name == "alphafold3" else name)
    download.path.replace(trial)
    download.forget()
    try:
        if vendor.name == "openfold3":
            target = wish.folder / "openfold3.bin"
            import_openfold3(trial, target)
        else:
            target = wish.folder / name
            _require_alphafold3(trial)
            trial.replace(target)
    finally:
        trial.unlink(missing_ok=True)
    return target


def _require_alphafold3(path: Path) -> None:
    """Refuses anything but the records of AlphaFold 3's network."""
    wanted = {k: s.shape for k, s in published_shapes(ModelConfig()).items()}
    found = {(r.scope, r.name): r.values.shape for r in read_records([path])}
    known = sorted(wanted.keys() | found.keys())
    different = [key for key in known if wanted.get(key) != found.get(key)]
    if different:
        shown = f"{len(different)} records that do not fit"
        allowed = f"those of AlphaFold 3's network; see {':'.join(different[0])}"
        raise InputError(str(path), "records", shown, allowed)


def show_weights(path: Path, console: Console) -> None:
    """Prints what there is to say of a checkpoint."""
    for name, value in describe_weights(path):
        first, *rest = value.splitlines()
        console.print(f"{name:<20}{first}", soft_wrap=True, markup=False)
        for line in rest:
            console.print(f"{'':<20}{line}", soft_wrap=True, markup=False)


def fetch_with_progress(wish: Wish, console: Console, *, accepted: bool) -> Path:
    """Shows terms and progress; asks for acceptance unless it is given."""

    def accept(vendor: Vendor) -> bool:
        console.print(f"{vendor.terms}\nTerms: {vendor.terms_address}", soft_wrap=True)
        if accepted:
            return True
        if not sys.stdin.isatty():
            return False
        return console.input("Do you accept them? (yes/no) ").strip().lower() == "yes"

    columns = TextColumn(Path(wish.url).name), BarColumn(), DownloadColumn()
    progress = Progress(*columns, TransferSpeedColumn(), console=console)
    task = progress.add_task("", total=None)

    def report(loaded: int, total: int) -> None:
        progress.start()
        progress.update(task, completed=loaded, total=total or None)

    try:
        return fetch_weights(wish, accept, report)
    finally:
        progress.stop()
