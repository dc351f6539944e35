"""The page's shell: markup, style, scripts and packed data joined into one file."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from af3_core.structures.mmcif_origin import WeightsOrigin

_ASSETS = files("workflow.report") / "assets"

VIEWER = "vendor/3Dmol-min.js"
SCRIPTS = (
    "elements.js",
    "decode.js",
    "query.js",
    "histogram.js",
    "devices.js",
    "table.js",
    "link.js",
    "structure.js",
    "pae.js",
    "trace.js",
    "sequence.js",
    "facts.js",
    "chains.js",
    "detail.js",
    "screen.js",
    "main.js",
)
"""The page's own code, joined in this order inside one function."""


def render_page(
    *,
    title: str,
    note: str,
    made_at: str,
    origins: Sequence[WeightsOrigin],
    usage: list[str],
    overview: str,
    details: dict[str, str],
) -> str:
    """The whole page as HTML.

    Args:
        note: a sentence below the title; may be empty.
        origins: whose weights predicted; the page warns of all but AlphaFold 3's.
        usage: licences and disclaimers that go with the structures.
        overview, details: packed data, the latter by job id.

    A content security policy lets only the page's own two scripts run and allows no
    connection anywhere, so markup that slipped in could neither run nor send.
    """
    scripts = {"viewer": _asset(VIEWER), "own": own_script()}
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(_asset("page.html.jinja")).render(
        title=title,
        note=note,
        made_at=made_at,
        origins=origins,
        usage=usage,
        overview=overview,
        details=details,
        style=_asset("style.css"),
        scripts=scripts,
        policy=content_policy(list(scripts.values())),
    )


def own_script() -> str:
    """The page's code as one strict-mode function."""
    body = "\n".join(_asset(f"js/{name}") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}\n}})();\n'


def content_policy(scripts: list[str]) -> str:
    """A policy that allows exactly these inline scripts, by digest."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(d).decode()}'" for d in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src 'none'; form-action 'none'; base-uri 'none'"
    )


def _asset(name: str) -> str:
    return _ASSETS.joinpath(name).read_text(encoding="utf-8")
