from pathlib import Path

import numpy as np
from pyhmmer.easel import SequenceFile, TextSequence
from pyhmmer.plan7 import Background, Builder, Pipeline

from af3_core.search.hmmer import ALPHABETS
from af3_core.search.prefilter import make_filter
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
        kept = set(make_filter(profile, 5e-4).select(packed).tolist())
        pipeline = Pipeline(
            *(AMINO, background),
            **{"F1": 5e-4, "F2": 1.0, "F3": 1.0, "bias_filter": False},
            **{"Z": 1.0, "E": 1e9, "domE": 1e9},
        )
        passed = {hit.name for hit in pipeline.search_hmm(profile, block)}
        assert passed <= {block[index].name for index in kept}
        num_kept += len(kept)
    assert num_kept < 0.1 * 11 * len(block)
