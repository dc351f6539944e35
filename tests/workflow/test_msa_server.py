"""A server on this machine, which speaks as ColabFold's and searches with MMseqs2."""

import io
import json
import shutil
import subprocess
import tarfile
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from af3_core.inputs.files import read_jobs
from af3_core.job import InputError, Job, Polymer
from af3_core.msa import parse_a3m, species_id
from tests.workflow.campaigns import DATABASES, NEVER_RUN, job, make_campaign
from workflow.campaign import Campaign
from workflow.cli import main
from workflow.imports import with_imported
from workflow.msa_server import Server, fetch_alignments, find_wanted
from workflow.plan import make_plan
from workflow.settings import read_settings
from workflow.store.entries import Store

MMSEQS = shutil.which("mmseqs")
pytestmark = pytest.mark.skipif(
    MMSEQS is None, reason="no mmseqs on the PATH (apt install mmseqs2)"
)
UNIREF, ENVIRONMENTAL = (
    DATABASES.parent / f"{n}.fasta" for n in ("uniref90", "mgnify")
)


@dataclass
class Site:
    """The server: what it was asked, and its moods."""

    folder: Path
    address: str = ""
    asked: list[str] = field(default_factory=list)
    """`METHOD place` of every request."""
    modes: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    """Sequences, in the order in which they came."""
    agents: set[str] = field(default_factory=set)
    busy: int = 0
    """Requests that are turned away, one by one."""
    works: int = 10**9
    """Tickets that do not end in an error."""
    answers: dict[str, bytes] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)


def search(folder: Path, query: str, database: Path) -> str:
    """What MMseqs2 itself makes of queries: alignments in A3M, a NUL between them."""
    folder.mkdir(parents=True)
    (folder / "q.fasta").write_text(query, encoding="utf-8")

    def mmseqs(*arguments: str) -> None:
        command = [str(MMSEQS), *arguments, "--threads", "1", "-v", "1"]
        subprocess.run(command, cwd=folder, check=True)

    for name, file in (("q", "q.fasta"), ("t", str(database))):
        subprocess.run(
            [str(MMSEQS), "createdb", file, name, "-v", "1"], cwd=folder, check=True
        )
    mmseqs("search", "q", "t", "found", "tmp", "-a", "-s", "7.5")
    mmseqs("result2msa", "q", "t", "found", "msa", "--msa-format-mode", "5")
    return (folder / "msa").read_bytes().decode()


def packed(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def pairs(alignments: str) -> str:
    """As many rows of every query as all of them have, in order."""
    blocks = [b.strip().split("\n>") for b in alignments.split("\x00") if b.strip()]
    fewest = min(map(len, blocks))
    return "\x00".join("\n>".join(block[:fewest]) + "\n" for block in blocks)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path / "site")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._note("POST")
            length = int(self.headers["Content-Length"])
            form = urllib.parse.parse_qs(self.rfile.read(length).decode())
            (query,), (mode,) = form["q"], form["mode"]
            if found.busy:
                found.busy -= 1
                self._say({"status": "RATELIMIT"})
                return
            found.modes.append(mode)
            found.sent += query.split("\n")[1::2]
            ticket = f"t{len(found.answers)}"
            if len(found.answers) >= found.works:
                self._say({"id": ticket, "status": "ERROR"})
                return
            found.running.add(ticket)
            found.answers[ticket] = packed(self._files(ticket, query, mode))
            self._say({"id": ticket, "status": "PENDING"})

        def _files(self, ticket: str, query: str, mode: str) -> dict[str, str]:
            uniref = search(found.folder / ticket / "u", query, UNIREF)
            if self.path.endswith("pair"):
                return {"pair.a3m": pairs(uniref)}
            files = {"uniref.a3m": uniref, "msa.sh": "echo"}
            if mode == "env":
                name = "bfd.mgnify30.metaeuk30.smag30.a3m"
                files[name] = search(found.folder / ticket / "e", query, ENVIRONMENTAL)
            return files

        def do_GET(self) -> None:
            self._note("GET")
            ticket = self.path.rpartition("/")[2]
            if "download" in self.path:
                self._send(found.answers[ticket], "application/gzip")
                return
            status = "RUNNING" if ticket in found.running else "COMPLETE"
            found.running.discard(ticket)
            self._say({"status": status})

        def _note(self, method: str) -> None:
            found.asked.append(f"{method} {self.path.strip('/')}")
            found.agents.add(self.headers["User-Agent"])

        def _say(self, told: dict[str, str]) -> None:
            self._send(json.dumps(told).encode(), "application/json")

        def _send(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.address = f"http://127.0.0.1:{server.server_port}"
        yield found
        server.shutdown()


def queries() -> dict[str, str]:
    """Relatives of what is in the databases, by name."""
    records = (DATABASES.parent / "queries.fasta").read_text("utf-8").split(">")[1:]
    lines = (record.split("\n", 1) for record in records)
    found = {name.split()[0]: text.replace("\n", "") for name, text in lines}
    return {name: text for name, text in found.items() if set(text) - set("ACGU")}


def jobs_of(folder: Path, **sequences: tuple[str, ...]) -> list[Job]:
    """Jobs whose proteins nothing is known of."""
    found = []
    for name, those in sequences.items():
        entities = [
            {"protein": {"id": "ABCD"[n], "sequence": text}}
            for n, text in enumerate(those)
        ]
        path = folder / f"{name}.json"
        path.write_text(job(name, *entities), encoding="utf-8")
        (read,), errors = read_jobs(path)
        assert not errors
        found.append(read)
    return found


def server_of(site: Site) -> Server:
    return Server(site.address, "ada@example.org", seconds=0.01, give_up_after=60)


def chains(asked: Job) -> list[Polymer]:
    return [entity for entity in asked.entities if isinstance(entity, Polymer)]


def names_in(a3m: str) -> set[str]:
    """Of the rows of an alignment after its query."""
    headers = [line for line in a3m.splitlines() if line.startswith(">")]
    return {header[1:].split()[0] for header in headers[1:]}


def test_alignments_are_those_that_mmseqs_finds(site: Site, tmp_path: Path) -> None:
    sequence = queries()["ubiquitin"]
    (asked,) = jobs_of(tmp_path, one=(sequence,))
    store = Store(tmp_path / "store")
    site.busy = 2
    fetch_alignments(server_of(site), find_wanted([asked], store, "mm"), store, "mm")
    (chain,) = chains(with_imported(asked, store, ["mm"]))
    names = names_in(chain.unpaired_msa)
    expected = set()
    for database in (UNIREF, ENVIRONMENTAL):
        folder = tmp_path / f"own_{database.stem}"
        text = search(folder, f">101\n{sequence}\n", database)
        expected |= names_in(text)
    assert names == expected
    assert len(names) >= 5
    assert chain.unpaired_msa.splitlines()[1] == sequence
    assert (chain.paired_msa, chain.templates) == ("", ())
    assert site.agents == {"foldmill ada@example.org"}
    assert site.asked.count("POST ticket/msa") == 3, "two were turned away"
    assert with_imported(asked, store, ["another"]) == asked


def test_pairs_of_the_server_stay_pairs(site: Site, tmp_path: Path) -> None:
    both = (queries()["ubiquitin"], queries()["crambin"])
    complex_, alone = jobs_of(tmp_path, both=both, alone=both[:1])
    store = Store(tmp_path / "store")
    wanted = find_wanted([complex_, alone], store, "mm")
    assert (len(wanted.sequences), wanted.complexes) == (2, (tuple(sorted(both)),))
    fetch_alignments(server_of(site), wanted, store, "mm")
    assert site.modes == ["env", "pairgreedy-env"]
    first, second = chains(with_imported(complex_, store, ["mm"]))
    species = []
    for chain in (first, second):
        rows = parse_a3m(chain.paired_msa)
        assert rows.sequences[0] == chain.sequence
        species.append([species_id(text) for text in rows.descriptions[1:]])
    assert species[0] == species[1]
    assert len(set(species[0])) == len(species[0]) >= 2, "one row of each"
    (single,) = chains(with_imported(alone, store, ["mm"]))
    assert single.paired_msa == ""


def test_what_has_come_is_not_asked_for_again(site: Site, tmp_path: Path) -> None:
    texts = [f"{queries()['ubiquitin']}{'A' * n}" for n in range(1, 13)]
    jobs = jobs_of(tmp_path, **{f"j{n}": (text,) for n, text in enumerate(texts)})
    store = Store(tmp_path / "store")
    site.works = 1
    with pytest.raises(InputError, match="ERROR"):
        fetch_alignments(server_of(site), find_wanted(jobs, store, "mm"), store, "mm")
    assert len(site.sent) == 12
    site.works, site.sent = 10**9, []
    fetch_alignments(server_of(site), find_wanted(jobs, store, "mm"), store, "mm")
    assert sorted(site.sent) == sorted(texts[10:])
    assert find_wanted(jobs, store, "mm").total == 0


def test_a_server_that_stays_busy_or_is_none_is_told(
    site: Site, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    wanted = find_wanted(jobs_of(tmp_path, one=(queries()["crambin"],)), store, "mm")
    site.busy = 10**6
    impatient = replace(server_of(site), give_up_after=0.2)
    with pytest.raises(InputError, match="same command later"):
        fetch_alignments(impatient, wanted, store, "mm")
    nobody = replace(server_of(site), address="http://127.0.0.1:9")
    with pytest.raises(InputError, match="can be reached"):
        fetch_alignments(nobody, wanted, store, "mm")


def test_the_command_asks_before_sequences_leave_and_keeps_its_limit(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    sequence = queries()["crambin"]
    entity = {"protein": {"id": "A", "sequence": sequence}}
    folder = make_campaign(
        tmp_path / "c", {"one.json": job("one", entity)}, network=NEVER_RUN
    )
    monkeypatch.chdir(folder)
    command = ["import-server", site.address, "--label", "mine"]
    assert main([*command, "--most", "0", "--yes"]) == 2
    assert "at most 0" in capsys.readouterr().err
    assert main(command) != 0, "nobody said yes"
    assert site.asked == []
    assert main([*command, "--yes", "--no-environmental"]) == 0
    assert site.modes == ["all"]
    assert "search.imported: [mine]" in capsys.readouterr().out
    settings = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    settings["search"]["imported"] = ["mine"]
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    assert main([*command, "--yes"]) == 0
    assert len(site.modes) == 1
    # A table of databases with its heading alone: nothing else is searched.
    heading = DATABASES.read_text("utf-8").partition("\n")[0]
    (folder / "none.tsv").write_text(f"{heading}\n", "utf-8")
    settings["search"]["databases"] = "none.tsv"
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    plan = make_plan(Campaign(), read_settings(Path("config.yaml")), None).plan
    assert (len(plan.jobs), plan.search, plan.templates) == (1, {}, {})
