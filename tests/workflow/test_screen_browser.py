"""A screen on the page: matrix, best pairs, background; opened in headless Chromium."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from af3_core.contracts import SCREEN
from tests.workflow.synthetic_campaign import THREE_JOBS, filled, write_campaign
from tests.workflow.test_report_browser import CHROMIUM, FLAGS, PATIENCE
from workflow.report import write_report
from workflow.tables import write_table

playwright = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed"
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on the PATH (apt install chromium)"
)
PARTNERS = [f"P{n:05d}" for n in range(16)]
HOSTILE = "<img src=x onerror=alert(1)>"
LIGANDS = ("CC(=O)Oc1ccccc1C(=O)O", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "CCO")


def made_up_rows() -> list[dict[str, object]]:
    """All against all with five binders, 40 background pairs; and a ligand screen."""
    random = np.random.default_rng(0)
    best = set(random.choice(120, 5, replace=False).tolist())
    pairs = list(combinations(PARTNERS, 2))
    rows = [
        {
            "screen": "interactome", "partner_1": a, "partner_2": b, "kind": "asked",
            "role_1": "any", "role_2": "any", "num_jobs": 1 + index % 3,
            "ipsae": (0.75 if index in best else 0.1) + 0.1 * random.random(),
            "iptm": (0.8 if index in best else 0.3) + 0.1 * random.random(),
        }
        for index, (a, b) in enumerate(pairs)
    ]  # fmt: skip
    rows += [
        {
            "screen": "interactome", "partner_1": PARTNERS[0],
            "partner_2": f"P-shuffled{n}", "kind": "background",
            "ipsae": 0.1 + 0.1 * random.random(), "iptm": 0.3 * random.random(),
        }
        for n in range(40)
    ]  # fmt: skip
    rows += [
        {
            "screen": "ligands", "partner_1": "kinase", "partner_2": name,
            "kind": "asked", "role_1": "bait", "role_2": "prey", "iptm": 0.9 - 0.1 * n,
            "ipsae": None, "ligand": f"smiles:{smiles}", "ligand_valid": n != 1,
        }
        for n, (name, smiles) in enumerate(
            zip(("aspirin", HOSTILE, "alcohol"), LIGANDS, strict=True)
        )
    ]  # fmt: skip
    background = sorted(r["ipsae"] for r in rows if r["kind"] == "background")
    for index, row in enumerate(rows):
        row["job_id"] = THREE_JOBS[index % 3].job_id
        if row["screen"] == "interactome":
            share = np.mean([other >= row["ipsae"] for other in background])
            row |= {"ipsae_above": float(share), "ipsae_corrected": row["ipsae"],
                    "background": "background", "background_pairs": 40}  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("screen")
    write_campaign(folder / "results", THREE_JOBS)
    path = folder / "results/tables/screen.parquet"
    write_table(path, SCREEN, filled(SCREEN, made_up_rows()))
    return write_report(folder / "results", folder / "report.html").path.as_uri()


@pytest.fixture(scope="module")
def page(report: str):  # noqa: ANN201
    """The page, in which nothing may go wrong."""
    faults: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, timeout=PATIENCE
        )
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.goto(report)
        page.wait_for_selector("html[data-ready]")
        yield page
        browser.close()
    assert faults == []


def choose(page, label: str, option: str) -> None:  # noqa: ANN001
    """Picks an option of a menu above the screen."""
    page.locator(f"label.choose:has-text('{label}') select").select_option(option)


def show(page, screen: str, score: str) -> None:  # noqa: ANN001
    choose(page, "Screen", screen)
    choose(page, "Score", score)
    page.wait_for_selector(f'#screen[data-drawn^="{screen} {score}"]')


def colour_at(page, row: int, column: int) -> list[int]:  # noqa: ANN001
    return page.evaluate(
        """([row, column]) => [...document.querySelector(".screen-matrix")
          .getContext("2d").getImageData(column, row, 1, 1).data]""",
        [row, column],
    )


def test_the_matrix_has_a_cell_for_every_pair(page) -> None:  # noqa: ANN001
    show(page, "interactome", "ipsae")
    choose(page, "Order", "name")
    drawn = [[colour_at(page, i, j)[3] for j in range(16)] for i in range(16)]
    expected = 255 * (1 - np.eye(16, dtype=int))
    assert (np.array(drawn) == expected).all()
    rows = [r for r in made_up_rows() if r["screen"] == "interactome"]
    rows = [r for r in rows if r["kind"] == "asked"]
    best = max(rows, key=lambda r: r["ipsae"])
    at = [PARTNERS.index(str(best[f"partner_{n}"])) for n in (1, 2)]
    worst = min(rows, key=lambda r: r["ipsae"])
    other = [PARTNERS.index(str(worst[f"partner_{n}"])) for n in (1, 2)]
    assert sum(colour_at(page, *at)[:3]) < sum(colour_at(page, *other)[:3]) - 150
    assert colour_at(page, *at) == colour_at(page, *reversed(at))


def test_the_best_pairs_come_first_with_their_share_of_background(page) -> None:  # noqa: ANN001
    show(page, "interactome", "ipsae")
    cells = page.locator(".hits tbody tr").first.locator("td").all_inner_texts()
    rows = [
        r for r in made_up_rows() if r["kind"] == "asked" and r["ipsae"] is not None
    ]
    best = max(rows, key=lambda r: r["ipsae"])
    assert cells[1] == f"{best['partner_1']} – {best['partner_2']}"
    assert cells[2] == f"{best['ipsae']:.2f}"
    assert cells[3] == "0.0 %"
    assert page.locator(".hits tbody tr").count() == 120


def test_a_hit_is_one_click_from_its_structure(page) -> None:  # noqa: ANN001
    show(page, "interactome", "ipsae")
    page.evaluate("delete document.documentElement.dataset.shown")
    page.locator(".hits tbody tr").nth(2).click()
    page.wait_for_selector("html[data-shown]")
    rows = [
        r for r in made_up_rows() if r["kind"] == "asked" and r["ipsae"] is not None
    ]
    third = sorted(rows, key=lambda r: -r["ipsae"])[2]
    name = next(job.name for job in THREE_JOBS if job.job_id == third["job_id"])
    assert page.evaluate("document.documentElement.dataset.shown") == name


def test_partners_with_like_scores_stand_together(page) -> None:  # noqa: ANN001
    show(page, "interactome", "ipsae")
    choose(page, "Order", "clustered")
    names = page.locator(".row-names span").all_inner_texts()
    assert sorted(names) == PARTNERS and names != PARTNERS
    choose(page, "Order", "best")
    rows = [
        r for r in made_up_rows() if r["kind"] == "asked" and r["ipsae"] is not None
    ]
    best = max(rows, key=lambda r: r["ipsae"])
    first = page.locator(".row-names span").all_inner_texts()[:2]
    assert set(first) == {best["partner_1"], best["partner_2"]}


def test_every_pair_is_a_dot_against_the_background(page) -> None:  # noqa: ANN001
    show(page, "interactome", "ipsae")
    assert page.locator(".volcano circle.asked").count() == 120
    assert page.locator(".volcano circle.behind").count() == 40


def test_ligands_are_drawn_and_their_names_are_only_text(page) -> None:  # noqa: ANN001
    show(page, "ligands", "iptm")
    pictures = page.locator(".hits img.drawing")
    assert pictures.count() == 3
    widths = pictures.evaluate_all("images => images.map((i) => i.naturalWidth)")
    assert min(widths) > 0
    lines = page.locator(".hits tbody tr").all_inner_texts()
    assert HOSTILE in lines[1]
    assert [line.split("\t")[-1].strip() for line in lines] == ["yes", "no", "yes"]
    assert page.locator(".volcano").count() == 0
    assert page.locator(".screen-matrix").count() == 0


def test_a_campaign_without_a_screen_shows_none(tmp_path: Path) -> None:
    write_campaign(tmp_path / "results", THREE_JOBS)
    summary = write_report(tmp_path / "results", tmp_path / "report.html")
    assert 'id="screen" aria-label="Pairs of screens" hidden' in summary.path.read_text(
        "utf-8"
    )
