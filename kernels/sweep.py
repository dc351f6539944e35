"""The kernel of `best_segments`. Derivation and layouts: README.md.

Imported only when the Triton backend runs, so that `kernels` needs no Triton.
"""

from typing import no_type_check

import triton
import triton.language as tl

HIGHEST = tl.constexpr(255.0)


@triton.jit
@no_type_check  # its annotations are the compiler's
def sweep_segments(
    scores_ptr,
    letters_ptr,
    starts_ptr,
    groups_ptr,
    rows_ptr,
    best_ptr,
    num_targets,
    LANES: tl.constexpr,
    QUERIES: tl.constexpr,
    CLASSES: tl.constexpr,
    PER_WORD: tl.constexpr,
) -> None:
    """One program: one target [words of PER_WORD residues] and QUERIES queries.

    Each of LANES diagonals walks round and round through the columns of its group's
    profiles; `groups` holds where their scores begin and how many columns they have.
    """
    program = tl.program_id(0)
    group, target = program // num_targets, program % num_targets
    # A multiple of LANES already; said like this, scores are read in vectors.
    begin = tl.load(groups_ptr + 2 * group) * LANES
    period = tl.load(groups_ptr + 2 * group + 1) * LANES
    stride = (period + LANES) * QUERIES
    first_word = tl.load(starts_ptr + target)
    last_word = tl.load(starts_ptr + target + 1)
    lanes, queries = tl.arange(0, LANES), tl.arange(0, QUERIES)
    tile = lanes[:, None] * QUERIES + queries[None, :]
    scores = scores_ptr + begin.to(tl.int64) * QUERIES + tile
    best = tl.zeros((LANES, QUERIES), tl.float16)
    for first_column in range(0, period, LANES):
        value = tl.zeros((LANES, QUERIES), tl.float16)
        column = first_column
        for word in range(first_word, last_word):
            letters = tl.load(letters_ptr + word)
            here = scores + column * QUERIES
            for k in tl.static_range(PER_WORD):
                letter = (letters >> (8 * k)) & (CLASSES - 1)
                score = tl.load(here + letter * stride + k * QUERIES)
                value = tl.maximum(value + score, 0.0)
                best = tl.maximum(best, value)
            column += PER_WORD
            column = tl.where(column == period, 0, column)
    found = tl.minimum(tl.max(best, axis=0), HIGHEST).to(tl.uint8)
    row = tl.load(rows_ptr + group * QUERIES + queries)
    place = best_ptr + row.to(tl.int64) * num_targets + target
    tl.store(place, found, mask=row >= 0)
