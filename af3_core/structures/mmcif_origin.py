"""Where a predicted structure comes from, as its mmCIF file states it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

type WeightsOrigin = Literal["alphafold3", "openfold3", "foldmill", "untrained"]
"""AlphaFold 3's parameters or what was fine-tuned from them, OpenFold3's, ones that
were trained here from scratch, or random numbers."""

_WEIGHTS_TERMS = (
    "https://github.com/google-deepmind/alphafold3/blob/main/WEIGHTS_TERMS_OF_USE.md"
)
_OUTPUT_TERMS = (
    "https://github.com/google-deepmind/alphafold3/blob/main/OUTPUT_TERMS_OF_USE.md"
)


_APACHE = "https://www.apache.org/licenses/LICENSE-2.0"


@dataclass(frozen=True)
class WeightsRelease:
    """What weights are called, and the licence that they are under.

    It stands beside imported weights, in the provenance of every prediction made with
    them, and in what is exported.
    """

    origin: WeightsOrigin
    name: str
    """Of the network, such as OpenFold3."""
    version: str = ""
    """Of the weights; empty where nothing but their digest tells."""
    licence: str = ""
    """SPDX identifier, or the name of the terms."""
    source: str = ""
    """Name of the file that they were imported from."""
    source_sha256: str = ""
    """Of that file, in hexadecimal."""

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}".strip()


RELEASES: Mapping[WeightsOrigin, WeightsRelease] = {
    release.origin: release
    for release in (
        WeightsRelease(
            "alphafold3",
            "AlphaFold 3",
            licence="AlphaFold 3 Model Parameters Terms of Use",
        ),
        WeightsRelease(
            "openfold3", "OpenFold3", version="0.5.0 (OpenBind-0)", licence="Apache-2.0"
        ),
        WeightsRelease("foldmill", "Foldmill's demo network", licence="Apache-2.0"),
        WeightsRelease("untrained", "untrained network"),
    )
}
"""What is known of weights by their origin alone."""


@dataclass(frozen=True)
class DataUsage:
    """A licence or disclaimer that goes with the file."""

    type: str
    """`license` or `disclaimer`."""
    details: str
    url: str = "?"


_ALPHAFOLD3_USAGE = (
    DataUsage(
        "license",
        "Predicted with the AlphaFold 3 model parameters: for non-commercial use only,"
        f"\nunder the terms at {_OUTPUT_TERMS}.\nThe parameters are available from "
        f"Google alone, under the terms at\n{_WEIGHTS_TERMS}.",
        _OUTPUT_TERMS,
    ),
    DataUsage(
        "disclaimer",
        "Not intended, validated or approved for clinical use. Provided as is, without "
        "warranty\nof any kind, nor that its use infringes no rights of third parties.",
    ),
)
_OPENFOLD3_USAGE = (
    DataUsage(
        "license",
        "Predicted with the OpenFold3 model parameters, which the OpenFold consortium "
        "has released\nunder the Apache License, Version 2.0: commercial use is "
        f"allowed.\nThe licence is at {_APACHE}.",
        _APACHE,
    ),
    DataUsage(
        "disclaimer",
        "Provided as is, without warranties or conditions of any kind. Not predicted "
        "by\nAlphaFold 3's parameters.",
    ),
)
_FOLDMILL_USAGE = (
    DataUsage(
        "disclaimer",
        "Not predicted by AlphaFold 3's parameters, but by ones that Foldmill trained "
        "from scratch:\nthey have memorised the few structures that their model card "
        "lists, and are for\ntrying the workflow only.",
    ),
)
_UNTRAINED_USAGE = (
    DataUsage(
        "disclaimer",
        "Predicted with untrained parameters: the structure is meaningless.",
    ),
)

USAGE: Mapping[WeightsOrigin, tuple[DataUsage, ...]] = {
    "alphafold3": _ALPHAFOLD3_USAGE,
    "openfold3": _OPENFOLD3_USAGE,
    "foldmill": _FOLDMILL_USAGE,
    "untrained": _UNTRAINED_USAGE,
}
"""What must be passed on with every prediction."""

TERMS_NAME = "TERMS_OF_USE.md"
"""Where AF3's output folder has its terms of use."""


@dataclass(frozen=True)
class Software:
    """A program that took part."""

    name: str
    version: str
    description: str


@dataclass(frozen=True)
class Origin:
    """The header of a predicted structure. Dates are left out on purpose: the same
    prediction makes the same file."""

    software: tuple[Software, ...]
    model_group: str
    """Name of the model that predicted."""
    usage: tuple[DataUsage, ...]
    model_name: str = "Top ranked model"
    authors: tuple[str, ...] = ()
    """Of the file."""
    citations: tuple["Citation", ...] = ()
    """What to cite, the first of them first; AlphaFold 3's paper if there is none."""

    @property
    def comment(self) -> str:
        """The first licence as comment lines for the top of the file."""
        licence = next((u.details for u in self.usage if u.type == "license"), "")
        return "".join(f"# {line}\n" for line in licence.splitlines())


def foldmill_origin(
    version: str,
    weights: str,
    made_by: WeightsOrigin = "alphafold3",
    weights_version: str = "",
) -> Origin:
    """The origin of a prediction made here.

    Args:
        version: of this software.
        weights: identifier of the checkpoint.
        made_by: whose parameters it holds, and so which terms they bring with them.
        weights_version: of the parameters, where it is known.
    """
    program, network, citations = "AlphaFold", "AlphaFold 3", (_ALPHAFOLD3_CITATION,)
    if made_by == "openfold3":
        program, network = "OpenFold3", f"OpenFold3 {weights_version}".strip()
        citations = (_OPENFOLD3_CITATION, _ALPHAFOLD3_CITATION)
    return Origin(
        software=(
            Software(program, f"{network} ({weights})", "Structure prediction"),
            Software("Foldmill", version, "Features, inference and export"),
        ),
        model_group=f"{network} ({weights}), Foldmill {version}",
        usage=USAGE[made_by],
        authors=("Foldmill",),
        citations=citations,
    )


def relaxed_origin(origin: Origin) -> Origin:
    """The origin of what relaxation made of a prediction."""
    relaxation = Software("OpenMM", "ff14SB, OL15, OL3", "Relaxation, Amber14")
    return replace(
        origin,
        software=(*origin.software, relaxation),
        model_name=f"{origin.model_name}, relaxed",
    )


def format_terms(usage: tuple[DataUsage, ...]) -> str:
    """The text of `TERMS_OF_USE.md`: licence and disclaimer, one paragraph each."""
    paragraphs = "\n\n".join(u.details for u in usage)
    return f"# Terms of use\n\n{paragraphs}\n"


@dataclass(frozen=True)
class Citation:
    """A work to cite, and its authors."""

    columns: Mapping[str, str]
    """Of `_citation`, without its id."""
    authors: tuple[str, ...]


_ALPHAFOLD3_COLUMNS = {
    "title": (
        "Accurate structure prediction of biomolecular interactions with AlphaFold 3"
    ),
    "journal_full": "Nature",
    "journal_volume": "630",
    "page_first": "493",
    "page_last": "500",
    "year": "2024",
    "journal_id_ASTM": "NATUAS",
    "country": "UK",
    "journal_id_ISSN": "0028-0836",
    "journal_id_CSD": "0006",
    "book_publisher": "?",
    "pdbx_database_id_PubMed": "38718835",
    "pdbx_database_id_DOI": "10.1038/s41586-024-07487-w",
}
_ALPHAFOLD3_CITATION = Citation(
    _ALPHAFOLD3_COLUMNS, ("Google DeepMind", "Isomorphic Labs")
)
_OPENFOLD3_CITATION = Citation(
    {
        **dict.fromkeys(_ALPHAFOLD3_COLUMNS, "?"),
        "title": "OpenFold3",
        "year": "2025",
        "pdbx_database_id_DOI": "10.5281/zenodo.19001000",
    },
    ("The OpenFold3 Team",),
)
_MODEL_CIF = {
    "dict_name": "mmcif_ma.dic",
    "dict_version": "1.4.5",
    "dict_location": (
        "https://raw.githubusercontent.com/ihmwg/ModelCIF/master/dist/mmcif_ma.dic"
    ),
}
_PROTOCOL = ("coevolution MSA", "template search", "modeling")
_METRICS = ("global", "local")


def origin_columns(origin: Origin) -> dict[str, list[str]]:
    """All categories that say where the structure comes from, not what it is."""
    columns = {
        **_software_columns(origin.software),
        **_one_row("_audit_conform", _MODEL_CIF),
        **_citation_columns(origin.citations or (_ALPHAFOLD3_CITATION,)),
        "_pdbx_data_usage.id": _numbers(origin.usage),
        "_pdbx_data_usage.type": [u.type for u in origin.usage],
        "_pdbx_data_usage.details": [u.details for u in origin.usage],
        "_pdbx_data_usage.url": [u.url for u in origin.usage],
        **_model_columns(origin),
    }
    if origin.authors:
        columns["_audit_author.name"] = list(origin.authors)
        columns["_audit_author.pdbx_ordinal"] = _numbers(origin.authors)
    return {item: values for item, values in columns.items() if values}


def _citation_columns(citations: tuple[Citation, ...]) -> dict[str, list[str]]:
    """The first citation is the primary one, as mmCIF has it; others are numbered."""
    ids = ["primary", *map(str, range(1, len(citations)))]
    authors = [
        (i, name) for i, one in zip(ids, citations, strict=True) for name in one.authors
    ]
    return {
        "_citation.id": ids,
        **{
            f"_citation.{item}": [one.columns[item] for one in citations]
            for item in citations[0].columns
        },
        "_citation_author.citation_id": [i for i, _ in authors],
        "_citation_author.name": [name for _, name in authors],
        "_citation_author.ordinal": _numbers(tuple(authors)),
    }


def _one_row(category: str, values: Mapping[str, str]) -> dict[str, list[str]]:
    return {f"{category}.{item}": [value] for item, value in values.items()}


def _numbers(rows: tuple[object, ...]) -> list[str]:
    return [str(i) for i in range(1, len(rows) + 1)]


def _software_columns(software: tuple[Software, ...]) -> dict[str, list[str]]:
    numbers = _numbers(software)
    return {
        "_software.pdbx_ordinal": numbers,
        "_software.name": [s.name for s in software],
        "_software.version": [s.version for s in software],
        "_software.type": ["package"] * len(software),
        "_software.description": [s.description for s in software],
        "_software.classification": ["other"] * len(software),
        "_software.date": ["?"] * len(software),
        "_ma_software_group.ordinal_id": numbers,
        "_ma_software_group.group_id": ["1"] * len(software),
        "_ma_software_group.software_id": numbers,
    }


def _model_columns(origin: Origin) -> dict[str, list[str]]:
    model = {
        "ordinal_id": "1",
        "model_id": "1",
        "model_group_id": "1",
        "model_name": origin.model_name,
        "model_group_name": origin.model_group,
        "data_id": "1",
        "model_type": "Ab initio model",
    }
    data = {"id": "1", "name": "Model", "content_type": "model coordinates"}
    steps = _numbers(_PROTOCOL)
    return {
        **_one_row("_ma_model_list", model),
        **_one_row("_ma_data", data),
        "_ma_protocol_step.ordinal_id": steps,
        "_ma_protocol_step.protocol_id": ["1"] * len(_PROTOCOL),
        "_ma_protocol_step.step_id": steps,
        "_ma_protocol_step.method_type": list(_PROTOCOL),
        "_ma_qa_metric.id": _numbers(_METRICS),
        "_ma_qa_metric.name": ["pLDDT"] * len(_METRICS),
        "_ma_qa_metric.type": ["pLDDT"] * len(_METRICS),
        "_ma_qa_metric.mode": list(_METRICS),
        "_ma_qa_metric.software_group_id": ["1"] * len(_METRICS),
    }
