"""Two passes: what a cheap one keeps of the hits of a full one, and at which cost.

    python -m benchmarks.bench_passes [--folder FOLDER]

All against all of what the demo's network has memorised, its DNA, which one protein
binds, and decoys. A full pass over everything is what a cheap one is measured by; then
the best fifth of the cheap pass is computed in full, as `docs/screens.md` has it.
Cost is time on the device, without compilation.

Markdown goes to benchmarks/results/passes.md.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from af3_core.contracts import SCREEN, ScreenRow
from benchmarks.bench_screens import (
    DEMO,
    SETTINGS,
    computed,
    fasta,
    make_campaign,
    run,
)
from benchmarks.page import RESULTS, command_line, machine, publish
from workflow.campaign import Campaign
from workflow.tables import read_rows

PAGE = RESULTS / "passes.md"
LAC = "MKPVTLYDVAEYAGVSYQTVSRVVNQASHVSAKTREKVEAAMAELNYIPNR"
OPERATOR = "AATTGTGAGCG"
FULL: Mapping[str, int] = {
    "num_recycles": 1,
    "num_diffusion_steps": 20,
    "num_samples": 3,
}
CHEAP: Mapping[str, int] = {
    "num_recycles": 0,
    "num_diffusion_steps": 5,
    "num_samples": 1,
}
BY, HITS, SHARE = "iptm", 0.1, 0.2
"""The score, the share of all pairs that are hits, the share that is computed again."""
_SHARES = (0.1, 0.2, 0.3, 0.5)


def proteins(decoys: int) -> dict[str, str]:
    """The demo's memorised ones and unseen ones as decoys, by name."""
    found = {"lac_repressor": LAC}
    for file, most in (("memorised.fasta", 99), ("unseen.fasta", decoys)):
        text = (DEMO / "inputs" / file).read_text(encoding="ascii")
        records = text.split(">")[1 : most + 1]
        for record in records:
            name, *lines = record.splitlines()
            found[name.split()[0]] = "".join(lines)
    return found


def first_pass(folder: Path, network: Mapping[str, int], decoys: int) -> Campaign:
    """All against all with these settings, run to the end."""
    text = (
        "sequences: proteins.fasta\n"
        f"define: {{operator: 'dsdna:{OPERATOR}'}}\n"
        "all_against_all: '*'\n"
    )
    return _run(folder, text, {"proteins.fasta": fasta(proteins(decoys))}, network)


def second_pass(folder: Path, first: Path, network: Mapping[str, int]) -> Campaign:
    """The best pairs of another campaign."""
    text = f"best: {{of: '../{first.name}', by: {BY}, share: {SHARE}}}\n"
    return _run(folder, text, {}, network)


def _run(
    folder: Path, text: str, files: Mapping[str, str], network: Mapping[str, int]
) -> Campaign:
    make_campaign(
        folder,
        {"screen": text},
        files,
        model={**SETTINGS["model"], **network},
        search={**SETTINGS["search"], "store": str(folder.parent / "store")},
        predict={
            **SETTINGS["predict"],
            "buckets": [160],
            "compilation_cache": str(folder.parent / "store/compiled"),
        },
    )
    run(folder)
    return Campaign(folder)


def ranked(campaign: Campaign) -> list[ScreenRow]:
    """Its pairs, the best first."""
    rows = read_rows(campaign.tables / "screen.parquet", SCREEN)
    return sorted(rows, key=lambda row: -getattr(row, BY))


def pair_of(row: ScreenRow) -> tuple[str, str]:
    """The names of a row's partners."""
    return row.partner_1, row.partner_2


def cost_of(campaign: Campaign) -> float:
    """Time on the device for one prediction, those that compiled left out, s."""
    spent = [row.end - row.start for row in computed(campaign) if not row.compiled]
    return sum(spent) / len(spent)


def format_results(full: Campaign, cheap: Campaign, second: Campaign) -> str:
    """The page of results."""
    everything, quick, again = ranked(full), ranked(cheap), ranked(second)
    number = len(everything)
    hits = {pair_of(row) for row in everything[: round(HITS * number)]}
    cost_full, cost_cheap = cost_of(full), cost_of(cheap)
    lines = []
    for share in _SHARES:
        kept = {pair_of(row) for row in quick[: round(share * number)]}
        cost = (cost_cheap + share * cost_full) / cost_full
        lines.append(
            f"| {share:.0%} | {cost_cheap / cost_full:.0%} + {share:.0%} = {cost:.0%} "
            f"| {len(hits & kept)} of {len(hits)} |"
        )
    truth = ("lac_repressor", "operator")
    places = [
        next(rank for rank, row in enumerate(rows, 1) if pair_of(row) == truth)
        if any(pair_of(row) == truth for row in rows)
        else None
        for rows in (everything, quick, again)
    ]
    scores = {pair_of(row): getattr(row, BY) for row in everything}
    apart = max(abs(getattr(row, BY) - scores[pair_of(row)]) for row in again)
    match = f"as in the full pass to within {apart:.1g}"
    if apart == 0:
        match = "exactly as in the full pass"
    return f"""# Two passes over the demo's proteins and its DNA

`python -m benchmarks.bench_passes` on {machine()}. {number} pairs.

- the full pass: {_words(FULL)}; {cost_full:.2f} s a pair
- the cheap pass: {_words(CHEAP)}; {cost_cheap:.2f} s a pair

Hits are the tenth that scores best in the full pass, by {BY}. The network is small and
has seen one complex: what it makes of other pairs is noise, and so are most hits.

| computed again | cost, of a full pass over everything | hits kept |
| --: | --: | --: |
{chr(10).join(lines)}

The one complex that the network knows, {truth[0]} and {truth[1]}, is at rank
{places[0]} of the full pass and {places[1]} of the cheap one. The second pass over its
best {SHARE:.0%} has it at rank {places[2]}; its {len(again)} pairs score {match}.
"""


def _words(network: Mapping[str, int]) -> str:
    named = {"num_recycles": "recycle", "num_diffusion_steps": "step"}
    named["num_samples"] = "sample"
    counts = {word: network[name] for name, word in named.items()}
    return ", ".join(f"{n} {word}{'s' * (n != 1)}" for word, n in counts.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs three campaigns and writes the page."""
    parser = command_line("bench_passes", __doc__)
    parser.add_argument("--decoys", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep the campaigns here")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        cheap = first_pass(folder / "cheap", CHEAP, arguments.decoys)
        second = second_pass(folder / "second", folder / "cheap", FULL)
        full = first_pass(folder / "full", FULL, arguments.decoys)
        page = format_results(full, cheap, second)
    publish(PAGE, page.splitlines())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
