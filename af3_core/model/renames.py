"""Published scopes of parameters and the module paths they have here.

Published scopes are accidents of the code that trained them (concatenated prefixes,
names of private methods, counters). The tables below compose to `RENAMES`, one entry
for each scope; the names within a scope (weights, bias, scale, offset …) stay.
"""

from collections.abc import Mapping

Names = dict[str, str]


def _within(published: str, ours: str, *parts: Names) -> Names:
    return {published + old: ours + new for part in parts for old, new in part.items()}


_TRANSITION: Names = {
    "input_layer_norm": "norm",
    "transition1": "expand",
    "transition2": "contract",
}
_FFW_TRANSITION: Names = {
    "ffw_layer_norm": "norm",
    "ffw_transition1": "expand",
    "ffw_transition2": "contract",
}
_TRIANGLE_MULTIPLICATION: Names = {
    "left_norm_input": "input_norm",
    "projection": "project",
    "gate": "project_gate",
    "center_norm": "output_norm",
    "output_projection": "output",
    "gating_linear": "output_gate",
}
_TRIANGLE_ATTENTION: Names = {
    "act_norm": "input_norm",
    "pair_bias_projection": "bias",
    "q_projection": "q",
    "k_projection": "k",
    "v_projection": "v",
    "gating_query": "gate",
    "output_projection": "output",
}
_PAIR_UPDATE: Names = {
    **_within(
        "triangle_multiplication_outgoing/",
        "pair/triangle_multiplication_outgoing/",
        _TRIANGLE_MULTIPLICATION,
    ),
    **_within(
        "triangle_multiplication_incoming/",
        "pair/triangle_multiplication_incoming/",
        _TRIANGLE_MULTIPLICATION,
    ),
    **_within(
        "pair_attention1/", "pair/triangle_attention_starting/", _TRIANGLE_ATTENTION
    ),
    **_within(
        "pair_attention2/", "pair/triangle_attention_ending/", _TRIANGLE_ATTENTION
    ),
    **_within("pair_transition/", "pair/transition/", _TRANSITION),
}
_SINGLE_UPDATE: Names = {
    "single_pair_logits_norm": "single_attention/pair_norm",
    "single_pair_logits_projection": "single_attention/bias",
    "single_attention_layer_norm": "single_attention/input_norm",
    "single_attention_q_projection": "single_attention/q",
    "single_attention_k_projection": "single_attention/k",
    "single_attention_v_projection": "single_attention/v",
    "single_attention_gating_query": "single_attention/gate",
    "single_attention_transition2": "single_attention/output",
    **_within("single_transition/", "single_transition/", _TRANSITION),
}
_MSA_UPDATE: Names = {
    "outer_product_mean": "outer_product_mean",
    **_within(
        "outer_product_mean/",
        "outer_product_mean/",
        {
            "layer_norm_input": "norm",
            "left_projection": "left",
            "right_projection": "right",
        },
    ),
    **_within(
        "msa_attention1/",
        "pair_weighted_averaging/",
        {
            "act_norm": "norm",
            "pair_norm": "pair_norm",
            "pair_logits": "weights",
            "v_projection": "v",
            "gating_query": "gate",
            "output_projection": "output",
        },
    ),
    **_within("msa_transition/", "msa_transition/", _TRANSITION),
}
_TEMPLATE: Names = {
    "query_embedding_norm": "pair_norm",
    "output_layer_norm": "output_norm",
    "template_pair_embedding_0": "embed_distance",
    "template_pair_embedding_1": "embed_pseudo_beta_mask",
    "template_pair_embedding_2": "embed_column_type",
    "template_pair_embedding_3": "embed_row_type",
    "template_pair_embedding_4": "embed_direction_x",
    "template_pair_embedding_5": "embed_direction_y",
    "template_pair_embedding_6": "embed_direction_z",
    "template_pair_embedding_7": "embed_frame_mask",
    "template_pair_embedding_8": "embed_pair",
    **_within(
        "__layer_stack_no_per_layer/template_embedding_iteration/",
        "blocks/",
        _PAIR_UPDATE,
    ),
}
_TRUNK: Names = {
    "left_single": "pair_initialisation/left",
    "right_single": "pair_initialisation/right",
    "~_relative_encoding/position_activations": "pair_initialisation/relative_position",
    "bond_embedding": "bond_embedding/project",
    "prev_embedding_layer_norm": "recycle_pair_norm",
    "prev_embedding": "recycle_pair",
    "prev_single_embedding_layer_norm": "recycle_single_norm",
    "prev_single_embedding": "recycle_single",
    "single_activations": "single_initialisation",
    "msa_activations": "msa_module/embed_rows",
    "extra_msa_target_feat": "msa_module/embed_single",
    "template_embedding/output_linear": "template_embedder/output",
    **_within(
        "template_embedding/single_template_embedding/",
        "template_embedder/template/",
        _TEMPLATE,
    ),
    **_within(
        "__layer_stack_no_per_layer/msa_stack/",
        "msa_module/blocks/",
        _MSA_UPDATE,
        _PAIR_UPDATE,
    ),
    **_within(
        "__layer_stack_no_per_layer_1/trunk_pairformer/",
        "pairformer/blocks/",
        _PAIR_UPDATE,
        _SINGLE_UPDATE,
    ),
}
_CONFIDENCE: Names = {
    "~_embed_features/left_target_feat_project": "left",
    "~_embed_features/right_target_feat_project": "right",
    "~_embed_features/distogram_feat_project": "distance",
    "logits_ln": "pde_norm",
    "left_half_distance_logits": "pde",
    "pae_logits_ln": "pae_norm",
    "pae_logits": "pae",
    "plddt_logits_ln": "plddt_norm",
    "plddt_logits": "plddt",
    "experimentally_resolved_ln": "resolved_norm",
    "experimentally_resolved_logits": "resolved",
    **_within(
        "__layer_stack_no_per_layer/confidence_pairformer/",
        "pairformer/blocks/",
        _PAIR_UPDATE,
        _SINGLE_UPDATE,
    ),
}


def _adaptive_norm(published: str, ours: str) -> Names:
    parts = {"layer_norm": "condition_norm", "scale": "scale", "bias": "shift"}
    return _within(f"{published}single_cond_", f"{ours}/", parts)


_CONDITIONED_BLOCK: Names = {
    "q_projection": "attention/q",
    "k_projection": "attention/k",
    "v_projection": "attention/v",
    "gating_query": "attention/gate",
    "transition2": "attention/output",
    "adaptive_zero_cond": "attention/output_gate",
    **_adaptive_norm("ffw_", "transition/norm"),
    "ffw_transition1": "transition/expand",
    "ffw_transition2": "transition/output",
    "ffw_adaptive_zero_cond": "transition/output_gate",
}
_TOKEN_BLOCK: Names = {**_adaptive_norm("", "attention/norm"), **_CONDITIONED_BLOCK}
_ATOM_BLOCK: Names = {
    **_adaptive_norm("q", "attention/query_norm"),
    **_adaptive_norm("k", "attention/key_norm"),
    **_CONDITIONED_BLOCK,
}
_ATOM_CONDITIONING: Names = {
    "embed_ref_pos": "embed_position",
    "embed_ref_mask": "embed_mask",
    "embed_ref_element": "embed_element",
    "embed_ref_charge": "embed_charge",
    "embed_ref_atom_name": "embed_atom_name",
    "single_to_pair_cond_row_1": "embed_row",
    "single_to_pair_cond_col_1": "embed_column",
    "embed_pair_offsets_1": "embed_offset",
    "embed_pair_distances_1": "embed_inverse_distance",
    "embed_pair_offsets_valid": "embed_is_valid",
    "pair_mlp_1": "mlp_1",
    "pair_mlp_2": "mlp_2",
    "pair_mlp_3": "mlp_3",
}
_TRUNK_CONDITIONING: Names = {
    "lnorm_trunk_single_cond": "single_norm",
    "embed_trunk_single_cond": "embed_single",
    "lnorm_trunk_pair_cond": "pair_norm",
    "embed_trunk_pair_cond": "embed_pair",
}


def _atom_transformer(published: str, bias: str, ours: str) -> Names:
    """`published` ends with the prefix that each name in a block repeats."""
    prefix = published.rsplit("/", 1)[-1]
    return {
        f"{published}/pair_input_layer_norm": f"{bias}/norm",
        f"{published}/pair_logits_projection": f"{bias}/project",
        **_within(
            f"{published}/__layer_stack_with_per_layer/{prefix}",
            f"{ours}/transformer/blocks/",
            _ATOM_BLOCK,
        ),
    }


_INPUT = "diffuser/evoformer_conditioning_"
_HEAD = "diffuser/~/diffusion_head/"
_TOKEN_STACK = f"{_HEAD}transformer/__layer_stack_with_per_layer/"

RENAMES: Mapping[str, str] = {
    **_within(_INPUT, "input_embedder/atom_conditioning/", _ATOM_CONDITIONING),
    **_atom_transformer(
        f"{_INPUT}atom_transformer_encoder",
        "input_embedder/atom_pair_bias",
        "input_embedder/atom_encoder",
    ),
    f"{_INPUT}project_atom_features_for_aggr": "input_embedder/atom_encoder/to_tokens",
    **_within("diffuser/evoformer/", "", _TRUNK),
    **_within(
        f"{_HEAD}diffusion_",
        "diffusion_atom_conditioning/",
        _ATOM_CONDITIONING,
        _TRUNK_CONDITIONING,
    ),
    f"{_HEAD}pair_cond_initial_norm": "diffusion_pair_conditioning/norm",
    f"{_HEAD}pair_cond_initial_projection": "diffusion_pair_conditioning/project",
    **_within(
        f"{_HEAD}pair_transition_0",
        "diffusion_pair_conditioning/transition_1/",
        _FFW_TRANSITION,
    ),
    **_within(
        f"{_HEAD}pair_transition_1",
        "diffusion_pair_conditioning/transition_2/",
        _FFW_TRANSITION,
    ),
    f"{_HEAD}single_cond_initial_norm": "diffusion_single_conditioning/norm",
    f"{_HEAD}single_cond_initial_projection": "diffusion_single_conditioning/project",
    # Not AlphaFold 3's: where frequencies are constants there is no such scope.
    f"{_HEAD}noise_embedding_fourier": "diffusion/noise_conditioning/fourier",
    f"{_HEAD}noise_embedding_initial_norm": "diffusion/noise_conditioning/norm",
    f"{_HEAD}noise_embedding_initial_projection": (
        "diffusion/noise_conditioning/project"
    ),
    **_within(
        f"{_HEAD}single_transition_0",
        "diffusion/noise_conditioning/transition_1/",
        _FFW_TRANSITION,
    ),
    **_within(
        f"{_HEAD}single_transition_1",
        "diffusion/noise_conditioning/transition_2/",
        _FFW_TRANSITION,
    ),
    f"{_HEAD}diffusion_atom_positions_to_features": "diffusion/embed_positions",
    **_atom_transformer(
        f"{_HEAD}diffusion_atom_transformer_encoder",
        "diffusion_encoder_pair_bias",
        "diffusion/atom_encoder",
    ),
    f"{_HEAD}diffusion_project_atom_features_for_aggr": (
        "diffusion/atom_encoder/to_tokens"
    ),
    f"{_HEAD}single_cond_embedding_norm": "diffusion/single_norm",
    f"{_HEAD}single_cond_embedding_projection": "diffusion/embed_single",
    f"{_HEAD}transformer/pair_input_layer_norm": "diffusion_token_pair_bias/norm",
    f"{_TOKEN_STACK}pair_logits_projection": "diffusion_token_pair_bias",
    **_within(
        f"{_TOKEN_STACK}__layer_stack_with_per_layer/transformer",
        "diffusion/transformer/super_blocks/blocks/",
        _TOKEN_BLOCK,
    ),
    f"{_HEAD}output_norm": "diffusion/output_norm",
    f"{_HEAD}diffusion_project_token_features_for_broadcast": (
        "diffusion/atom_decoder/from_tokens"
    ),
    **_atom_transformer(
        f"{_HEAD}diffusion_atom_transformer_decoder",
        "diffusion_decoder_pair_bias",
        "diffusion/atom_decoder",
    ),
    f"{_HEAD}diffusion_atom_features_layer_norm": "diffusion/atom_decoder/norm",
    f"{_HEAD}diffusion_atom_features_to_position_update": (
        "diffusion/atom_decoder/to_positions"
    ),
    **_within("diffuser/confidence_head/", "confidence/", _CONFIDENCE),
    "diffuser/distogram_head/half_logits": "distogram",
}
"""Published scope → module path, one to one."""

UNUSED: Mapping[str, str] = {
    prefix + old: new
    for prefix in (_INPUT, f"{_HEAD}diffusion_")
    for old, new in {
        "single_to_pair_cond_row": "single_to_pair_cond_row_1",
        "single_to_pair_cond_col": "single_to_pair_cond_col_1",
        "embed_pair_offsets": "embed_pair_offsets_1",
        "embed_pair_distances": "embed_pair_distances_1",
    }.items()
}
"""Published scopes that the published code computes with and discards, and the scope
under the same prefix whose shapes they share."""

IDENTIFIER = "__meta__", "__identifier__"
"""Scope and name of the 64 bytes that name a release."""
