"""What a sample sheet says of single chains: regions, modifications, files, bonds.

Residues count in the chain as it is typed; of a region in bonds, as it is predicted.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from af3_core.inputs.alphafold3 import read_bonds
from af3_core.inputs.chemistry import standard_components
from af3_core.inputs.entities import Links
from af3_core.inputs.entry import Entry
from af3_core.inputs.given import NONE, modify, read_msa, read_template
from af3_core.inputs.molecules import cut_chain, read_region
from af3_core.job import BondAtom, Ligand, Polymer

SEPARATOR = ";"
"""Between the parts of one cell."""
DETAIL_COLUMNS: Mapping[str, str] = {
    "regions": "a region of each chain such as 1-300, separated by ';'; empty for all"
    " of it",
    "modifications": "modified residues such as A:9:SEP, separated by ';'",
    "msa": "alignments in A3M format such as A:kinase.a3m, separated by ';'; A:none to"
    " go without",
    "template": "mmCIF files with one protein chain such as A:kinase.cif, separated by"
    " ';'; A:none to go without",
    "bonds": "bonds such as A:145:SG-B:1:C5, separated by ';'",
}
_MODIFICATION = re.compile(r"([A-Z]+):([0-9]+):(\S+)")
_FILE = re.compile(r"([A-Z]+):(.+)", re.DOTALL)
_BOND = re.compile(
    r"([A-Z]+):([0-9]{1,6}):([^:\s]+?)\s*-\s*([A-Z]+):([0-9]{1,6}):([^:\s]+)"
)


def add_details(
    polymers: Sequence[Polymer], cells: Mapping[str, Entry], links: Links
) -> tuple[Polymer, ...]:
    """The chains with all that a row says of them.

    Raises:
        InputError: a cell cannot be accepted.
    """
    chains = list(polymers)
    place = {name: i for i, chain in enumerate(polymers) for name in chain.ids}
    changes: dict[int, list[tuple[Entry, Entry]]] = {}
    for part, found in _parts(cells.get("modifications"), _MODIFICATION):
        index = _chain_of(part, found[1], place)
        change = part.holding(found[2]), part.holding(found[3])
        changes.setdefault(index, []).append(change)
    for index, of_chain in changes.items():
        chains[index] = modify(chains[index], of_chain)
    for part, found in _parts(cells.get("msa"), _FILE):
        index = _chain_of(part, found[1], place)
        chains[index] = _with_msa(chains[index], part.holding(found[2].strip()), links)
    for part, found in _parts(cells.get("template"), _FILE):
        index = _chain_of(part, found[1], place)
        file = part.holding(found[2].strip())
        chains[index] = _with_template(chains[index], file, links)
    regions = cells.get("regions")
    if regions is not None and regions.value:
        texts = str(regions.value).split(SEPARATOR)
        if len(texts) != len(chains):
            raise regions.refuse(f"one region per chain, {len(chains)}, or none")
        for index, text in enumerate(texts):
            length = len(chains[index].sequence)
            if text.strip():
                allowed = f"a region within 1-{length}, the chain's residues"
                ends = read_region(regions.holding(text.strip(), allowed), length)
                chains[index] = cut_chain(chains[index], *ends)
    return tuple(chains)


def _parts(
    cell: Entry | None, pattern: re.Pattern[str]
) -> Iterator[tuple[Entry, re.Match[str]]]:
    """The parts of a cell and what the pattern finds in each."""
    if cell is None or not cell.value:
        return
    for text in str(cell.value).split(SEPARATOR):
        part = cell.holding(text.strip())
        found = pattern.fullmatch(text.strip())
        if found is None:
            raise part.refuse()
        yield part, found


def _chain_of(part: Entry, name: str, place: Mapping[str, int]) -> int:
    if name not in place:
        raise part.refuse(f"a chain of this row: {', '.join(place)}")
    return place[name]


def _with_msa(chain: Polymer, file: Entry, links: Links) -> Polymer:
    if chain.kind == "dna":
        raise file.refuse("nothing: DNA has no alignment")
    if chain.unpaired_msa is not None:
        raise file.refuse("one alignment for each chain")
    chain = replace(chain, unpaired_msa=read_msa(file, chain, links))
    return replace(chain, paired_msa="") if chain.kind == "protein" else chain


def _with_template(chain: Polymer, file: Entry, links: Links) -> Polymer:
    if chain.kind != "protein":
        raise file.refuse("nothing: only proteins have templates")
    if file.value == NONE:
        return replace(chain, templates=())
    if chain.unpaired_msa is None:
        raise file.refuse("an alignment of the chain in the column msa, or none there")
    found = read_template(file, chain, links)
    return replace(chain, templates=(*(chain.templates or ()), found))


def read_bonds_cell(
    cell: Entry | None, entities: Sequence[Polymer | Ligand]
) -> tuple[tuple[BondAtom, BondAtom], ...]:
    """The bonds of a row.

    Raises:
        InputError, ExceptionGroup: an atom is none of the row's chains.
    """
    if cell is None or not cell.value:
        return ()
    ends = [
        [[found[1], int(found[2]), found[3]], [found[4], int(found[5]), found[6]]]
        for _, found in _parts(cell, _BOND)
    ]
    return read_bonds(cell.holding(ends), tuple(entities), standard_components())
