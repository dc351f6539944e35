"""Where a predicted structure comes from, as its mmCIF file states it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

type WeightsOrigin = Literal["alphafold3", "foldmill", "untrained"]
"""AlphaFold 3's parameters or what was fine-tuned from them, ones that were trained
here from scratch, or random numbers."""

_WEIGHTS_TERMS = (
    "https://github.com/google-deepmind/alphafold3/blob/main/WEIGHTS_TERMS_OF_USE.md"
)
_OUTPUT_TERMS = (
    "https://github.com/google-deepmind/alphafold3/blob/main/OUTPUT_TERMS_OF_USE.md"
)


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

    @property
    def comment(self) -> str:
        """The first licence as comment lines for the top of the file."""
        licence = next((u.details for u in self.usage if u.type == "license"), "")
        return "".join(f"# {line}\n" for line in licence.splitlines())


def foldmill_origin(
    version: str, weights: str, made_by: WeightsOrigin = "alphafold3"
) -> Origin:
    """The origin of a prediction made here.

    Args:
        version: of this software.
        weights: identifier of the checkpoint.
        made_by: whose parameters it holds, and so which terms they bring with them.
    """
    return Origin(
        software=(
            Software("AlphaFold", f"AlphaFold 3 ({weights})", "Structure prediction"),
            Software("Foldmill", version, "Features, inference and export"),
        ),
        model_group=f"AlphaFold 3 ({weights}), Foldmill {version}",
        usage=USAGE[made_by],
        authors=("Foldmill",),
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


_CITATION = {
    "id": "primary",
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
_CITATION_AUTHORS = ("Google DeepMind", "Isomorphic Labs")
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
        **_one_row("_citation", _CITATION),
        "_citation_author.citation_id": ["primary"] * len(_CITATION_AUTHORS),
        "_citation_author.name": list(_CITATION_AUTHORS),
        "_citation_author.ordinal": _numbers(_CITATION_AUTHORS),
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
