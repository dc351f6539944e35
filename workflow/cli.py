"""The `foldmill` command.

Each command is a thin function over the module that does the work, imported when the
command runs, so that help is there at once. Everything that computes is Snakemake
underneath: `snakemake` in the campaign's folder does the same with its own output.
"""

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workflow.cli_data import databases, examples, store

if TYPE_CHECKING:
    from rich.console import Console

    from workflow.campaign import Campaign
    from workflow.launch import Launched
    from workflow.preflight import Problem

EXIT_FAILED, EXIT_WRONG, EXIT_STOPPED = 1, 2, 130
"""Something has no result; something has to be mended first; stopped."""

app = typer.Typer(
    name="foldmill",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="AlphaFold 3 over a proteome or a screen, on a laptop or a Slurm cluster.",
    epilog="Exit status: 0 all is well, 1 something has no result, 2 something has to"
    " be mended first, 128 and more: stopped by a signal.",
)

_HERE = Path()
_RUNS = "0 all jobs have results, 1 some have none, 2 nothing was started, 130 stopped"
_CHECKS = "0 it can run, 2 something has to be mended first"
Directory = Annotated[
    Path,
    typer.Option("--directory", "-d", metavar="FOLDER", help="The campaign's folder."),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--configfile",
        metavar="FILE",
        help="Settings, in place of the folder's config.yaml.",
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Where jobs run: slurm, lsf, or a folder with a profile of Snakemake's."
        " Without it, they run on this machine.",
    ),
]
Jobs = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Only this job; may be given several times."),
]


@dataclass(frozen=True)
class _Opened:
    """A campaign in which no mistake was found that stops it."""

    campaign: "Campaign"
    config: Path
    profile: str | None
    options: list[str]
    """Snakemake's own, as they were given."""


def _of_campaign(
    *, with_weights: bool
) -> Callable[[Callable[[_Opened], None]], Callable[..., None]]:
    """Gives a command the options that say which campaign is meant and how it runs.

    `with_weights`: whether it needs weights that are whole, which takes seconds to see.
    """

    def of_campaign(work: Callable[[_Opened], None]) -> Callable[..., None]:
        def command(
            context: typer.Context,
            directory: Directory = _HERE,
            configfile: Config = None,
            profile: Profile = None,
        ) -> None:
            campaign, config = _open(directory, configfile)
            _require_no_mistake(campaign, config, profile, with_weights=with_weights)
            work(_Opened(campaign, config, profile, context.args))

        command.__name__, command.__doc__ = work.__name__, work.__doc__
        return command

    return of_campaign


_PASSING = {"allow_extra_args": True, "ignore_unknown_options": True}
_DRY_RUN = {"-n", "--dry-run", "--dryrun"}

weights = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Fetch, import and describe weights of the network.",
)

app.add_typer(databases, name="databases")
app.add_typer(store, name="store")
app.add_typer(weights, name="weights")


@weights.command("import", epilog=examples("foldmill weights import of3.pt"))
def import_weights(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="OpenFold3's weights, a .pt file.")
    ],
    out: Annotated[
        str, typer.Option(metavar="NAME", help="A name or path for the checkpoint.")
    ] = "openfold3",
) -> None:
    """Turn OpenFold3's weights into a checkpoint."""
    from workflow.weights import import_weights

    typer.echo(f"model.checkpoint: {import_weights(file, out)}")


@weights.command("show", epilog=examples("foldmill weights show /data/af3.bin.zst"))
def show_weights(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A checkpoint's name or path.")
    ],
) -> None:
    """Say whose weights a checkpoint holds, and on what terms."""
    from rich.console import Console

    from workflow.weights import checkpoint_path, show_weights

    show_weights(checkpoint_path(name), Console(highlight=False))


@weights.command("fetch", epilog=examples("foldmill weights fetch openfold3"))
def fetch_weights(
    vendor: Annotated[
        str, typer.Argument(metavar="VENDOR", help="alphafold3 or openfold3.")
    ],
    folder: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where they go.")
    ] = Path("models"),
    address: Annotated[
        str,
        typer.Option(metavar="URL", help="Load from here, not from the vendor."),
    ] = "",
    sha256: Annotated[
        str, typer.Option(metavar="HEX", help="The digest that the file must have.")
    ] = "",
    accept_terms: Annotated[
        bool,
        typer.Option("--accept-terms", help="Accept the terms without a question."),
    ] = False,
) -> None:
    """Load weights from those who publish them, and check them."""
    from rich.console import Console

    from workflow.weights import Wish, fetch_with_progress, vendor_of

    wish = Wish(vendor_of(vendor), folder, address, sha256)
    console = Console(highlight=False)
    path = fetch_with_progress(wish, console, accepted=accept_terms)
    typer.echo(f"model.checkpoint: {path}")


def _print_version(asked: bool) -> None:
    if asked:
        import importlib.metadata

        typer.echo(f"foldmill {importlib.metadata.version('foldmill')}")
        raise typer.Exit()


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Say which version this is, and exit.",
        ),
    ] = False,
) -> None:
    """AlphaFold 3 over a proteome or a screen, on a laptop or a Slurm cluster."""


@app.command(
    epilog=examples(
        "foldmill init mine --inputs proteome.fasta --weights af3.bin.zst",
        "foldmill init mine --inputs screen.yaml --profile slurm",
    )
)
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The new campaign's folder.")
    ],
    inputs: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Jobs: a file or folder; may be given several times.",
        ),
    ] = None,
    databases: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The table of databases.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The network's checkpoint.")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="A search store that campaigns share. Without it, one is made here.",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="slurm or lsf: copied into the folder, to be adapted to your site.",
        ),
    ] = None,
) -> None:
    """Make a campaign's folder, its configuration filled in.

    What is not given here is left to be written into config.yaml, which explains every
    setting.
    """
    from workflow.init import Answers, init_campaign

    answers = Answers(inputs or (), databases, weights, store, profile)
    for path in init_campaign(folder, answers):
        typer.echo(path)
    typer.echo(f"Next: foldmill check --directory {folder}")


@app.command(
    epilog=examples(
        "foldmill check --directory /scratch/mine --profile slurm", status=_CHECKS
    )
)
def check(
    directory: Directory = _HERE,
    configfile: Config = None,
    profile: Profile = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="As JSON, for programs.")
    ] = False,
) -> None:
    """Look for mistakes before they cost: all of them, at once.

    Looks at configuration, inputs, weights, databases, store, disk, GPU, and at what
    the scheduler would say of the profile.
    """
    from workflow.preflight import as_json as format_json

    campaign, config = _open(directory, configfile)
    problems = _find_problems(campaign, config, profile, with_inputs=True)
    if as_json:
        typer.echo(format_json(problems))
    else:
        for problem in problems:
            typer.echo(f"{'wrong' if problem.stops else 'careful'}: {problem}")
        if not problems:
            typer.echo("No mistake found.")
    if any(problem.stops for problem in problems):
        raise typer.Exit(EXIT_WRONG)


@app.command(epilog=examples("foldmill plan --directory /scratch/mine", status=_CHECKS))
@_of_campaign(with_weights=False)
def plan(opened: _Opened) -> None:
    """Say what a run will take: hours, memory, jobs, disk.

    Also which inputs are refused, and why. Nothing is started or written. `foldmill
    run -n` shows the jobs themselves; whether the weights are whole, `foldmill check`
    says.
    """
    from workflow.settings import read_settings
    from workflow.summary import print_plan

    # Paths of the settings are relative to the campaign's folder.
    os.chdir(opened.campaign.root)
    print_plan(opened.campaign, read_settings(opened.config), _console())


@app.command(
    context_settings=_PASSING,
    epilog=examples(
        "foldmill run --directory /scratch/mine --profile slurm",
        "foldmill run -n          # what would run, what is made again and why",
        "foldmill run --cores 8   # options of Snakemake's may follow",
        status=_RUNS,
    ),
)
@_of_campaign(with_weights=True)
def run(opened: _Opened) -> None:
    """Run the campaign, or go on with it.

    Stop it with Ctrl-C: the same command goes on where it ended.
    """
    if _DRY_RUN.intersection(opened.options):
        raise typer.Exit(_show_run(opened))
    raise typer.Exit(_run(opened))


@app.command(
    context_settings=_PASSING,
    epilog=examples("foldmill retry --directory /scratch/mine", status=_RUNS),
)
@_of_campaign(with_weights=True)
def retry(opened: _Opened) -> None:
    """Run, and try again what failed, unless by its own input.

    As `foldmill run`, which does not try such items again by itself.
    """
    from workflow.batches import load_plan
    from workflow.retry import ask_for_retry

    planned = load_plan(opened.campaign)
    count = ask_for_retry(opened.campaign, planned) if planned is not None else 0
    typer.echo(f"{count} failed items will be tried again.")
    raise typer.Exit(_run(opened))


@app.command(epilog=examples("foldmill status --directory /scratch/mine --watch"))
def status(
    directory: Directory = _HERE,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again until all is over.")
    ] = False,
    seconds: Annotated[
        float, typer.Option(metavar="N", help="Seconds between two looks.")
    ] = 10.0,
) -> None:
    """Say how far a campaign is, while it runs or after.

    From any terminal, also of jobs on Slurm: items by stage, hours used and left, and
    what went wrong so far.
    """
    import time

    from workflow.status import print_status, read_status

    campaign, console = _campaign(directory), _console()
    while True:
        found = read_status(campaign)
        if found is None:
            typer.echo("Nothing has run here yet: foldmill run")
            raise typer.Exit(EXIT_FAILED)
        if watch and console.is_terminal:
            console.clear()
        print_status(found, console)
        if not watch or found.is_over:
            return
        time.sleep(seconds)


@app.command(
    epilog=examples(
        'foldmill query "SELECT name, iptm FROM scores WHERE rank = 1" mine'
    )
)
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="The question.")],
    campaigns: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FOLDER", help="Campaigns. Without any, the one here."),
    ] = None,
) -> None:
    """Ask the tables of campaigns a question in SQL.

    There are scores, interfaces, screen, outcomes, failures and provenance; while a
    campaign runs, they have what is finished. docs/query.md lists their columns.
    """
    from workflow.query import main as ask

    raise typer.Exit(ask([sql, *map(str, campaigns or ())]))


@app.command(epilog=examples("foldmill results --top 50 --by ipsae"))
def results(
    directory: Directory = _HERE,
    top: Annotated[int, typer.Option(metavar="N", help="How many to show.")] = 20,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="SCORE", help="Ranks by a score, such as ipsae, iptm or pae_min."
        ),
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print all columns, as CSV.")
    ] = False,
) -> None:
    """Show the best pairs of a screen, or the best jobs.

    While a campaign runs, of what is finished.
    """
    from workflow.best import print_best, write_best
    from workflow.so_far import describe_so_far, with_tables

    with with_tables(_campaign(directory)) as campaign:
        if as_csv:
            write_best(campaign, by=by, top=top)
        else:
            print_best(campaign, _console(), by=by, top=top)
        if sentence := describe_so_far(campaign):
            typer.echo(sentence, err=as_csv)


@app.command(epilog=examples("foldmill report --jobs crambin --out crambin.html"))
def report(
    directory: Directory = _HERE,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page to write.")
    ] = None,
    title: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Its title, else the folder's name."),
    ] = None,
    jobs: Jobs = None,
) -> None:
    """Write the report: a page to open in a browser.

    A run writes it at its end. This writes it of what is finished, of some jobs, or
    under another title.
    """
    from workflow.report.__main__ import write_page
    from workflow.so_far import describe_so_far, with_tables

    with with_tables(_campaign(directory)) as campaign:
        sentence = describe_so_far(campaign)
        # What a campaign leaves at its end is not anticipated.
        page = campaign.results / "report_so_far.html" if sentence else campaign.report
        said = write_page(
            campaign, out or page, title=title, jobs=tuple(jobs or ()), note=sentence
        )
        typer.echo(said)
        if sentence:
            typer.echo(sentence)


@app.command(epilog=examples("foldmill timeline --out timeline.png"))
def timeline(
    batches: Annotated[
        list[str] | None,
        typer.Argument(metavar="BATCH", help="Without any: all batches."),
    ] = None,
    directory: Directory = _HERE,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="SVG, PNG or PDF; else in the results."),
    ] = None,
) -> None:
    """Draw what the device did in each batch, and when it waited."""
    from workflow.timeline import main as draw

    arguments = [*(batches or ()), *(["--out", str(out.absolute())] if out else ())]
    _enter(directory)
    raise typer.Exit(draw(arguments))


@app.command(
    epilog=examples(
        "foldmill export a3m alignments",
        "foldmill export table alignments.parquet",
        "foldmill export figures plots --jobs crambin",
    )
)
def export(
    form: Annotated[
        Literal["a3m", "table", "figures", "multiqc"],
        typer.Argument(
            metavar="FORM",
            help="a3m: alignments as files; table: as one Parquet table; figures: PNG;"
            " multiqc: files for MultiQC.",
        ),
    ],
    target: Annotated[
        Path | None,
        typer.Argument(metavar="PATH", help="The folder, or the table's file."),
    ] = None,
    directory: Directory = _HERE,
    jobs: Jobs = None,
) -> None:
    """Write alignments, figures or tables for use elsewhere.

    Structures need no such command: see `export` in config.yaml and results/alphafold3.
    With --jobs, figures are those of single jobs, else of all scores.
    """
    from workflow.alignments import main as alignments
    from workflow.figures import main as figures

    default = "alignments.parquet" if form == "table" else form
    path = str((target or Path(default)).absolute())
    if form == "multiqc":
        from workflow.multiqc import write_multiqc
        from workflow.so_far import with_tables

        with with_tables(_campaign(directory)) as campaign:
            for written in write_multiqc(campaign, Path(path)):
                typer.echo(written)
        return
    _enter(directory)
    if form == "figures":
        raise typer.Exit(figures([*(["--jobs", *jobs] if jobs else ()), "--out", path]))
    raise typer.Exit(alignments([form, path]))


@app.command(epilog=examples("foldmill clean --directory /scratch/mine"))
def clean(
    directory: Directory = _HERE,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove without a question.")
    ] = False,
) -> None:
    """Remove what no job of the campaign owns any more.

    That is what jobs left that were changed or taken out. It is listed first.
    """
    from workflow.clean import describe, find_unowned, remove_unowned
    from workflow.step import read_plan

    campaign = _campaign(directory)
    found = find_unowned(campaign, read_plan(campaign))
    if not found.files and not found.exports:
        typer.echo("Nothing to remove.")
        return
    for line in describe(found):
        typer.echo(line)
    if not yes and not typer.confirm("Remove all this?"):
        raise typer.Exit(EXIT_FAILED)
    remove_unowned(campaign, found)
    typer.echo("Removed.")


@app.command(
    "import",
    epilog=examples("foldmill import old_results --label af3-2025 --store /data/store"),
)
def import_(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="AlphaFold 3's results, or a folder of A3M files."
        ),
    ],
    label: Annotated[
        str, typer.Option(metavar="NAME", help="A name for where this is from.")
    ],
    store_folder: Annotated[
        Path, typer.Option("--store", metavar="FOLDER", help="The search store.")
    ],
) -> None:
    """Take up alignments that other programs have found.

    Templates, too, where there are any. A campaign whose `search.imported` names the
    label uses them for equal sequences.
    """
    from workflow.imports import import_folder
    from workflow.store.entries import Store

    found = import_folder(folder, Store(store_folder), label)
    for problem in found.problems:
        typer.echo(f"left out: {problem}", err=True)
    typer.echo(f"{found.sequences} sequences under the label {label}")
    if found.problems:
        raise typer.Exit(EXIT_FAILED)


@app.command(
    "import-server",
    epilog=examples(
        "foldmill import-server https://api.colabfold.com --label colabfold"
    ),
)
def import_server(
    address: Annotated[
        str, typer.Argument(metavar="URL", help="The address of an MMseqs2 server.")
    ],
    directory: Directory = _HERE,
    configfile: Config = None,
    label: Annotated[
        str, typer.Option(metavar="NAME", help="A name for it in the store.")
    ] = "server",
    most: Annotated[
        int, typer.Option(metavar="N", help="The most sequences to send.")
    ] = 200,
    contact: Annotated[
        str, typer.Option(metavar="EMAIL", help="Tells its keepers who you are.")
    ] = "",
    no_environmental: Annotated[
        bool,
        typer.Option("--no-environmental", help="Leave out environmental sequences."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Send without a question.")
    ] = False,
) -> None:
    """Have a few proteins searched by an MMseqs2 server.

    The sequences of a small campaign leave this machine. The alignments go into the
    store under the label, for `search.imported`.
    """
    from af3_core.job import InputError
    from workflow.msa_server import Server, fetch_alignments, find_wanted
    from workflow.plan import find_unreadable, read_jobs_of
    from workflow.settings import read_settings
    from workflow.store.entries import Store

    _, config = _open(directory, configfile)
    _enter(directory)
    settings = read_settings(config)
    left_out = find_unreadable(settings)
    for refusal in left_out:
        typer.echo(f"left out: {refusal.error}", err=True)
    store = Store(settings.search.store)
    wanted = find_wanted(read_jobs_of(settings), store, label)
    if wanted.total > most:
        allowed = f"at most {most}, or more with --most: others use the server, too"
        raise InputError("foldmill", "sequences", str(wanted.total), allowed)
    if wanted.total:
        sent = f"{wanted.total} sequences leave this machine for {address}."
        if not yes and not typer.confirm(f"{sent} Go on?"):
            raise typer.Exit(EXIT_WRONG)
        fetch_alignments(
            Server(address, contact, not no_environmental),
            wanted,
            store,
            label,
            lambda done, total: typer.echo(f"{done} of {total} sequences"),
        )
    typer.echo(f"All are there. In the configuration: search.imported: [{label}]")
    if left_out:
        raise typer.Exit(EXIT_FAILED)


@app.command(epilog=examples("foldmill demo", status=_RUNS))
def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to run it.")
    ] = Path("foldmill-demo"),
) -> None:
    """Run the demo: thirteen small jobs, end to end.

    It takes minutes on two processors and needs no weights, databases or GPU. Its small
    network has memorised most of these jobs: it is for trying the workflow only.
    """
    from workflow.init import write_demo

    config = write_demo(folder)
    campaign, _ = _open(folder, config)
    raise typer.Exit(_run(_Opened(campaign, config, None, [])))


@app.command(epilog=examples("foldmill version"))
def version() -> None:
    """Say which version this is, and of what it computes with."""
    import importlib.metadata

    for package in ("foldmill", "jax", "jaxlib", "snakemake", "pyhmmer", "openmm"):
        typer.echo(f"{package} {importlib.metadata.version(package)}")


def _campaign(directory: Path) -> "Campaign":
    """The campaign of a folder.

    Raises:
        InputError: there is no such folder, or it is of another release.
    """
    from af3_core.job import InputError
    from workflow.batches import refuse_other_release
    from workflow.campaign import Campaign

    if not directory.is_dir():
        allowed = "a campaign's folder; `foldmill init` makes one"
        raise InputError("foldmill", "--directory", str(directory), allowed)
    campaign = Campaign(directory.resolve())
    refuse_other_release(campaign)
    return campaign


def _open(directory: Path, configfile: Path | None) -> "tuple[Campaign, Path]":
    """A campaign and its configuration.

    Raises:
        InputError: there is no such folder, or no configuration.
    """
    from af3_core.job import InputError

    campaign = _campaign(directory)
    places = [campaign.root / "config.yaml", campaign.root / "config/config.yaml"]
    for place in places if configfile is None else [configfile.resolve()]:
        if place.is_file():
            return campaign, place
    allowed = "a configuration; `foldmill init` writes one"
    wanted = str(configfile or places[0])
    raise InputError(wanted, "--configfile", "no such file", allowed)


def _enter(directory: Path) -> None:
    """For programs that work where they are."""
    os.chdir(_campaign(directory).root)


def _find_problems(
    campaign: "Campaign",
    config: Path,
    profile: str | None,
    *,
    with_weights: bool = True,
    with_inputs: bool = False,
) -> "list[Problem]":
    """Mistakes of the configuration; where there is none, of all that it names."""
    from workflow.launch import find_profile
    from workflow.preflight import find_problems, problem_of
    from workflow.settings import find_mistakes, read_settings

    if mistakes := find_mistakes(config):
        return [problem_of(mistake) for mistake in mistakes]
    place = None if profile is None else Path(find_profile(profile, campaign.root))
    settings = read_settings(config)
    return find_problems(
        settings,
        campaign.root,
        place,
        with_weights=with_weights,
        with_inputs=with_inputs,
    )


def _require_no_mistake(
    campaign: "Campaign", config: Path, profile: str | None, *, with_weights: bool
) -> None:
    """Tells all mistakes; ends the command where one of them stops the campaign."""
    problems = _find_problems(campaign, config, profile, with_weights=with_weights)
    for problem in problems:
        typer.echo(f"{'wrong' if problem.stops else 'careful'}: {problem}", err=True)
    if any(problem.stops for problem in problems):
        raise typer.Exit(EXIT_WRONG)


def _run(opened: _Opened) -> int:
    """Runs Snakemake, shows how far it is, and what came of it."""
    from workflow.launch import print_failures, print_room
    from workflow.summary import print_results

    console, campaign = _console(), opened.campaign
    ended = _launch(opened, console)
    print_room(ended, campaign.root, console)
    if ended.is_stopped:
        console.print("Stopped. The same command goes on where this one ended.")
        return ended.status
    if ended.had_nothing_to_do:
        console.print("Nothing to be done: all results are there and up to date.")
    elif ended.status:
        print_failures(ended, campaign.root, console)
    if ended.status == 0 or campaign.plan.is_dir():
        print_results(campaign, console, is_complete=ended.has_verdict)
    return ended.status


def _show_run(opened: _Opened) -> int:
    """Shows what Snakemake would run; nothing is."""
    from workflow.dry_run import print_dry_run
    from workflow.launch import print_failures
    from workflow.settings import read_settings

    console = _console()
    ended = _launch(opened, None, name="dry_run")
    if ended.status:
        print_failures(ended, opened.campaign.root, console)
        return ended.status
    os.chdir(opened.campaign.root)
    print_dry_run(ended.text, opened.campaign, read_settings(opened.config), console)
    return 0


def _launch(
    opened: _Opened, console: "Console | None", name: str = "run"
) -> "Launched":
    from workflow.launch import run_snakemake

    profile = ["--profile", opened.profile] if opened.profile else []
    options = [*opened.options, *profile]
    return run_snakemake(opened.campaign, opened.config, options, console, name=name)


def _console() -> "Console":
    from rich.console import Console

    # Names of files and jobs may look like markup.
    return Console(highlight=False, markup=False)


def main(argv: list[str] | None = None) -> int:
    """Runs one of foldmill's commands; returns its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a terminal cannot show is shown otherwise, and is no error.
            stream.reconfigure(errors="backslashreplace")
    is_debugging = "--debug" in arguments
    try:
        app(arguments, prog_name="foldmill")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else EXIT_FAILED
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return EXIT_STOPPED
    except (ValueError, LookupError, OSError) as error:
        if is_debugging:
            raise
        print(_sentence(error), file=sys.stderr)
        return EXIT_WRONG
    return 0


def _sentence(error: Exception) -> str:
    """An error in one line; what is no user's mistake says how to see more."""
    from af3_core.job import InputError

    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'foldmill'}: {error.strerror}"
    hint = "foldmill --debug … shows where"
    return f"{type(error).__name__}: {error} ({hint})"


if __name__ == "__main__":
    raise SystemExit(main())
