from pathlib import Path

import numpy as np
from pyhmmer.easel import SequenceFile, TextSequence
from pyhmmer.plan7 import Background, Builder, Pipeline

from af3_core.search.hmmer import ALPHABETS
from af3_core.search.prefilter import group_filters, make_filter, select_together
from kernels.segments import pack_sequences
from tests.hmmer_programs import read_fasta

DATABASES = Path(__file__).parents[2] / "data" / "databases"
AMINO = ALPHABETS["protein"]


def test_everything_that_passes_hmmers_first_filter_is_kept() -> None:
    """HMMER with only its first filter on reports every sequence that passes it."""
    path = DATABASES / "mgnify.fasta"
    with SequenceFile(path, digital=True, alphabet=AMINO) as file:
        block = file.read_block()
    packed = pack_sequences([np.asarray(s.sequence) for s in block])
    num_kept = 0
    for name, query in read_fasta(DATABASES / "queries.fasta")[:-1]:
        background = Background(AMINO)
        sequence = TextSequence(name=name, sequence=query).digitize(AMINO)
        _, _, profile = Builder(AMINO).build(sequence, background)
        (indices,) = group_filters([make_filter(profile, 5e-4)]).select(packed)
        kept = set(indices.tolist())
        pipeline = Pipeline(
            *(AMINO, background),
            **{"F1": 5e-4, "F2": 1.0, "F3": 1.0, "bias_filter": False},
            **{"Z": 1.0, "E": 1e9, "domE": 1e9},
        )
        passed = {hit.name for hit in pipeline.search_hmm(profile, block)}
        assert passed <= {block[index].name for index in kept}
        num_kept += len(kept)
    assert num_kept < 0.1 * 11 * len(block)


def test_what_scores_lower_than_the_lowest_passing_score_hmmer_drops() -> None:
    """And from that score on its P-value is low, or a second segment may add to it."""
    query = read_fasta(DATABASES / "queries.fasta")[0][1]
    sequence = TextSequence(name="q", sequence=query).digitize(AMINO)
    _, _, profile = Builder(AMINO).build(sequence, Background(AMINO))
    lengths = [1, 2, 30, 400, 2047, 2048, 2049, 40_000]
    packed = pack_sequences([np.zeros(n, np.uint8) for n in lengths])
    lowest = make_filter(profile, 5e-4).lowest_passing(packed)
    location, slope = profile.evalue_parameters.as_vector()[:2]

    def passes(score: int, length: int) -> bool:
        profile.L = length
        total = score - profile.tjb - profile.tbm - profile.tec
        nats = (total - profile.tjb) / profile.scale_b - 3.0
        loop = length / (length + 1)
        null = length * np.log(loop) + np.log(1 - loop)
        exponent = -slope * ((nats - null) / np.log(2) - location)
        return total > 0 or bool(-np.expm1(-np.exp(exponent)) <= 5e-4)

    for score, length in zip(lowest.tolist(), lengths, strict=True):
        assert not passes(score - 1, length)
        assert passes(score, length)


def test_one_call_for_all_queries_keeps_what_each_filter_keeps() -> None:
    path = DATABASES / "small_bfd.fasta"
    with SequenceFile(path, digital=True, alphabet=AMINO) as file:
        packed = pack_sequences([np.asarray(s.sequence) for s in file.read_block()])
    filters = []
    for name, query in read_fasta(DATABASES / "queries.fasta")[:4]:
        sequence = TextSequence(name=name, sequence=query).digitize(AMINO)
        _, _, profile = Builder(AMINO).build(sequence, Background(AMINO))
        filters.append(make_filter(profile, 5e-4))
    together = select_together(filters, packed, "cpu")
    side_by_side = group_filters(filters).select(packed)
    for row, one in enumerate(filters):
        (alone,) = group_filters([one]).select(packed)
        assert alone.tolist() == together[row].tolist() == side_by_side[row].tolist()
        assert len(alone)
