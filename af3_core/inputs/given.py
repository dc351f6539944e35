"""Alignments, templates and modifications that come with a chain, file by file."""

from collections.abc import Iterable
from dataclasses import replace

from af3_core.chemistry.residues import query_sequence
from af3_core.inputs.a3m import find_a3m_problem
from af3_core.inputs.chemistry import check_component, standard_components
from af3_core.inputs.entities import Links
from af3_core.inputs.entry import Entry
from af3_core.inputs.rules import CODE, check_distinct
from af3_core.inputs.template import align_template
from af3_core.inputs.text import read_linked_file
from af3_core.job import Modification, Polymer, Template

NONE = "none"
"""In place of a file: go without."""


def read_msa(entry: Entry, chain: Polymer, links: Links) -> str:
    """The alignment of a file for a chain; an empty one for `none`.

    Raises:
        InputError: it cannot be read or does not fit the chain.
    """
    if entry.value == NONE:
        return ""
    text = read_linked_file(entry, links.folder, links.allowed_roots)
    problem = find_a3m_problem(text, query_sequence(chain), chain.kind)
    if problem is not None:
        raise entry.refuse(problem)
    return text


def read_template(entry: Entry, chain: Polymer, links: Links) -> Template:
    """A template whose residues are found by aligning its sequence to the chain's.

    Raises:
        InputError: the file cannot be read or is no template.
    """
    text = read_linked_file(entry, links.folder, links.allowed_roots)
    try:
        return align_template(text, query_sequence(chain))
    except ValueError as error:
        raise entry.refuse(f"{entry.allowed} ({error})") from error


def modify(chain: Polymer, changes: Iterable[tuple[Entry, Entry]]) -> Polymer:
    """The chain with residues replaced.

    Args:
        chain: whose sequence the numbers count in.
        changes: where a residue's number and its new component's code stand.

    Raises:
        InputError: there is no such residue or component, or a residue comes twice.
    """
    found: list[tuple[Entry, Modification]] = []
    for number, code in changes:
        text, length = str(number.value), len(chain.sequence)
        if not text.isdecimal() or not 1 <= int(text[:6]) <= length:
            raise number.refuse(f"a residue number from 1 to {length}")
        stated = code.holding(str(code.value).removeprefix("CCD_"), CODE)
        name = check_component(stated, standard_components())
        found.append((number, Modification(name, int(text))))
    places = [place for place, _ in found]
    check_distinct(places, [m.position for _, m in found], "each residue once")
    modifications = sorted((m for _, m in found), key=lambda m: m.position)
    return replace(chain, modifications=tuple(modifications))
