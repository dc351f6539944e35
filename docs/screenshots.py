"""Takes the pictures of the documentation from a demo that has run.

    make screenshots            (python docs/screenshots.py FOLDER docs/images)

FOLDER is where the demo ran. Needs Chromium; nothing is asked of a network.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_FLAGS = (
    *("--no-sandbox", "--disable-background-networking", "--use-gl=angle"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
)
_PATIENCE_MS = 120_000
_SHOWN = "lac_repressor_dna"
"""The job whose structure is shown: protein and DNA, over experiment."""


def main(argv: list[str] | None = None) -> int:
    """Writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the demo ran")
    parser.add_argument("out", type=Path, help="a folder for the pictures")
    arguments = parser.parse_args(argv)
    for path in take_pictures(arguments.folder.resolve(), arguments.out):
        print(path)
    return 0


def take_pictures(folder: Path, out: Path) -> Iterator[Path]:
    """Pictures of our report and of Snakemake's."""
    out.mkdir(parents=True, exist_ok=True)
    snakemakes = out / "snakemake_report.html"
    write_snakemake_report(folder, snakemakes)
    with open_pages() as new_page:
        page = new_page()
        page.goto(f"{(folder / 'results/report.html').as_uri()}#job={_SHOWN}")
        page.wait_for_selector(f'html[data-shown="{_SHOWN}"]', state="attached")
        page.wait_for_selector("#viewer[data-drawn] canvas")
        yield _shoot(page, out / "report.png")
        page.locator("#viewer").evaluate("box => box.scrollIntoView({block: 'center'})")
        yield _shoot(page, out / "job.png")
        page = new_page()
        show_page(page, snakemakes)
        yield _shoot(page, out / "snakemake_report.png")
    snakemakes.unlink()


def write_snakemake_report(folder: Path, path: Path) -> None:
    """`snakemake --report` of a demo.

    Raises:
        subprocess.CalledProcessError: Snakemake fails.
    """
    subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--report", str(path)),
            *("--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)),
            *("--configfile", str(ROOT / "config/config.yaml"), "--cores", "1"),
        ],
        check=True,
        capture_output=True,
    )


def list_category(page: Any, path: Path, category: str) -> None:
    """Opens Snakemake's report where it lists what is in a category."""
    page.goto(path.as_uri())
    page.get_by_text(category, exact=True).last.click()
    page.locator("a[iconname=eye]").first.wait_for()


def show_page(page: Any, path: Path) -> Any:
    """Opens our page within Snakemake's report; returns its frame."""
    list_category(page, path, "Results")
    page.locator("a[iconname=eye]").first.click()
    frame = page.frame_locator("iframe")
    frame.locator("html[data-ready]").wait_for(state="attached")
    return frame


@contextmanager
def open_pages() -> Iterator[Any]:
    """Yields what opens a page of a browser without a window."""
    from playwright.sync_api import sync_playwright

    programs = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, programs)), None)
    if found is None:
        raise SystemExit("no Chromium on the PATH (apt install chromium)")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=found, args=list(_FLAGS), timeout=_PATIENCE_MS
        )

        def new_page() -> Any:
            page = browser.new_page(viewport={"width": 1360, "height": 860})
            page.set_default_timeout(_PATIENCE_MS)
            return page

        yield new_page
        browser.close()


def _shoot(page: Any, path: Path) -> Path:
    page.wait_for_timeout(500)
    page.screenshot(path=path)
    return path


if __name__ == "__main__":
    raise SystemExit(main())
