"""Which backend is chosen on which device, and what a refusal says."""

import logging
import subprocess
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.shapes import af3_shapes, spec_for
from kernels import (
    AttentionSpec,
    Device,
    StackedBias,
    TransitionSpec,
    attention,
    attention_triton,
    backends_used,
    choose_backend,
    demote,
    demoted,
    dispatch,
    explain,
    lowering_for,
    record_choices,
)
from kernels.devices import CARDS
from kernels.refusal_table import README, with_table
from tests.kernels.examples import normal, qkv

A100 = Device("cuda", (8, 0))
TURING = Device("cuda", (7, 5))
TRIANGLE, _, _, DIFFUSION, ATOM = (spec_for(s, A100) for s in af3_shapes(512))

HALF = TRIANGLE._replace(dtype="float16")


def on(device: Device, spec: AttentionSpec = TRIANGLE) -> AttentionSpec:
    return spec._replace(device=device)


@pytest.mark.parametrize(
    ("spec", "chosen"),
    (
        (on(Device("cpu")), "xla"),
        (on(Device("cpu", vectors="avx2")), "xla"),
        (on(Device("cpu", vectors="avx512")), "xla"),
        (on(Device("cpu", vectors="avx512 with bfloat16")), "cpu"),
        (on(Device("tpu")), "xla"),
        (on(Device("rocm")), "xla"),
        (on(Device("cuda", (7, 0))), "xla"),
        (on(Device("cuda", (7, 5))), "xla"),
        (on(Device("cuda", (8, 0))), "triton"),
        (on(Device("cuda", (8, 6))), "triton"),
        (on(Device("cuda", (8, 9))), "triton"),
        (on(Device("cuda", (9, 0))), "triton"),
        (on(Device("cuda", (10, 0))), "triton"),
        (on(Device("cuda", (12, 0))), "triton"),
        (on(Device("cuda", (10, 3))), "triton"),
        (on(Device("cuda", (11, 0))), "cudnn"),
        (on(Device("mps")), "xla"),
        (on(Device("cuda", (13, 7))), "cudnn"),
        (on(Device("cuda", (9, 0), packages=())), "cudnn"),
        (on(Device("cuda", (9, 0), packages=()), DIFFUSION), "xla"),
        (TRIANGLE._replace(num_channels=200), "xla"),
        (on(Device("cuda", (9, 0)), TRIANGLE._replace(num_channels=200)), "cudnn"),
        (DIFFUSION, "triton"),
        (ATOM, "triton"),
    ),
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_auto_takes_the_first_that_does_not_refuse(spec, chosen) -> None:
    assert choose_backend(spec) == chosen


@pytest.mark.parametrize(
    ("backend", "spec", "sentence"),
    (
        ("triton", on(Device("cpu")), "NVIDIA GPUs, not on cpu"),
        ("triton", on(Device("cuda", (7, 5))), "7.5 has no bfloat16"),
        ("triton", on(TURING, HALF), "8.0 to 12.1; this card has 7.5"),
        ("triton", on(Device("cuda", (8, 0), ("triton",))), "jax-triton not installed"),
        ("triton", on(Device("cuda", (8, 0), ())), "triton and jax-triton not"),
        ("triton", TRIANGLE._replace(num_channels=160), "at most 128 channels"),
        ("triton", TRIANGLE._replace(dtype="float64"), "q is float64"),
        (
            "triton",
            TRIANGLE._replace(
                batch=(2, 3, 4), bias=(2, 1, 4, 4, 512, 512), key_mask=(1, 1, 1, 512)
            ),
            "more than two separate groups",
        ),
        ("cudnn", on(Device("rocm")), "NVIDIA GPUs, not on rocm"),
        ("cudnn", on(Device("cuda", (7, 0))), "7.0 has no bfloat16"),
        ("cudnn", on(TURING, HALF), "8.0 or newer; this card has 7.5"),
        ("cudnn", DIFFUSION, "bfloat16 and float16; q is float32"),
        ("cudnn", TRIANGLE._replace(num_channels=20), "a multiple of 8 channels"),
        ("cudnn", TRIANGLE._replace(num_channels=128), "key padding needs 8 channels"),
        (
            "cudnn",
            TRIANGLE._replace(
                bias=None, query_segments=(1, 512), key_segments=(1, 512)
            ),
            "larger than any the caller has made",
        ),
    ),
)
def test_a_named_backend_that_cannot_run_says_why(backend, spec, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        choose_backend(spec, backend)


def test_a_card_whose_shared_memory_holds_no_tile_is_refused(monkeypatch) -> None:
    tiny = CARDS[8, 6]._replace(shared_memory_kib=16)
    monkeypatch.setitem(CARDS, (8, 6), tiny)
    refusal = attention_triton.unsupported(on(Device("cuda", (8, 6))))
    assert "16 KiB of shared memory" in refusal


def test_smaller_tiles_are_taken_where_larger_ones_do_not_fit(monkeypatch) -> None:
    spec = on(Device("cuda", (8, 6)))
    large = attention_triton.choose_tile(spec)
    needed = attention_triton.shared_memory(spec, large) // 1024
    card = CARDS[8, 6]._replace(shared_memory_kib=needed - 1)
    monkeypatch.setitem(CARDS, (8, 6), card)
    assert attention_triton.choose_tile(spec).num_stages < large.num_stages


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="allowed: auto, triton, cudnn, cpu, xla, naive"
    ):
        choose_backend(TRIANGLE, "flash")


def test_of_several_names_the_first_that_can_run_is_taken() -> None:
    assert choose_backend(DIFFUSION, ("cudnn", "xla")) == "xla"
    assert choose_backend(TRIANGLE, ("cudnn", "xla")) == "cudnn"
    with pytest.raises(ValueError, match="'cudnn' refused.*'triton' refused"):
        choose_backend(on(Device("cpu")), ("cudnn", "triton"))


def test_xla_and_naive_refuse_nothing() -> None:
    refusals = explain(on(Device("tpu")))
    assert refusals["xla"] is None and refusals["naive"] is None


def test_a_choice_is_logged_once_for_each_shape(caplog) -> None:
    spec = TRIANGLE._replace(num_queries=511)
    with caplog.at_level(logging.INFO, logger="kernels"):
        choose_backend(spec)
        choose_backend(spec)
    assert len(caplog.records) == 1
    assert "attention by triton for bfloat16 batch [512]" in caplog.text


def test_choices_are_recorded_for_provenance() -> None:
    with record_choices() as choices:
        attention(**qkv(), backend=("cudnn", "xla"))
        attention(**qkv(batch=(3,)), backend="naive")
    assert [spec.batch for spec in choices] == [(2,), (3,)]
    assert list(choices.values()) == ["xla", "naive"]
    assert backends_used(choices) == {"attention": ["naive", "xla"]}


def test_a_dispatch_can_be_decided_for_an_absent_device() -> None:
    with (
        lowering_for(TURING),
        pytest.raises(ValueError, match="this card has 7.5"),
    ):
        attention(**qkv(), backend="triton")


def test_the_flash_kernel_traces_with_gradients_and_vmap() -> None:
    arguments = qkv(batch=(3, 2), dtype="bfloat16")
    axes = dict.fromkeys(arguments, 0) | {"bias": None}
    arguments["bias"] = normal(2, 4, 20, 24, dtype="bfloat16")

    def loss(arguments: dict) -> jax.Array:
        return attention(**arguments, backend="triton").sum()

    with lowering_for(A100):
        gradient = jax.vmap(jax.grad(loss), in_axes=(axes,))
        shapes = jax.eval_shape(gradient, arguments)
    assert {name: x.shape for name, x in shapes.items()} == {
        "q": (3, 2, 20, 4, 16),
        "k": (3, 2, 24, 4, 16),
        "v": (3, 2, 24, 4, 16),
        "bias": (3, 2, 4, 20, 24),
    }


def test_a_stacked_bias_has_the_gradient_of_the_one_that_is_read() -> None:
    arguments, biases = qkv(), normal(3, 4, 20, 24)

    def loss(biases: jax.Array, backend: str) -> jax.Array:
        bias = StackedBias(biases, jnp.asarray(1))
        return attention(**arguments, bias=bias, backend=backend).sum()

    found = jax.grad(loss)(biases, "xla")
    alone = jax.grad(lambda b: attention(**arguments, bias=b, backend="xla").sum())
    np.testing.assert_array_equal(found[1], alone(biases[1]))
    assert not found[0].any() and not found[2].any()
    with lowering_for(A100):
        traced = jax.eval_shape(jax.grad(lambda b: loss(b, "triton")), biases)
    assert traced.shape == biases.shape


@pytest.mark.parametrize(
    ("spec", "chosen"),
    (
        (TransitionSpec(512**2, 128, 512, 128, "bfloat16", A100), "triton"),
        (TransitionSpec(512**2, 128, 512, 128, "float32", A100), "triton"),
        (TransitionSpec(512, 384, 1536, 384, "bfloat16", A100), "triton"),
        (TransitionSpec(512, 384, 1536, 384, "bfloat16", TURING), "xla"),
        (TransitionSpec(512**2, 128, 512, 128, "bfloat16", Device("cpu")), "xla"),
    ),
    ids=("pair", "float32", "single", "old", "cpu"),
)
def test_the_transition_is_chosen_by_the_same_rules(spec, chosen) -> None:
    assert choose_backend(spec) == chosen


def test_the_package_imports_without_triton_and_names_it_when_asked() -> None:
    program = (
        "import sys; sys.modules['triton'] = sys.modules['jax_triton'] = None\n"
        "from kernels import Device, AttentionSpec, explain\n"
        "spec = AttentionSpec((), 8, 8, 1, 1, 16, 'bfloat16',"
        " Device('cuda', (8, 0), packages=()))\n"
        "print(explain(spec)['triton'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "sh envs/setup.sh --extra triton" in result.stdout


def test_the_table_of_refusals_is_the_one_in_the_readme() -> None:
    text = README.read_text()
    assert text == with_table(text), "run python -m kernels.refusal_table"


@pytest.fixture
def fresh_demotions(monkeypatch) -> Iterator[None]:
    """Whatever a test demotes is back after it."""
    monkeypatch.setattr(dispatch, "_DEMOTED", {})
    dispatch._choose_automatically.cache_clear()
    yield
    dispatch._choose_automatically.cache_clear()


@pytest.mark.usefixtures("fresh_demotions")
def test_a_demoted_backend_is_replaced_by_the_next_in_order() -> None:
    assert choose_backend(TRIANGLE) == "triton"
    demote("triton", "the canary found attention off by 0.3")
    assert choose_backend(TRIANGLE) == "cudnn"
    demote("cudnn", "it cannot be loaded")
    assert choose_backend(TRIANGLE) == "xla"
    assert demoted() == {
        "triton": "the canary found attention off by 0.3",
        "cudnn": "it cannot be loaded",
    }


@pytest.mark.usefixtures("fresh_demotions")
def test_a_demoted_backend_that_is_named_stops_with_the_reason() -> None:
    demote("triton", "the canary found attention off by 0.3")
    with pytest.raises(ValueError, match="refused: .* off by 0.3"):
        choose_backend(TRIANGLE, "triton")


@pytest.mark.usefixtures("fresh_demotions")
@pytest.mark.parametrize("backend", ("xla", "naive", "nonsense"))
def test_nothing_is_left_without_xla(backend) -> None:
    with pytest.raises(ValueError, match="only without triton, cudnn"):
        demote(backend, "because")
