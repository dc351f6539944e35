"""Looks after a search store.

    python -m workflow.store list   STORE
    python -m workflow.store verify STORE [--remove]
    python -m workflow.store prune  STORE [--older-than DAYS]
                                                [--databases databases.tsv]
    python -m workflow.store pack   STORE

`list` prints a line per entry: what it is of, its rows, bytes and age. `verify` reads
every entry, names the damaged ones and with --remove deletes them; its exit status is 1
if there are any. `prune` removes what lies about from processes that died, entries
older than so many days, and alignments with databases that the manifest lacks. `pack`
puts entries together, so that a store of any size has a few hundred files.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from af3_core.job import InputError
from workflow.databases.manifest import read_manifest
from workflow.store.entries import (
    Entry,
    Store,
    entry_paths,
    list_entries,
    pack_entries,
    pack_paths,
    read_entry,
)
from workflow.store.entries import abandoned_files as find_abandoned
from workflow.store.pack import drop_from_pack, list_packed


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one of the commands."""
    arguments = _parse(argv)
    store = Store(arguments.store)
    try:
        if not store.folder.is_dir():
            raise InputError(str(store.folder), "store", "no such folder", "a store")
        if arguments.command == "list":
            return list_store(store)
        if arguments.command == "pack":
            print(f"{pack_entries(store)} entries packed")
            return 0
        if arguments.command == "verify":
            return verify_store(store, remove=arguments.remove)
        return prune_store(store, arguments.older_than, arguments.databases)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m workflow.store",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("list", "verify", "prune", "pack"):
        commands.add_parser(name).add_argument("store", type=Path)
    commands.choices["verify"].add_argument("--remove", action="store_true")
    prune = commands.choices["prune"]
    prune.add_argument("--older-than", type=float, metavar="DAYS")
    prune.add_argument("--databases", type=Path, metavar="MANIFEST")
    return parser.parse_args(argv)


def list_store(store: Store) -> int:
    """Prints all entries and their number and size by kind."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for entry in list_entries(store):
        kind = entry.key.get("contract", "?")
        counts[kind] += 1
        sizes[kind] += entry.bytes
        print(
            f"{entry.path.stem} {kind} {entry.rows} rows {entry.bytes} bytes "
            f"{entry.age_days:.1f} days {_describe(entry)}"
        )
    for kind, count in sorted(counts.items()):
        print(f"{kind}: {count} entries, {sizes[kind] / 1e6:.1f} MB")
    return 0


def _describe(entry: Entry) -> str:
    shown = ("tool", "profile", "sequence", "database", "structures", "max_date")
    values = {name: entry.key[name] for name in shown if name in entry.key}
    return json.dumps({name: value[:24] for name, value in values.items()})


def verify_store(store: Store, *, remove: bool) -> int:
    """Reads every entry; 1 if any is damaged."""
    num_good = num_bad = 0
    for path in entry_paths(store):
        if read_entry(path) is not None:
            num_good += 1
            continue
        num_bad += 1
        print(f"damaged: {path}")
        if remove:
            path.unlink(missing_ok=True)
    for pack in pack_paths(store):
        entries = list(list_packed(pack))
        bad = {
            p.name for p, content in entries if read_entry(p, content=content) is None
        }
        num_good, num_bad = num_good + len(entries) - len(bad), num_bad + len(bad)
        for name in sorted(bad):
            print(f"damaged: {name} in {pack}")
        if remove and bad:
            drop_from_pack(pack, bad)
    removed = " and removed" if remove and num_bad else ""
    print(f"{num_good} entries are good, {num_bad} damaged{removed}")
    return 1 if num_bad else 0


def prune_store(store: Store, older_than: float | None, manifest: Path | None) -> int:
    """Removes what is not wanted any more."""
    digests = None
    if manifest is not None:
        databases = read_manifest(manifest)
        digests = {repr(database.digest) for database in databases}
        digests |= {repr(s.digest) for database in databases for s in database.shards}
    num_removed = num_bytes = 0
    dropped: dict[Path, set[str]] = {}
    for entry in list_entries(store):
        is_old = older_than is not None and entry.age_days > older_than
        database = entry.key.get("database") or entry.key.get("shard")
        is_foreign = digests is not None and database and database not in digests
        if is_old or is_foreign:
            if entry.pack is None:
                entry.path.unlink(missing_ok=True)
            else:
                dropped.setdefault(entry.pack, set()).add(entry.path.name)
            num_removed, num_bytes = num_removed + 1, num_bytes + entry.bytes
    for pack, names in dropped.items():
        drop_from_pack(pack, names)
    leftovers = find_abandoned(store)
    for path in leftovers:
        path.unlink(missing_ok=True)
    print(
        f"{num_removed} entries removed, {num_bytes / 1e6:.1f} MB, and "
        f"{len(leftovers)} files of processes that died"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
