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

from workflow.cli_data import databases, store

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
Directory = Annotated[
    Path, typer.Option("--directory", "-d", help="The campaign's folder.")
]
Config = Annotated[
    Path | None,
    typer.Option("--configfile", help="Another configuration than its config.yaml."),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="slurm, lsf, or a folder of your own: where jobs run. Without: here.",
    ),
]


@dataclass(frozen=True)
class _Opened:
    """A campaign in which no mistake was found that stops it."""

    campaign: "Campaign"
    config: Path
    profile: str | None
    options: list[str]
    """Snakemake's own, as they were given."""


def _of_campaign(work: Callable[[_Opened], None]) -> Callable[..., None]:
    """A command with the options that say which campaign is meant and how it runs."""

    def command(
        context: typer.Context,
        directory: Directory = _HERE,
        configfile: Config = None,
        profile: Profile = None,
    ) -> None:
        campaign, config = _open(directory, configfile)
        _require_no_mistake(campaign, config, profile)
        work(_Opened(campaign, config, profile, context.args))

    command.__name__, command.__doc__ = work.__name__, work.__doc__
    return command


_PASSING = {"allow_extra_args": True, "ignore_unknown_options": True}
_DRY_RUN = {"-n", "--dry-run", "--dryrun"}

weights = typer.Typer(
    no_args_is_help=True, help="Weights of the network; see docs/weights.md."
)

app.add_typer(databases, name="databases")
app.add_typer(store, name="store")
app.add_typer(weights, name="weights")


@weights.command(name="import")
def import_weights(
    file: Annotated[Path, typer.Argument(help="OpenFold3's weights, .pt.")],
    out: Annotated[str, typer.Option(help="Name or path.")] = "openfold3",
) -> None:
    """Turns OpenFold3's weights into a checkpoint."""
    from workflow.weights import import_weights

    typer.echo(f"model.checkpoint: {import_weights(file, out)}")


@weights.command(name="show")
def show_weights(
    name: Annotated[str, typer.Argument(help="Of a checkpoint, or its path.")],
) -> None:
    """Tells whose weights a checkpoint holds, and on what terms."""
    from rich.console import Console

    from workflow.weights import checkpoint_path, show_weights

    show_weights(checkpoint_path(name), Console(highlight=False))


@weights.command(name="fetch")
def fetch_weights(
    vendor: Annotated[str, typer.Argument(help="alphafold3 or openfold3.")],
    folder: Annotated[Path, typer.Option(help="Where to.")] = Path("models"),
    address: Annotated[str, typer.Option(help="Instead of the vendor's own.")] = "",
    sha256: Annotated[str, typer.Option(help="That the file must have.")] = "",
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="Without asking.")
    ] = False,
) -> None:
    """Loads weights from those who publish them, checks and imports them."""
    from rich.console import Console

    from workflow.weights import Wish, fetch_with_progress, vendor_of

    wish = Wish(vendor_of(vendor), folder, address, sha256)
    console = Console(highlight=False)
    path = fetch_with_progress(wish, console, accepted=accept_terms)
    typer.echo(f"model.checkpoint: {path}")


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors.")
    ] = False,
) -> None:
    """AlphaFold 3 over a proteome or a screen, on a laptop or a Slurm cluster."""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The new campaign's folder.")],
    inputs: Annotated[
        list[Path] | None, typer.Option(help="A file or folder; may be repeated.")
    ] = None,
    databases: Annotated[
        Path | None, typer.Option(help="The databases' table.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="The checkpoint.")] = None,
    store: Annotated[
        Path | None, typer.Option(help="The search store, if it is shared.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="slurm or lsf: copied there, to be adapted.")
    ] = None,
) -> None:
    """Make a campaign's folder: a configuration with your answers in it.

    foldmill init /scratch/mine --inputs proteome.fasta --weights af3.bin.zst
    """
    from workflow.init import Answers, init_campaign

    answers = Answers(inputs or (), databases, weights, store, profile)
    for path in init_campaign(folder, answers):
        typer.echo(path)
    typer.echo(f"Next: foldmill check --directory {folder}")


@app.command()
def check(
    directory: Directory = _HERE,
    configfile: Config = None,
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Look for mistakes before they cost: all of them, at once.

    Configuration, inputs, weights, databases, store, disk, and what the scheduler
    would say of the profile.
    """
    from workflow.preflight import as_json as format_json

    campaign, config = _open(directory, configfile)
    problems = _find_problems(campaign, config, profile)
    if as_json:
        typer.echo(format_json(problems))
    else:
        for problem in problems:
            typer.echo(f"{'wrong' if problem.stops else 'careful'}: {problem}")
        if not problems:
            typer.echo("No mistake found.")
    if any(problem.stops for problem in problems):
        raise typer.Exit(EXIT_WRONG)


@app.command()
@_of_campaign
def plan(opened: _Opened) -> None:
    """Say what would run and what it will take: hours, memory, jobs, disk, files.

    `foldmill run -n` shows the jobs themselves.
    """
    from workflow.settings import read_settings
    from workflow.summary import print_plan

    # Paths of the settings are relative to the campaign's folder.
    os.chdir(opened.campaign.root)
    print_plan(opened.campaign, read_settings(opened.config), _console())


@app.command(context_settings=_PASSING)
@_of_campaign
def run(opened: _Opened) -> None:
    """Run the campaign, or go on with it. Snakemake's own options may follow.

    foldmill run --directory /scratch/mine --profile slurm
    foldmill run -n      shows the jobs that would run, and what is made again and why
    """
    if _DRY_RUN.intersection(opened.options):
        raise typer.Exit(_show_run(opened))
    raise typer.Exit(_run(opened))


@app.command(context_settings=_PASSING)
@_of_campaign
def retry(opened: _Opened) -> None:
    """Run, and try again what failed for other causes than its input."""
    from workflow.batches import load_plan
    from workflow.retry import ask_for_retry

    planned = load_plan(opened.campaign)
    count = ask_for_retry(opened.campaign, planned) if planned is not None else 0
    typer.echo(f"{count} failed items will be tried again.")
    raise typer.Exit(_run(opened))


@app.command()
def status(
    directory: Directory = _HERE,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Again and again, until it is over.")
    ] = False,
    seconds: Annotated[float, typer.Option(help="Between two looks.")] = 10.0,
) -> None:
    """Say how far a campaign is, from any terminal, while it runs or after."""
    import time

    from workflow.status import print_status, read_status

    campaign, console = _campaign(directory), _console()
    while True:
        found = read_status(campaign)
        if found is None:
            typer.echo("Not planned yet: foldmill plan")
            raise typer.Exit(EXIT_FAILED)
        if watch and console.is_terminal:
            console.clear()
        print_status(found, console)
        if not watch or found.is_over:
            return
        time.sleep(seconds)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="A question in SQL.")],
    campaigns: Annotated[
        list[Path] | None, typer.Argument(help="Folders of campaigns.")
    ] = None,
) -> None:
    """Ask the tables of campaigns: scores, interfaces, outcomes, failures, provenance.

    foldmill query "SELECT name, iptm FROM scores WHERE rank = 1" /scratch/mine
    """
    from workflow.query import main as ask

    raise typer.Exit(ask([sql, *map(str, campaigns or ())]))


@app.command()
def results(
    directory: Directory = _HERE,
    top: Annotated[int, typer.Option(help="How many.")] = 20,
    by: Annotated[
        str | None, typer.Option(help="A score, such as ipsae, iptm or pae_min.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="All columns, as CSV.")] = False,
) -> None:
    """Show the best pairs of a screen, or the best jobs, by any score; also while it
    runs.

    foldmill results --top 50 --by ipsae
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


@app.command()
def report(
    directory: Directory = _HERE,
    out: Annotated[Path | None, typer.Option(help="The page.")] = None,
    title: Annotated[str | None, typer.Option(help="Instead of its folder's.")] = None,
    jobs: Annotated[
        list[str] | None, typer.Option(help="The only job to show; may be repeated.")
    ] = None,
) -> None:
    """Write the report again: of some jobs, under another title, of what is there yet.

    foldmill report --jobs crambin --out crambin.html
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


@app.command(context_settings=_PASSING)
def timeline(context: typer.Context, directory: Directory = _HERE) -> None:
    """Draw what the device did in each batch, and when it waited."""
    from workflow.timeline import main as draw

    _enter(directory)
    raise typer.Exit(draw(context.args))


@app.command(context_settings=_PASSING)
def export(
    context: typer.Context,
    form: Annotated[
        Literal["a3m", "table", "figures"],
        typer.Argument(help="Alignments as A3M files or one table; figures as PNG."),
    ],
    directory: Directory = _HERE,
) -> None:
    """Take alignments or figures elsewhere. Structures: the settings `export`.

    foldmill export a3m alignments      foldmill export figures --jobs crambin
    """
    from workflow.alignments import main as alignments
    from workflow.figures import main as figures

    _enter(directory)
    arguments = context.args
    code = figures(arguments) if form == "figures" else alignments([form, *arguments])
    raise typer.Exit(code)


@app.command()
def clean(
    directory: Directory = _HERE,
    yes: Annotated[bool, typer.Option("--yes", help="Without asking.")] = False,
) -> None:
    """Remove what no job of the campaign owns any more, after saying what."""
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


@app.command("import")
def import_(
    folder: Annotated[
        Path, typer.Argument(help="AlphaFold 3's results, or a folder of A3M files.")
    ],
    label: Annotated[str, typer.Option(help="Says where it is from.")],
    store_folder: Annotated[Path, typer.Option("--store", help="The search store.")],
) -> None:
    """Take up alignments and templates that other programs have found.

    A campaign whose `search.imported` names the label uses them for equal sequences:
    foldmill import old_results --label af3-2025 --store /data/store
    """
    from workflow.imports import import_folder
    from workflow.store.entries import Store

    found = import_folder(folder, Store(store_folder), label)
    for problem in found.problems:
        typer.echo(f"left out: {problem}", err=True)
    typer.echo(f"{found.sequences} sequences under the label {label}")
    if found.problems:
        raise typer.Exit(EXIT_FAILED)


@app.command("import-server")
def import_server(
    address: Annotated[str, typer.Argument(help="Of an MMseqs2 server.")],
    directory: Directory = _HERE,
    configfile: Config = None,
    label: Annotated[str, typer.Option(help="In the store.")] = "server",
    most: Annotated[int, typer.Option(help="Sequences that are sent.")] = 200,
    contact: Annotated[str, typer.Option(help="Your address, for its keepers.")] = "",
    environmental: Annotated[
        bool, typer.Option(help="Search environmental sequences, too.")
    ] = True,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Send the proteins of a small campaign to an MMseqs2 (ColabFold) server.

    Its alignments go into the store under a label, for `search.imported`:
    foldmill import-server https://api.colabfold.com --label colabfold
    """
    from af3_core.job import InputError
    from workflow.msa_server import Server, fetch_alignments, find_wanted
    from workflow.plan import read_jobs_of
    from workflow.settings import read_settings
    from workflow.store.entries import Store

    _, config = _open(directory, configfile)
    _enter(directory)
    settings = read_settings(config)
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
            Server(address, contact, environmental),
            wanted,
            store,
            label,
            lambda done, total: typer.echo(f"{done} of {total} sequences"),
        )
    typer.echo(f"All are there. In the configuration: search.imported: [{label}]")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to run it.")] = Path(
        "foldmill-demo"
    ),
) -> None:
    """Run thirteen small jobs end to end, with a network that knows most of them."""
    from workflow.init import write_demo

    config = write_demo(folder)
    campaign, _ = _open(folder, config)
    raise typer.Exit(_run(_Opened(campaign, config, None, [])))


@app.command()
def version() -> None:
    """Say which version this is, and of what it computes with."""
    import importlib.metadata

    for package in ("foldmill", "jax", "jaxlib", "snakemake", "pyhmmer", "openmm"):
        typer.echo(f"{package} {importlib.metadata.version(package)}")


def _campaign(directory: Path) -> "Campaign":
    """The campaign of a folder.

    Raises:
        InputError: there is no such folder.
    """
    from af3_core.job import InputError
    from workflow.campaign import Campaign

    if not directory.is_dir():
        allowed = "a campaign's folder; `foldmill init` makes one"
        raise InputError("foldmill", "--directory", str(directory), allowed)
    return Campaign(directory.resolve())


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
    campaign: "Campaign", config: Path, profile: str | None
) -> "list[Problem]":
    """Mistakes of the configuration; where there is none, of all that it names."""
    from workflow.launch import find_profile
    from workflow.preflight import find_problems, problem_of
    from workflow.settings import find_mistakes, read_settings

    if mistakes := find_mistakes(config):
        return [problem_of(mistake) for mistake in mistakes]
    place = None if profile is None else Path(find_profile(profile, campaign.root))
    return find_problems(read_settings(config), campaign.root, place)


def _require_no_mistake(
    campaign: "Campaign", config: Path, profile: str | None
) -> None:
    """Tells all mistakes; ends the command where one of them stops the campaign."""
    problems = _find_problems(campaign, config, profile)
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
