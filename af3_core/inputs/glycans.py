"""Glycans and ions by the names people use for them.

A glycan is a name of the table below or IUPAC's condensed text, such as
`Man(a1-3)[Man(a1-6)]Man(b1-4)GlcNAc(b1-4)GlcNAc`: the reducing end, which is bonded to
the protein if at all, stands last.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_CORE = "Man(b1-4)GlcNAc(b1-4)GlcNAc"
_CORE_FUCOSE = "Man(b1-4)GlcNAc(b1-4)[Fuc(a1-6)]GlcNAc"


def _two_arms(arm_3: str, arm_6: str, core: str) -> str:
    return f"{arm_3}Man(a1-3)[{arm_6}Man(a1-6)]{core}"


_LACTOSAMINE = "Gal(b1-4)GlcNAc(b1-2)"
_SIALYL = f"Neu5Ac(a2-6){_LACTOSAMINE}"
_MAN5_ARM = "Man(a1-3)[Man(a1-6)]"
_MAN9_ARM = "Man(a1-2)Man(a1-3)[Man(a1-2)Man(a1-6)]"
NAMED_GLYCANS: Mapping[str, str] = {
    "GlcNAc": "GlcNAc",
    "chitobiose": "GlcNAc(b1-4)GlcNAc",
    "Man3": _two_arms("", "", _CORE),
    "Man5": _two_arms("", _MAN5_ARM, _CORE),
    "Man9": _two_arms("Man(a1-2)Man(a1-2)", _MAN9_ARM, _CORE),
    "G0": _two_arms("GlcNAc(b1-2)", "GlcNAc(b1-2)", _CORE),
    "G0F": _two_arms("GlcNAc(b1-2)", "GlcNAc(b1-2)", _CORE_FUCOSE),
    "G2": _two_arms(_LACTOSAMINE, _LACTOSAMINE, _CORE),
    "G2F": _two_arms(_LACTOSAMINE, _LACTOSAMINE, _CORE_FUCOSE),
    "G2S2": _two_arms(_SIALYL, _SIALYL, _CORE),
    "G2FS2": _two_arms(_SIALYL, _SIALYL, _CORE_FUCOSE),
    "GalNAc": "a-GalNAc",
    "core1": "Gal(b1-3)a-GalNAc",
}
"""N-glycans from the chitobiose to a sialylated biantenna, and two O-glycans."""

IONS: Mapping[str, str] = {
    "calcium": "CA",
    "chloride": "CL",
    "cobalt": "CO",
    "copper": "CU",
    "iron": "FE",
    "magnesium": "MG",
    "manganese": "MN",
    "nickel": "NI",
    "potassium": "K",
    "sodium": "NA",
    "zinc": "ZN",
}
"""Component codes of ions by name; iron and copper are Fe(III) and Cu(II)."""

_SUGARS: Mapping[str, Mapping[str, str]] = {
    "Man": {"a": "MAN", "b": "BMA"},
    "Gal": {"a": "GLA", "b": "GAL"},
    "Glc": {"a": "GLC", "b": "BGC"},
    "GlcNAc": {"a": "NDG", "b": "NAG"},
    "GalNAc": {"a": "A2G", "b": "NGA"},
    "Fuc": {"a": "FUC", "b": "FUL"},
    "Xyl": {"a": "XYS", "b": "XYP"},
    "Neu5Ac": {"a": "SIA", "b": "SLB"},
}
"""Component codes by sugar and anomer."""
_ANOMERIC = {"Neu5Ac": 2}
_TOKEN = re.compile(
    r"(?P<bracket>[\[\]])|(?:(?P<anomer>[ab])-)?(?P<sugar>[A-Z][A-Za-z0-9]*)"
    r"(?:\((?P<link>[ab])(?P<own>[1-9])-(?P<other>[1-9])\))?"
)
ALLOWED = (
    f"one of {', '.join(NAMED_GLYCANS)}; or IUPAC's condensed text of"
    f" {', '.join(_SUGARS)}, such as GlcNAc(b1-4)GlcNAc"
)


@dataclass(frozen=True)
class Glycan:
    """A tree of sugars, the reducing end first."""

    codes: tuple[str, ...]
    bonds: tuple[tuple[tuple[int, str], tuple[int, str]], ...]
    """Ends as 1-based component and atom name: the acceptor's oxygen, the donor's
    anomeric carbon."""


def read_glycan(text: str) -> Glycan:
    """The glycan of a name or a condensed text.

    Raises:
        ValueError: it is neither.
    """
    condensed = NAMED_GLYCANS.get(text, text)
    tokens = _split(condensed)
    codes: list[str] = []
    bonds: list[tuple[tuple[int, str], tuple[int, str]]] = []
    above: list[int] = []
    parent = 0
    # From the reducing end: what stands to the left of a sugar is bonded to it, and a
    # bracket holds a branch of the sugar that follows it.
    for token in reversed(tokens):
        if token["bracket"] == "]":
            above.append(parent)
        elif token["bracket"] == "[":
            if not above:
                raise ValueError(ALLOWED)
            parent = above.pop()
        else:
            sugar = _SUGARS.get(token["sugar"])
            if sugar is None or (token["link"] is None) != (parent == 0):
                raise ValueError(ALLOWED)
            codes.append(sugar[token["link"] or token["anomer"] or "b"])
            if parent:
                own = _ANOMERIC.get(token["sugar"], 1)
                if int(token["own"]) != own:
                    raise ValueError(ALLOWED)
                acceptor = (parent, f"O{token['other']}")
                bonds.append((acceptor, (len(codes), f"C{own}")))
            parent = len(codes)
    if above or not codes:
        raise ValueError(ALLOWED)
    return Glycan(tuple(codes), tuple(bonds))


def _split(text: str) -> list[re.Match[str]]:
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(ALLOWED)
        tokens.append(match)
        position = match.end()
    return tokens
