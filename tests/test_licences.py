"""Every package that an installation adds has a licence that lets it be there."""

import importlib.metadata
import re
import runpy

import pytest

from tests.workflow.campaigns import ROOT

NOTICE = runpy.run_path(str(ROOT / "envs/write.py"))
LICENCES, REMARKS = NOTICE["read_licences"]()
PARTS = NOTICE["parts"]()
PROJECT = NOTICE["PROJECT"]

FREE = {
    *("0BSD", "Apache-2.0", "ISC", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "MIT"),
    *(
        "MIT-CMU",
        "PSF-2.0",
        "Zlib",
        "LicenseRef-Biopython-License-Agreement",
        "LicenseRef-Matplotlib",
    ),
}
"""May be used by anybody, in anything, if they are named."""
BY_FILE = {"MPL-2.0", "LGPL-2.1-or-later", "LGPL-3.0-or-later"}
"""Hold for their own files: a package of its own may be used unchanged."""
OF_THE_VENDOR = {"LicenseRef-NVIDIA-Proprietary"}
"""Come with CUDA's libraries, which whoever asks for that extra installs."""


def terms(expression: str) -> set[str]:
    """The licences that an SPDX expression names."""
    words = re.split(r" AND | OR ", expression)
    return {word.partition(" WITH ")[0] for word in words}


def test_every_locked_package_is_classified() -> None:
    assert LICENCES.keys() == NOTICE["read_lock"]().keys() - {PROJECT}


@pytest.mark.parametrize("part", PARTS)
def test_what_is_installed_for_users_has_an_allowed_licence(part: str) -> None:
    allowed = FREE | BY_FILE
    if "[cuda" in part:
        allowed |= OF_THE_VENDOR
    if part.startswith("development"):
        allowed |= {"GPL-3.0-only"}
    refused = {
        name: LICENCES[name]
        for name in PARTS[part] - {"docutils"}
        if terms(LICENCES[name]) - allowed
    }
    assert not refused


def test_what_is_not_free_for_everything_is_explained() -> None:
    special = {name for name in LICENCES if terms(LICENCES[name]) - FREE}
    special -= {name for name in special if name.startswith("nvidia-")}
    assert special <= REMARKS.keys()


def test_notice_says_what_the_lock_file_and_the_licences_say() -> None:
    assert (ROOT / "NOTICE").read_text(encoding="utf-8") == NOTICE["notice"]()


def test_recorded_licences_are_those_of_the_installed_packages() -> None:
    """Where a package says its licence as an SPDX expression."""
    differing = {}
    for name, recorded in LICENCES.items():
        try:
            said = importlib.metadata.metadata(name).get("License-Expression")
        except importlib.metadata.PackageNotFoundError:
            continue
        if said is not None and terms(said) != terms(recorded):
            differing[name] = said
    assert not differing


def test_the_licence_is_there_in_full() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
