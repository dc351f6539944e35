"""The files that AlphaFold 3 writes beside a structure: names, keys and rounding.

Confidences come as rows of contract `predictions`, whose integers have the resolution
of AF3's JSON, so nothing is lost on the way.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer
from numpy import ndarray

from af3_core.contracts import PredictionRow
from af3_core.features.values import Features

_PAE_TEXTS = [f"{tenths / 10:.1f}" for tenths in range(1000)]
_PROBABILITY_TEXTS = [f"{hundredths / 100}" for hundredths in range(101)]
_PLDDT_TEXTS = [f"{hundredths / 100}" for hundredths in range(10_000)]


@dataclass(frozen=True)
class OutputNames:
    """Names of the files of one structure; `folder` is "" for the best of the job."""

    folder: str
    model: str
    confidences: str
    summary: str


def output_names(name: str, seed: int, sample: int) -> OutputNames:
    """Names of one sample's files, relative to the job's folder."""
    folder = f"seed-{seed}_sample-{sample}"
    return _names(f"{folder}/", f"{name}_{folder}")


def best_output_names(name: str) -> OutputNames:
    """Names of the files of the job's best sample, at the top of its folder."""
    return _names("", name)


def _names(folder: str, prefix: str) -> OutputNames:
    return OutputNames(
        folder=folder.rstrip("/"),
        model=f"{folder}{prefix}_model.cif",
        confidences=f"{folder}{prefix}_confidences.json",
        summary=f"{folder}{prefix}_summary_confidences.json",
    )


def input_name(name: str) -> str:
    """Name of the job's input with MSAs and templates."""
    return f"{name}_data.json"


def embeddings_name(name: str, seed: int) -> str:
    """Name of a seed's single and pair embeddings, a NumPy zip file."""
    return f"seed-{seed}_embeddings/{name}_seed-{seed}_embeddings.npz"


def distogram_name(name: str, seed: int) -> str:
    """Name of a seed's distogram, a NumPy zip file."""
    return f"seed-{seed}_distogram/{name}_seed-{seed}_distogram.npz"


def ranking_name(name: str) -> str:
    """Name of the table of ranking scores."""
    return f"{name}_ranking_scores.csv"


def summary_confidences(
    prediction: PredictionRow, chain_ids: Sequence[str]
) -> dict[str, object]:
    """What stands in `summary_confidences.json`, rounded to two decimals.

    NaN, such as ipTM of a single chain, stays NaN; the file has null. `chain_ids` is
    per chain as AF3's documentation has it (its code repeats them for every token).

    Args:
        prediction: the sample.
        chain_ids: in the order of the chains' numbers.
    """
    num_chains = len(chain_ids)
    square = (num_chains, num_chains)
    iptm = prediction.iptm
    return {
        "chain_ids": list(chain_ids),
        "chain_iptm": _rounded(prediction.chain_iptm, (num_chains,)),
        "chain_pair_iptm": _rounded(prediction.chain_pair_iptm, square),
        "chain_pair_pae_min": _rounded(prediction.chain_pair_pae_min, square),
        "chain_ptm": _rounded(prediction.chain_ptm, (num_chains,)),
        "fraction_disordered": _rounded(prediction.fraction_disordered, ()),
        "has_clash": float(prediction.has_clash),
        "iptm": _rounded(np.nan if iptm is None else iptm, ()),
        "ptm": _rounded(prediction.ptm, ()),
        "ranking_score": _rounded(prediction.ranking_score, ()),
    }


def _rounded(values: object, shape: tuple[int, ...]) -> object:
    """As AF3 rounds: in double precision, to two decimals, ties to even."""
    array = np.asarray(values, np.float64).reshape(shape)
    return np.round(array, 2).tolist()


def format_summary(summary: Mapping[str, object]) -> str:
    """The text of `summary_confidences.json`."""
    text = json.dumps(summary, sort_keys=True, indent=1, separators=(",", ": "))
    return text.replace("NaN", "null")


def format_confidences(prediction: PredictionRow, features: Features) -> str:
    """The text of `confidences.json`: PAE, contacts and pLDDT in full.

    Args:
        prediction: the sample.
        features: of its job.

    Raises:
        ValueError: if arrays do not fit the job's tokens and atoms.
    """
    num_tokens, num_atoms = features.num_tokens, len(features.atoms.atom_name)
    square = (num_tokens, num_tokens)
    pae = _shaped(prediction.pae, "pae", square)
    contact_probs = _shaped(prediction.contact_probs, "contact_probs", square)
    plddt = _shaped(prediction.atom_plddt, "atom_plddt", (num_atoms,))
    chain_ids = features.chains.chain_id
    values = {
        "atom_chain_ids": _texts([chain_ids[i] for i in features.atoms.chain_index]),
        "atom_plddts": _numbers(plddt_hundredths(plddt), _PLDDT_TEXTS),
        "contact_probs": _matrix(contact_probs, _PROBABILITY_TEXTS),
        "pae": _matrix(pae, _PAE_TEXTS),
        "token_chain_ids": _texts([chain_ids[i - 1] for i in features.tokens.asym_id]),
        "token_res_ids": json.dumps(
            features.tokens.residue_index.tolist(), separators=(",", ":")
        ),
    }
    return "{\n" + ",\n".join(f'  "{k}": {v}' for k, v in values.items()) + "\n}"


def _shaped(values: ndarray, column: str, shape: tuple[int, ...]) -> ndarray:
    if values.size != np.prod(shape):
        raise ValueError(
            f"column {column} has {values.size} values, the job needs {shape}"
        )
    return values.reshape(shape)


def plddt_hundredths(plddt: Float[ndarray, "a"]) -> Int[ndarray, "a"]:
    """pLDDT in units of 0.01, at most 99.99, rounded as in AF3's JSON."""
    clipped = np.clip(plddt.astype(np.float32), 0, np.float32(99.99))
    return np.floor((clipped * np.float32(100)).astype(np.float64) + 0.5).astype(int)


def _texts(values: Sequence[str]) -> str:
    return json.dumps(values, separators=(",", ":"))


def _numbers(values: Integer[ndarray, "a"], texts: list[str]) -> str:
    return "[" + ",".join([texts[v] for v in values.tolist()]) + "]"


def _matrix(values: Integer[ndarray, "n n"], texts: list[str]) -> str:
    return "[" + ",".join([_numbers(row, texts) for row in values]) + "]"


def format_ranking_scores(scores: Iterable[tuple[int, int, float]]) -> str:
    """The text of `ranking_scores.csv` from (seed, sample, ranking score)."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("seed", "sample", "ranking_score"))
    writer.writerows(scores)
    return text.getvalue()
