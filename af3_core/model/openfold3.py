"""OpenFold3's parameters, as they are named and laid out there and here.

`OPENFOLD3` is its network as a `ModelConfig`. `plan` says for every parameter of ours
which tensors it is made of, their shapes included, so that a file can be checked before
anything is read. Names, shapes and meanings are those of release 0.5.0 (Apache-2.0);
its linear weights are [out, in].
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from af3_core.model.config import Conventions, ModelConfig
from af3_core.model.parameters import parameter_shapes

CONVENTIONS = Conventions(
    residue_alphabet="openfold3",
    unsearched_columns="gap",
    modified_residues="unknown",
    missing_template="gap",
    self_directions="zero",
    terminal_atoms="left_out",
    bonds="symmetric",
    conformer_keys="exact",
    padding_keys="masked",
    noise_frequencies="parameter",
    atom_confidences="by_rank",
    unknown_nucleotides="first_atom",
    frames="predicted",
)
OPENFOLD3 = ModelConfig(num_recycles=3, conventions=CONVENTIONS)
"""The network of release 0.5.0; everything else is as in AlphaFold 3."""

VERSION_TENSOR = "version_tensor"
VERSION = (2, 0, 0)
TWIN, TWIN_MODULE = "sample_diffusion.", "sample_diffusion.diffusion_module."
"""Before the names of one module that is listed twice; its name with it."""

_NUM_SLOTS, _NUM_ELEMENTS = 23, 119
type Shape = tuple[int, ...]
type Path = tuple[str, str]
"""Module and name of a parameter of ours."""


class _Layout(NamedTuple):
    """How tensors become one parameter of a given shape."""

    shapes: Callable[[Shape], list[Shape]]
    """Of the tensors."""
    arrange: Callable[[Sequence[ndarray], Shape], ndarray]


def _linear_shape(shape: Shape) -> Shape:
    return shape if len(shape) == 1 else (math.prod(shape[1:]), shape[0])


def _one(shapes: Callable[[Shape], Shape]) -> Callable[[Shape], list[Shape]]:
    return lambda shape: [shapes(shape)]


_LINEAR = _Layout(
    _one(_linear_shape), lambda tensors, shape: tensors[0].T.reshape(shape)
)
"""Also scales and offsets of layer norms."""
_VECTOR = _Layout(
    _one(lambda shape: (math.prod(shape),)),
    lambda tensors, shape: tensors[0].reshape(shape),
)
"""Biases, whatever axes ours have."""
_OUTPUT_FIRST = _Layout(
    _one(lambda shape: (math.prod(shape[:-1]), shape[-1])),
    lambda tensors, shape: tensors[0].reshape(shape),
)
_SCALAR = _Layout(
    _one(lambda shape: (*shape, 1)), lambda tensors, shape: tensors[0].reshape(shape)
)
_BESIDE = _Layout(
    lambda shape: [(shape[1] // 2, shape[0])] * 2,
    lambda tensors, shape: np.concatenate([x.T for x in tensors], axis=1),
)
"""Two projections, one beside the other."""
_INTERLEAVED = _Layout(
    lambda shape: [(shape[1] // 2, shape[0])] * 2,
    lambda tensors, shape: np.stack([x.T for x in tensors], axis=-1).reshape(shape),
)
"""Two projections, channel by channel."""
_OUTER = _Layout(
    _one(lambda shape: (shape[2], shape[0] * shape[1])),
    lambda tensors, shape: tensors[0].T.reshape(shape),
)


def _elements(tensors: Sequence[ndarray], shape: Shape) -> ndarray:
    """Rows by atomic number, which OpenFold3 counts from 0."""
    rows = np.zeros(shape, tensors[0].dtype)
    rows[1 : 1 + _NUM_ELEMENTS] = tensors[0].T
    return rows


def _slots(tensors: Sequence[ndarray], shape: Shape) -> ndarray:
    """One output fewer for each atom slot: no token has so many atoms."""
    outputs = np.zeros(shape, tensors[0].dtype)
    outputs[:, :_NUM_SLOTS] = tensors[0].T.reshape(shape[0], _NUM_SLOTS, shape[2])
    return outputs


_ELEMENTS = _Layout(_one(lambda shape: (shape[1], _NUM_ELEMENTS)), _elements)
_SLOTS = _Layout(_one(lambda shape: (_NUM_SLOTS * shape[2], shape[0])), _slots)


def _single_inputs(num_before: int, num_atom_channels: int) -> _Layout:
    """Single inputs after `num_before` other channels: ours end with the atoms'."""

    def arrange(tensors: Sequence[ndarray], shape: Shape) -> ndarray:
        rows = tensors[0].T
        atoms = rows[num_before : num_before + num_atom_channels]
        rest = rows[num_before + num_atom_channels :]
        return np.concatenate([rows[:num_before], rest, atoms]).reshape(shape)

    return _Layout(_one(_linear_shape), arrange)


class _Source(NamedTuple):
    """Modules of theirs that a module of ours is made of; "#" stands for a block."""

    names: tuple[str, ...]
    layout: _Layout = _LINEAR
    """Of everything but biases."""


def _from(*names: str, layout: _Layout = _LINEAR) -> _Source:
    return _Source(names, layout)


type _Part = Mapping[str, _Source]


def _within(ours: str, theirs: str, *parts: _Part) -> dict[str, _Source]:
    return {
        f"{ours}/{path}": _Source(tuple(f"{theirs}.{n}" for n in names), layout)
        for part in parts
        for path, (names, layout) in part.items()
    }


_ATTENTION: _Part = {name: _from(f"mha.linear_{name}") for name in "qkv"} | {
    "gate": _from("mha.linear_g"),
    "output": _from("mha.linear_o"),
}
_TRANSITION: _Part = {
    "norm": _from("layer_norm"),
    "expand": _from("swiglu.linear_a", "swiglu.linear_b", layout=_BESIDE),
    "contract": _from("linear_out"),
}


def _triangle_multiplication(first: str, second: str) -> _Part:
    return {
        "input_norm": _from("layer_norm_in"),
        "project": _from(
            f"linear_{first}_p", f"linear_{second}_p", layout=_INTERLEAVED
        ),
        "project_gate": _from(
            f"linear_{first}_g", f"linear_{second}_g", layout=_INTERLEAVED
        ),
        "output_norm": _from("layer_norm_out"),
        "output": _from("linear_z"),
        "output_gate": _from("linear_g"),
    }


_TRIANGLE_ATTENTION: _Part = {
    **_ATTENTION,
    **{
        ours: _from(f"mha.linear_{theirs}", layout=_OUTPUT_FIRST)
        for ours, theirs in {"q": "q", "k": "k", "gate": "g"}.items()
    },
    "input_norm": _from("layer_norm"),
    "bias": _from("linear_z"),
}
_PAIR_UPDATE: _Part = {
    **_within(
        "pair/triangle_multiplication_outgoing",
        "tri_mul_out",
        _triangle_multiplication("a", "b"),
    ),
    # For incoming edges the two change roles.
    **_within(
        "pair/triangle_multiplication_incoming",
        "tri_mul_in",
        _triangle_multiplication("b", "a"),
    ),
    **_within("pair/triangle_attention_starting", "tri_att_start", _TRIANGLE_ATTENTION),
    **_within("pair/triangle_attention_ending", "tri_att_end", _TRIANGLE_ATTENTION),
    **_within("pair/transition", "pair_transition", _TRANSITION),
}


def _in_pair_stack(part: _Part) -> _Part:
    return {
        path: _Source(tuple(f"pair_stack.{n}" for n in names), layout)
        for path, (names, layout) in part.items()
    }


_PAIRFORMER: _Part = {
    **_in_pair_stack(_PAIR_UPDATE),
    **_within(
        "single_attention",
        "attn_pair_bias",
        _ATTENTION,
        {
            "pair_norm": _from("layer_norm_z"),
            "input_norm": _from("layer_norm_a"),
            "bias": _from("linear_z"),
        },
    ),
    **_within("single_transition", "single_transition", _TRANSITION),
}
_MSA_BLOCK: _Part = {
    "outer_product_mean": _from("outer_product_mean.linear_out", layout=_OUTER),
    "outer_product_mean/norm": _from("outer_product_mean.layer_norm"),
    "outer_product_mean/left": _from("outer_product_mean.linear_1"),
    "outer_product_mean/right": _from("outer_product_mean.linear_2"),
    **_in_pair_stack(_PAIR_UPDATE),
}
_MSA_UPDATE: _Part = {
    **_within(
        "pair_weighted_averaging",
        "msa_att_row",
        {
            "norm": _from("layer_norm_m"),
            "pair_norm": _from("layer_norm_z"),
            "weights": _from("linear_z"),
            "v": _from("linear_v"),
            "gate": _from("linear_g"),
            "output": _from("linear_o"),
        },
    ),
    **_within("msa_transition", "msa_transition", _TRANSITION),
}


def _adaptive_norm(ours: str, theirs: str) -> dict[str, _Source]:
    part = {
        "condition_norm": _from("layer_norm_s"),
        "scale": _from("linear_g"),
        "shift": _from("linear_s"),
    }
    return _within(ours, theirs, part)


_CONDITIONED: _Part = {
    **_within("attention", "attention_pair_bias", _ATTENTION),
    "attention/output_gate": _from("attention_pair_bias.linear_ada_out"),
    **_adaptive_norm("transition/norm", "conditioned_transition.layer_norm"),
    **_within(
        "transition",
        "conditioned_transition",
        {
            "expand": _TRANSITION["expand"],
            "output": _from("linear_out"),
            "output_gate": _from("linear_g"),
        },
    ),
}
_TOKEN_BLOCK: _Part = {
    **_CONDITIONED,
    **_adaptive_norm("attention/norm", "attention_pair_bias.layer_norm_a"),
}
_ATOM_BLOCK: _Part = {
    **_CONDITIONED,
    **_adaptive_norm("attention/query_norm", "attention_pair_bias.layer_norm_a_q"),
    **_adaptive_norm("attention/key_norm", "attention_pair_bias.layer_norm_a_k"),
}
_ATOM_CONDITIONING: _Part = {
    **_within(
        "atom_conditioning",
        "ref_atom_feature_embedder",
        {
            "embed_position": _from("linear_ref_pos"),
            "embed_mask": _from("linear_ref_mask"),
            "embed_element": _from("linear_ref_element", layout=_ELEMENTS),
            "embed_charge": _from("linear_ref_charge"),
            "embed_atom_name": _from("linear_ref_atom_chars"),
            "embed_offset": _from("linear_ref_offset"),
            "embed_inverse_distance": _from("linear_inv_sq_dists"),
            "embed_is_valid": _from("linear_valid_mask"),
        },
    ),
    "atom_conditioning/embed_row": _from("linear_l"),
    "atom_conditioning/embed_column": _from("linear_m"),
    "atom_conditioning/mlp_1": _from("pair_mlp.1"),
    "atom_conditioning/mlp_2": _from("pair_mlp.3"),
    "atom_conditioning/mlp_3": _from("pair_mlp.5"),
}
_TEMPLATE: _Part = {
    **_within(
        "template",
        "template_pair_embedder",
        {
            "embed_distance": _from("dgram_linear"),
            "embed_row_type": _from("aatype_linear_1"),
            "embed_column_type": _from("aatype_linear_2"),
            "embed_pair": _from("linear_z"),
            "pair_norm": _from("layer_norm_z"),
        },
        {
            ours: _from(f"{theirs}_linear", layout=_SCALAR)
            for ours, theirs in {
                "embed_pseudo_beta_mask": "pseudo_beta_mask",
                "embed_frame_mask": "backbone_mask",
                "embed_direction_x": "x",
                "embed_direction_y": "y",
                "embed_direction_z": "z",
            }.items()
        },
    ),
    **_within("template/blocks", "template_pair_stack.blocks.#", _PAIR_UPDATE),
    "template/output_norm": _from("template_pair_stack.layer_norm"),
    "output": _from("linear_t"),
}
_HEADS: _Part = {
    "distance": _from("pairformer_embedding.linear_distance"),
    **_within(
        "pairformer/blocks",
        "pairformer_embedding.pairformer_stack.blocks.#",
        _PAIRFORMER,
    ),
    **{f"{name}_norm": _from(f"{name}.layer_norm") for name in ("pae", "pde", "plddt")},
    "pae": _from("pae.linear"),
    "pde": _from("pde.linear"),
    "plddt": _from("plddt.linear", layout=_SLOTS),
    "resolved_norm": _from("experimentally_resolved.layer_norm"),
    "resolved": _from("experimentally_resolved.linear", layout=_SLOTS),
}
_DIFFUSION, _ENCODER = "diffusion_module", "diffusion_module.atom_attn_enc"
_CONDITIONING = f"{_DIFFUSION}.diffusion_conditioning"


def _table(config: ModelConfig) -> dict[str, _Source]:
    """Sources by module path; per-block biases apart (see `_BIASES`)."""
    inputs = _single_inputs(0, config.single_channels)
    trunk_and_inputs = _single_inputs(config.single_channels, config.single_channels)
    noisy = f"{_ENCODER}.noisy_position_embedder"
    return {
        **_within("input_embedder", "input_embedder.atom_attn_enc", _ATOM_CONDITIONING),
        **_atoms("input_embedder/atom_encoder", "input_embedder.atom_attn_enc"),
        "input_embedder/atom_pair_bias/norm": _from(
            "input_embedder.atom_attn_enc.atom_transformer.layer_norm_z"
        ),
        "pair_initialisation/left": _from("input_embedder.linear_z_i", layout=inputs),
        "pair_initialisation/right": _from("input_embedder.linear_z_j", layout=inputs),
        "pair_initialisation/relative_position": _from("input_embedder.linear_relpos"),
        "bond_embedding/project": _from("input_embedder.linear_token_bonds"),
        "single_initialisation": _from("input_embedder.linear_s", layout=inputs),
        "recycle_pair_norm": _from("layer_norm_z"),
        "recycle_pair": _from("linear_z"),
        "recycle_single_norm": _from("layer_norm_s"),
        "recycle_single": _from("linear_s"),
        **_within("template_embedder", "template_embedder", _TEMPLATE),
        "msa_module/embed_rows": _from("msa_module_embedder.linear_m"),
        "msa_module/embed_single": _from(
            "msa_module_embedder.linear_s_input", layout=inputs
        ),
        **_within("msa_module/blocks", "msa_module.blocks.#", _MSA_BLOCK, _MSA_UPDATE),
        **_within("pairformer/blocks", "pairformer_stack.blocks.#", _PAIRFORMER),
        **{
            f"diffusion_{path}": source
            for path, source in _within(
                "atom_conditioning", _ENCODER, _shortened(_ATOM_CONDITIONING)
            ).items()
        },
        "diffusion_atom_conditioning/single_norm": _from(f"{noisy}.layer_norm_s"),
        "diffusion_atom_conditioning/embed_single": _from(f"{noisy}.linear_s"),
        "diffusion_atom_conditioning/pair_norm": _from(f"{noisy}.layer_norm_z"),
        "diffusion_atom_conditioning/embed_pair": _from(f"{noisy}.linear_z"),
        "diffusion/embed_positions": _from(f"{noisy}.linear_r"),
        **_atoms("diffusion/atom_encoder", _ENCODER),
        "diffusion_encoder_pair_bias/norm": _from(
            f"{_ENCODER}.atom_transformer.layer_norm_z"
        ),
        **_within(
            "diffusion/atom_decoder",
            f"{_DIFFUSION}.atom_attn_dec",
            {
                "from_tokens": _from("linear_q_in"),
                "norm": _from("layer_norm"),
                "to_positions": _from("linear_q_out"),
            },
            _within("transformer/blocks", "atom_transformer.blocks.#", _ATOM_BLOCK),
        ),
        "diffusion_decoder_pair_bias/norm": _from(
            f"{_DIFFUSION}.atom_attn_dec.atom_transformer.layer_norm_z"
        ),
        **_within(
            "diffusion/noise_conditioning",
            _CONDITIONING,
            {"norm": _from("layer_norm_n"), "project": _from("linear_n")},
            {"fourier": _from("fourier_emb")},
            _within("transition_1", "transition_s.0", _TRANSITION),
            _within("transition_2", "transition_s.1", _TRANSITION),
        ),
        **_within(
            "diffusion_pair_conditioning",
            _CONDITIONING,
            {"norm": _from("layer_norm_z"), "project": _from("linear_z")},
            _within("transition_1", "transition_z.0", _TRANSITION),
            _within("transition_2", "transition_z.1", _TRANSITION),
        ),
        **_within(
            "diffusion_single_conditioning",
            _CONDITIONING,
            {
                "norm": _from("layer_norm_s", layout=trunk_and_inputs),
                "project": _from("linear_s", layout=trunk_and_inputs),
            },
        ),
        "diffusion/single_norm": _from(f"{_DIFFUSION}.layer_norm_s"),
        "diffusion/embed_single": _from(f"{_DIFFUSION}.linear_s"),
        "diffusion/output_norm": _from(f"{_DIFFUSION}.layer_norm_a"),
        "diffusion_token_pair_bias/norm": _from(
            f"{_DIFFUSION}.diffusion_transformer.layer_norm_z"
        ),
        **_within(
            "diffusion/transformer/super_blocks/blocks",
            f"{_DIFFUSION}.diffusion_transformer.blocks.#",
            _TOKEN_BLOCK,
        ),
        **_within("confidence", "aux_heads", _HEADS),
        # Our left is the column.
        "confidence/left": _from(
            "aux_heads.pairformer_embedding.linear_j", layout=inputs
        ),
        "confidence/right": _from(
            "aux_heads.pairformer_embedding.linear_i", layout=inputs
        ),
        "distogram": _from("aux_heads.distogram.linear"),
    }


def _shortened(part: _Part) -> _Part:
    return {path.removeprefix("atom_conditioning/"): s for path, s in part.items()}


def _atoms(ours: str, theirs: str) -> dict[str, _Source]:
    blocks = _within("transformer/blocks", "atom_transformer.blocks.#", _ATOM_BLOCK)
    return _within(ours, theirs, blocks, {"to_tokens": _from("linear_q.0")})


_BIASES = {
    "input_embedder/atom_pair_bias/project": (
        "input_embedder.atom_attn_enc.atom_transformer"
    ),
    "diffusion_encoder_pair_bias/project": f"{_ENCODER}.atom_transformer",
    "diffusion_decoder_pair_bias/project": (
        f"{_DIFFUSION}.atom_attn_dec.atom_transformer"
    ),
    "diffusion_token_pair_bias": f"{_DIFFUSION}.diffusion_transformer",
}
"""Projections of pair biases, which lie in the blocks there and together here."""
_SUFFIXES = {
    "weights": "weight",
    "bias": "bias",
    "scale": "weight",
    "offset": "bias",
    "output_w": "weight",
    "output_b": "bias",
}


@dataclass(frozen=True)
class Recipe:
    """How one parameter is made of tensors."""

    tensors: Mapping[str, Shape]
    """Names and shapes, in the order of `arrange`'s argument."""
    arrange: Callable[[Sequence[ndarray]], ndarray]


def plan(config: ModelConfig) -> dict[Path, Recipe]:
    """The recipe of every parameter that a network of `config` has.

    Together they name every tensor of a state dict once, but for `VERSION_TENSOR` and
    what stands under `TWIN` again.
    """
    table = _table(config)
    return {
        (path, name): (
            _bias_recipe(_BIASES[path], shape.shape, config)
            if path in _BIASES
            else _recipe(table[path], path, name, shape.shape)
        )
        for path, leaves in parameter_shapes(config).items()
        for name, shape in leaves.items()
    }


def _recipe(source: _Source, path: str, name: str, shape: Shape) -> Recipe:
    num_axes = path.count("blocks")  # one each for blocks and for super blocks
    stack, of_block = shape[:num_axes], shape[num_axes:]
    layout = _VECTOR if name in ("bias", "output_b") else source.layout
    suffix = {"weights": "w", "bias": "b"} if path.endswith("fourier") else _SUFFIXES
    blocks = list(_blocks(path, stack))
    num_per_block = len(source.names)
    tensors = {
        f"{module.replace('#', str(block))}.{suffix[name]}": tensor_shape
        for block in blocks
        for module, tensor_shape in zip(
            source.names, layout.shapes(of_block), strict=True
        )
    }

    def arrange(arrays: Sequence[ndarray]) -> ndarray:
        groups = [
            arrays[i : i + num_per_block] for i in range(0, len(arrays), num_per_block)
        ]
        made = [layout.arrange(group, of_block) for group in groups]
        absent = math.prod(stack) - len(made)
        made += [np.zeros(of_block, made[0].dtype if made else np.float32)] * absent
        return np.stack(made).reshape(shape)

    return Recipe(tensors, arrange)


def _blocks(path: str, stack: Shape) -> Iterator[int]:
    """Numbers of the blocks that have the module: the last one of the MSA module does
    not update the alignment."""
    count = math.prod(stack)
    is_msa_update = path.removeprefix("msa_module/blocks/") in _MSA_UPDATE
    yield from range(count - 1 if is_msa_update else count)


def _bias_recipe(theirs: str, shape: Shape, config: ModelConfig) -> Recipe:
    """[c blocks h] of atoms, or [super c blocks h] of tokens."""
    *outer, num_channels, num_blocks, num_heads = shape
    count = math.prod(outer) * num_blocks
    tensors = {
        f"{theirs}.blocks.{block}.attention_pair_bias.linear_z.weight": (
            num_heads,
            num_channels,
        )
        for block in range(count)
    }

    def arrange(arrays: Sequence[ndarray]) -> ndarray:
        blocks = np.stack([x.T for x in arrays])
        blocks = blocks.reshape(*outer, num_blocks, num_channels, num_heads)
        return np.swapaxes(blocks, -3, -2)

    return Recipe(tensors, arrange)
