"""What is asked of a search tool, and under which name the answer is kept."""

from dataclasses import dataclass
from typing import Literal

Tool = Literal["jackhmmer", "nhmmer", "hmmsearch", "mmseqs"]
Role = Literal["unpaired", "paired", "rna", "templates", "structures"]
Profile = Literal["paper", "server"]

_MAX_SEQUENCES = {"unpaired": 5_000, "paired": 50_000, "rna": 10_000}
_UNIREF90_MAX_SEQUENCES = 10_000
_SHORT_RNA = 50


@dataclass(frozen=True)
class SearchSettings:
    """Thresholds of one search.

    The defaults are AlphaFold 3's for proteins: `jackhmmer -N 1 -E 1e-4 --incE 1e-4
    --F1 5e-4 --F2 5e-5 --F3 5e-7`, everything else as HMMER 3.4 has it.
    """

    tool: Tool = "jackhmmer"
    max_sequences: int = 10_000
    """Rows of the alignment, the query among them."""
    e_value: float = 1e-4
    """A database sequence is a hit up to this E-value; Z is the database's size."""
    region_e_value: float = 1e-3
    """An aligned region of a hit is kept up to this E-value (`--incdomE`); its Z is
    the number of hits in the whole database (HMMER's own default)."""
    filters: tuple[float, float, float] = (5e-4, 5e-5, 5e-7)
    """P-values of the MSV, Viterbi and Forward filters."""
    profile: Profile = "paper"
    """`server`: regions up to 100 times the E-value, as the public server's runs over
    shards without `--domZ` let through (AlphaFold 3, docs/known_issues.md)."""
    extra: str = ""
    """Further flags of an external tool, as they were given."""

    @property
    def region_threshold(self) -> float:
        """The E-value up to which a region is kept under this profile."""
        return self.region_e_value * (100.0 if self.profile == "server" else 1.0)

    @property
    def flags(self) -> str:
        """All that the result depends on besides sequence and database."""
        f1, f2, f3 = self.filters
        text = (
            f"-E {self.e_value:g} --incE {self.e_value:g}"
            f" --incdomE {self.region_threshold:g}"
            f" --F1 {f1:g} --F2 {f2:g} --F3 {f3:g} --seq_limit {self.max_sequences}"
        )
        return f"{text} {self.extra}".strip()


TEMPLATE_SEARCH = SearchSettings(
    tool="hmmsearch",
    max_sequences=1_000_000_000,
    e_value=100.0,
    region_e_value=100.0,
    filters=(0.1, 0.1, 0.1),
)
"""AlphaFold 3's search of the PDB's sequences, which keeps all that may be a template:
`hmmsearch --F1 0.1 --F2 0.1 --F3 0.1 -E 100 --incE 100 --domE 100 --incdomE 100`."""


def settings_for(
    database: str,
    role: Role,
    tool: Tool,
    *,
    profile: Profile = "paper",
    max_sequences: int | None = None,
    extra: str = "",
) -> SearchSettings:
    """AlphaFold 3's settings for a database in a role.

    Args:
        database: its name; UniRef90 is searched for more hits than its peers.
        role: what the hits are for: unpaired, paired or rna.
        tool: the search engine.
        profile: the E-value convention.
        max_sequences: overrides the published limit.
        extra: further flags of an external tool.
    """
    if role not in _MAX_SEQUENCES:
        raise ValueError(f"no sequence search has the role {role!r}")
    published = (
        _UNIREF90_MAX_SEQUENCES
        if role == "unpaired" and database.lower().startswith("uniref90")
        else _MAX_SEQUENCES[role]
    )
    limit = published if max_sequences is None else max_sequences
    if tool == "nhmmer":
        return SearchSettings(
            tool=tool,
            max_sequences=limit,
            e_value=1e-3,
            filters=(0.02, 1e-3, 1e-5),
            profile=profile,
        )
    return SearchSettings(tool=tool, max_sequences=limit, profile=profile, extra=extra)


def rna_filters(
    settings: SearchSettings, query_length: int
) -> tuple[float, float, float]:
    """The filters for an RNA query: the last is opened wide for short ones.

    Below 50 nt AlphaFold 3 passes `--F3 0.02`, as RNAcentral recommends.
    """
    f1, f2, f3 = settings.filters
    return f1, f2, 0.02 if query_length < _SHORT_RNA else f3
