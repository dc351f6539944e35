"""Alignments from an MMseqs2 server, such as ColabFold's, taken up under a label.

For small campaigns of people who have no databases. Only `foldmill import-server` asks
one, where somebody has typed its address: no step and no cluster job ever does. What
it answers goes into the search store as if it had been imported (`workflow.imports`):
under a label, with the server and its databases named, and used by campaigns that name
the label. The protocol is that of MMseqs2's web server (`ticket/msa`, `ticket/pair`,
`ticket/ID`, `result/download/ID`) as ColabFold speaks it.
"""

import base64
import io
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

import requests

from af3_core.contracts import IMPORTED
from af3_core.inputs.a3m import find_a3m_problem
from af3_core.job import InputError, Job, Polymer
from workflow.imports import imported_key, label_path, pairing_label
from workflow.store.entries import Store
from workflow.tables import replacing

MOST_SEQUENCES = 200
"""More are not sent unless the user says so: a server is shared by the whole world."""
_AT_ONCE = 10
"""Sequences of one request; what it brings is stored before the next is sent."""
_ANSWER_SECONDS = (10.0, 120.0)
_LONGEST_PAUSE = 120.0
_FIRST_QUERY = 101
_SEPARATOR = "\x00"
_PAIR_FILE = "pair.a3m"
_WAITING = ("PENDING", "RUNNING", "UNKNOWN")
_BUSY = ("RATELIMIT", "MAINTENANCE")


@dataclass(frozen=True)
class Server:
    """Where alignments come from, and how it is treated."""

    address: str
    contact: str = ""
    """An address that the server's keepers may write to."""
    environmental: bool = True
    """Whether its environmental sequences are searched, too."""
    seconds: float = 5.0
    """Between two questions; more where the server says that it is busy."""
    give_up_after: float = 3600.0
    """Seconds that one request may take."""
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def mode(self) -> str:
        """What the protocol calls the databases."""
        return "env" if self.environmental else "all"


@dataclass(frozen=True)
class Wanted:
    """What a campaign lacks under a label."""

    sequences: tuple[str, ...]
    """Of proteins without an alignment."""
    complexes: tuple[tuple[str, ...], ...]
    """Distinct sequences of jobs that have several, without pairs."""

    @property
    def total(self) -> int:
        """Sequences to be sent."""
        return len(self.sequences) + sum(map(len, self.complexes))


def find_wanted(jobs: Sequence[Job], store: Store, label: str) -> Wanted:
    """What the store does not have yet; what a job brings along is not asked for."""
    sequences: dict[str, None] = {}
    complexes: dict[tuple[str, ...], None] = {}
    for job in jobs:
        proteins = [
            entity.sequence
            for entity in job.entities
            if isinstance(entity, Polymer)
            and entity.kind == "protein"
            and entity.unpaired_msa is None
        ]
        distinct = tuple(sorted(set(proteins)))
        for sequence in distinct:
            if store.get(imported_key("protein", sequence, label)) is None:
                sequences[sequence] = None
        if len(distinct) < 2:
            continue
        paired = pairing_label(label, distinct)
        if store.get(imported_key("protein", distinct[0], paired)) is None:
            complexes[distinct] = None
    return Wanted(tuple(sequences), tuple(complexes))


def fetch_alignments(
    server: Server,
    wanted: Wanted,
    store: Store,
    label: str,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Asks for all that is wanted; what has come is kept, whatever happens then.

    Args:
        report: is told of sequences answered, and of all.

    Raises:
        InputError: the server cannot be reached, refuses, or answers something else.
    """
    done = 0
    for some in batched(wanted.sequences, _AT_ONCE):
        found = _ask(server, "ticket/msa", server.mode, some)
        for sequence, text in zip(some, _joined(found, len(some)), strict=True):
            _put(server, store, label, sequence, unpaired=text, paired="")
        done += len(some)
        report(done, wanted.total)
        _touch(store, label, server)
    for proteins in wanted.complexes:
        mode = "pairgreedy-env" if server.environmental else "pairgreedy"
        found = _ask(server, "ticket/pair", mode, proteins)
        blocks = _blocks(found.get(_PAIR_FILE, ""), len(proteins))
        # The first is the mark that all are there, so it comes last.
        for sequence, text in reversed([*zip(proteins, blocks, strict=True)]):
            paired = _with_species(text)
            of_complex = pairing_label(label, proteins)
            _put(server, store, of_complex, sequence, unpaired=None, paired=paired)
        done += len(proteins)
        report(done, wanted.total)
        _touch(store, label, server)


def _put(
    server: Server,
    store: Store,
    label: str,
    sequence: str,
    *,
    unpaired: str | None,
    paired: str,
) -> None:
    if unpaired == "":
        allowed = "an alignment for every sequence"
        raise InputError(server.address, "result", f"none for {sequence[:40]}", allowed)
    for text in filter(None, (unpaired, paired)):
        if problem := find_a3m_problem(text, sequence, "protein"):
            raise InputError(server.address, "alignment", sequence[:40], problem)
    row = {
        "kind": "protein",
        "sequence": sequence,
        "unpaired_msa": unpaired,
        "paired_msa": paired,
        # It brings alignments only; a search for templates would need databases.
        "templates": "[]",
        "source": f"{server.address} {server.mode}",
    }
    store.put(imported_key("protein", sequence, label), IMPORTED.table([row]))


def _touch(store: Store, label: str, server: Server) -> None:
    """Plans that used the label know by this file that there is more."""
    with replacing(label_path(store, label)) as temporary:
        text = f"{time.time_ns()} from {server.address} {server.mode}\n"
        temporary.write_text(text, encoding="utf-8")


def _ask(
    server: Server, place: str, mode: str, sequences: Sequence[str]
) -> dict[str, str]:
    """Sends sequences, waits, and takes the files of the answer."""
    numbered = enumerate(sequences, start=_FIRST_QUERY)
    query = "".join(f">{number}\n{sequence}\n" for number, sequence in numbered)
    deadline = time.monotonic() + server.give_up_after
    pause = server.seconds
    while True:
        told = _json(server, "POST", place, data={"q": query, "mode": mode})
        if told.get("status") not in _BUSY:
            break
        _wait(server, pause, deadline)
        pause = min(2 * pause, _LONGEST_PAUSE)
    while told.get("status") in (*_WAITING, *_BUSY):
        _wait(server, server.seconds, deadline)
        told = _json(server, "GET", f"ticket/{told['id']}") | {"id": told["id"]}
    if told.get("status") != "COMPLETE":
        said = f"it says {told.get('status')!r}"
        raise InputError(server.address, place, said, "COMPLETE")
    return _unpack(server, str(told["id"]))


def _wait(server: Server, seconds: float, deadline: float) -> None:
    if time.monotonic() + seconds > deadline:
        waited = f"no answer within {server.give_up_after:.0f} s"
        raise InputError(server.address, "ticket", waited, "the same command later")
    time.sleep(seconds)


def _json(server: Server, method: str, place: str, **more: Any) -> dict[str, Any]:
    """An answer of the protocol; a server that is busy may say so by HTTP, too."""
    reply = _call(server, method, place, **more)
    if reply.status_code in (429, 503):
        return {"status": "RATELIMIT"}
    try:
        reply.raise_for_status()
        told = reply.json()
    except requests.RequestException as error:
        allowed = "a server that speaks ColabFold's protocol"
        raise InputError(server.address, place, str(error)[:200], allowed) from error
    if not isinstance(told, dict):
        raise InputError(server.address, place, str(told)[:80], "a ticket")
    return told


def _call(server: Server, method: str, place: str, **more: Any) -> requests.Response:
    agent = f"foldmill {server.contact}".strip()
    try:
        return server.session.request(
            method,
            f"{server.address.rstrip('/')}/{place}",
            headers={"User-Agent": agent},
            timeout=_ANSWER_SECONDS,
            **more,
        )
    except requests.RequestException as error:
        allowed = "the address of a server that can be reached"
        raise InputError(
            server.address, place, type(error).__name__, allowed
        ) from error


def _unpack(server: Server, ticket: str) -> dict[str, str]:
    """The A3M files of an answer by name; nothing is written anywhere."""
    reply = _call(server, "GET", f"result/download/{ticket}")
    found: dict[str, str] = {}
    try:
        reply.raise_for_status()
        with tarfile.open(fileobj=io.BytesIO(reply.content)) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None and member.name.endswith(".a3m"):
                    found[member.name.rpartition("/")[2]] = file.read().decode()
    except (requests.RequestException, tarfile.TarError, UnicodeDecodeError) as error:
        allowed = "a tar archive of A3M files"
        said = f"{type(error).__name__}: {error}"[:200]
        raise InputError(server.address, "result", said, allowed) from error
    return found


def _blocks(text: str, count: int) -> list[str]:
    """The alignments of a file by query; "" for a query of which it has none."""
    found = [""] * count
    for block in text.split(_SEPARATOR):
        header = block.lstrip().partition("\n")[0].removeprefix(">").strip()
        number = header.split()[0] if header else ""
        if number.isdigit() and 0 <= int(number) - _FIRST_QUERY < count:
            found[int(number) - _FIRST_QUERY] += block.strip("\n") + "\n"
    return found


def _joined(files: dict[str, str], count: int) -> list[str]:
    """One alignment per query: of UniRef first, then of environmental sequences."""
    order = sorted(files, key=lambda name: (not name.startswith("uniref"), name))
    parts = [_blocks(files[name], count) for name in order if name != _PAIR_FILE]
    joined = []
    for blocks in zip(*parts, strict=True):
        first, *others = [*filter(None, blocks)] or [""]
        joined.append(first + "".join(map(_without_query, others)))
    return joined or [""] * count


def _without_query(text: str) -> str:
    """An alignment's rows after the first."""
    rows = text.split("\n>")
    return "".join(f">{row.rstrip()}\n" for row in rows[1:])


def _with_species(text: str) -> str:
    """Rows that are paired with those at the same place of the complex's other chains.

    The server has paired them already. AlphaFold 3 pairs rows of one species, so every
    row is named as if it were the only one of a species of its own.
    """
    query, *rows = text.lstrip(">").rstrip().split("\n>")
    named = [f">{query}"]
    for number, row in enumerate(rows):
        species = _letters(number)
        accession = f"A0A{species:0>7}"
        named.append(f">tr|{accession}|{accession}_{species} {row}")
    return "\n".join(named) + "\n" if text.strip() else ""


def _letters(number: int) -> str:
    """Five letters and digits for a number."""
    digits = base64.b32encode(number.to_bytes(5, "big")).decode()
    return digits[-5:]
