"""Windows of atoms for sequence-local attention, and how values move between layouts.

AF3 SI 3.2. The flat atoms of a job, padded to 24 per token, are cut into windows of
32 queries; each window attends to the 128 keys around its centre, shifted so that
they stay among real atoms. A padding entry of one layout stands for the last padding
entry of the layout it is gathered from, if that has any: the model never reads it, but
the indices agree with the published code's.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from af3_core.features.tokens import NUM_ATOM_SLOTS

QUERIES_PER_WINDOW = 32
KEYS_PER_WINDOW = 128


@dataclass(frozen=True, eq=False)
class GatherIndex:
    """`target = where(mask, flat(source)[index], 0)`, both of the target's shape."""

    index: Int[np.ndarray, "*target"]
    mask: Bool[np.ndarray, "*target"]


@dataclass(frozen=True, eq=False)
class Windows:
    """Index arrays of a padded job; see `af3_core.model.batch.AtomWindows`."""

    token_atoms_to_queries: GatherIndex
    tokens_to_queries: GatherIndex
    tokens_to_keys: GatherIndex
    queries_to_keys: GatherIndex
    queries_to_token_atoms: GatherIndex


def make_windows(atom_mask: Bool[np.ndarray, "n x"], num_tokens: int) -> Windows:
    """Computes the windows of a job padded to `num_tokens`.

    Args:
        atom_mask: real atoms of the unpadded tokens.

    Raises:
        ValueError: fewer than five padded tokens, which hold no window of keys.
    """
    num_flat = _padded_num_atoms(num_tokens)
    if num_flat < KEYS_PER_WINDOW:
        raise ValueError(
            f"{num_tokens} tokens have {num_flat} atom slots, but atom attention needs "
            f"{KEYS_PER_WINDOW}: pad to 5 tokens or more"
        )
    has_padding = num_tokens > len(atom_mask)
    padded = np.zeros((num_tokens, NUM_ATOM_SLOTS), dtype=bool)
    padded[: len(atom_mask)] = atom_mask
    slots = np.flatnonzero(padded)
    num_atoms = len(slots)

    flat_to_slot = np.full(num_flat, padded.size - 1 if has_padding else 0)
    flat_to_slot[:num_atoms] = slots
    is_real = np.arange(num_flat) < num_atoms
    slot_to_flat = np.where(np.arange(num_tokens) < len(atom_mask), 0, num_flat - 1)
    slot_to_flat = np.repeat(slot_to_flat, NUM_ATOM_SLOTS)
    slot_to_flat[slots] = np.arange(num_atoms)
    flat_to_flat = np.where(is_real, np.arange(num_flat), num_flat - 1)

    keys = _key_positions(num_flat, num_atoms)
    queries = np.arange(num_flat).reshape(-1, QUERIES_PER_WINDOW)
    tokens = flat_to_slot // NUM_ATOM_SLOTS
    is_found = is_real | has_padding
    is_padding_slot = (np.arange(padded.size) // NUM_ATOM_SLOTS) >= len(atom_mask)
    return Windows(
        token_atoms_to_queries=_gather(flat_to_slot, is_found, queries),
        tokens_to_queries=_gather(tokens, is_real, queries),
        tokens_to_keys=_gather(tokens, is_real, keys),
        queries_to_keys=_gather(flat_to_flat, np.ones(num_flat, bool), keys),
        queries_to_token_atoms=_gather(
            slot_to_flat,
            padded.ravel() | is_padding_slot,
            np.arange(padded.size).reshape(padded.shape),
        ),
    )


def _padded_num_atoms(num_tokens: int) -> int:
    num_windows = -(-num_tokens * NUM_ATOM_SLOTS // QUERIES_PER_WINDOW)
    return num_windows * QUERIES_PER_WINDOW


def _key_positions(num_flat: int, num_atoms: int) -> Int[np.ndarray, "w k"]:
    """Flat positions of each window's keys; negative ones count from the end."""
    centres = np.arange(QUERIES_PER_WINDOW // 2, num_flat, QUERIES_PER_WINDOW)
    half = KEYS_PER_WINDOW // 2
    positions = centres[:, None] + np.arange(-half, half)
    first, last = positions[:, :1], positions[:, -1:]
    overflow = np.maximum(last - (num_atoms - 1), 0)
    shift = np.where(first < 0, -first, -overflow)
    return (positions + shift) % num_flat


def _gather(
    index: Int[np.ndarray, "m"],
    mask: Bool[np.ndarray, "m"],
    target: Int[np.ndarray, "*target"],
) -> GatherIndex:
    return GatherIndex(index[target].astype(np.int32), mask[target])
