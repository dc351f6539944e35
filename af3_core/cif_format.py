"""Writes mmCIF text in the layout of AlphaFold 3's files, character for character.

`_entry` comes first, `_atom_site` last, everything else in alphabetical order; columns
are padded to their widest value; a category of one row is written as pairs.
"""

import re
from collections.abc import Mapping, Sequence

_PLAIN = re.compile(r"[A-Za-z0-9.?-]+")
_KEYWORD = re.compile(r"data_|loop_|save_|stop_|global_", re.IGNORECASE)
_ATOM_ITEMS = (
    *("group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id"),
    *("label_comp_id", "label_asym_id", "label_entity_id", "label_seq_id"),
    *("pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy"),
    *("B_iso_or_equiv", "pdbx_formal_charge", "auth_seq_id", "auth_comp_id"),
    *("auth_asym_id", "auth_atom_id", "pdbx_PDB_model_num"),
)
_ATOM_ORDER = {f"_atom_site.{item}": i for i, item in enumerate(_ATOM_ITEMS)}

Columns = Mapping[str, Sequence[str]]
"""Values by item name, such as `_entity.id`."""


def format_cif(name: str, columns: Columns) -> str:
    """The text of one data block.

    Args:
        name: of the block, without blanks.
        columns: items of one category must have the same number of values.

    Raises:
        ValueError: a name with blanks, or columns of different length.
    """
    if not name or any(character.isspace() for character in name):
        raise ValueError(f"a data block needs a name without blanks, got {name!r}")
    categories: dict[str, list[str]] = {}
    for item in columns:
        categories.setdefault(item.partition(".")[0], []).append(item)
    parts = [f"data_{name}\n#\n"]
    for category in sorted(categories, key=_category_order):
        items = sorted(categories[category], key=lambda i: (_ATOM_ORDER.get(i, 99), i))
        parts += [_format_category(category, items, columns), "#\n"]
    return "".join(parts)


def _category_order(category: str) -> tuple[int, str]:
    return {"_entry": 0, "_atom_site": 2}.get(category, 1), category


def _format_category(category: str, items: Sequence[str], columns: Columns) -> str:
    num_rows = len(columns[items[0]])
    for item in items:
        if len(columns[item]) != num_rows:
            raise ValueError(
                f"{item} has {len(columns[item])} values, {items[0]} has {num_rows}"
            )
    if num_rows == 1 and category != "_atom_site":
        width = max(map(len, items)) + 1
        return "".join(f"{i:{width}}{_pair_value(columns[i][0])}" for i in items)
    cells = [_pad_column(columns[item]) for item in items]
    rows = zip(*cells, strict=True)
    header = "".join(f"{item}\n" for item in items)
    return f"loop_\n{header}{''.join(_join_row(row) for row in rows)}"


def _pair_value(value: str) -> str:
    return f"\n;{value}\n;\n" if _needs_lines(value) else f"{_quote(value)}\n"


def _pad_column(values: Sequence[str]) -> list[str]:
    """Values quoted and padded; a text of several lines becomes a text field."""
    quoted = [v if _PLAIN.fullmatch(v) else _quote(v) for v in values]
    has_lines = [_needs_lines(v) for v in values]
    lengths = [len(q) for q, lines in zip(quoted, has_lines, strict=True) if not lines]
    width = max(lengths, default=0) + 1
    return [
        f"\n;{value}\n;\n" if lines else f"{text:{width}}"
        for value, text, lines in zip(values, quoted, has_lines, strict=True)
    ]


def _join_row(cells: Sequence[str]) -> str:
    """A row; a text field at its beginning or end shares the row's line break."""
    row = "".join(cells)
    row = row[1:] if row.startswith("\n;") else row
    is_last_text = len(cells) > 1 and cells[-1].startswith("\n;")
    return f"{row[:-1] if is_last_text else row}\n"


def _needs_lines(value: str) -> bool:
    return "\n" in value or ("'" in value and '"' in value)


def _quote(value: str) -> str:
    starts_badly = not value or value[0] in "_#$[];" or _KEYWORD.match(value)
    if starts_badly:
        return f'"{value}"'
    if not any(character in value for character in " \t'\""):
        return value
    return f"'{value}'" if '"' in value else f'"{value}"'
