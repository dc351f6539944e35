"""Networks on a CPU: features for AlphaFold 3, jobs, tables, and where time goes."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import model_profile, one_network
from benchmarks.bench_model import (
    PROCESS_QUANTITIES,
    Run,
    Side,
    agreement,
    call_in_turn,
    demo_jobs,
    make_job,
    raw_numbers,
    summary,
    take_turns,
)
from tests.parity.adapter import batch_from_features, features_from_batch

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "data" / "cases"


def _features(name: str) -> dict[str, np.ndarray]:
    with np.load(CASES / f"{name}.npz") as recorded:
        return {
            key.removeprefix("batch."): recorded[key]
            for key in recorded.files
            if key.startswith("batch.")
        }


@pytest.mark.parametrize("name", ["villin_gb1", "kitchen_sink"])
def test_alphafold3_gets_back_the_features_that_a_batch_was_made_of(name) -> None:
    recorded = _features(name)
    ours = features_from_batch(batch_from_features(recorded))
    assert ours.keys() == recorded.keys()
    for key, values in ours.items():
        assert (values.dtype, values.shape) == (
            recorded[key].dtype,
            recorded[key].shape,
        ), key
        # Not read by the network, or more than is read: padded, not real, tokens.
        if "input_shape" not in key and "atoms_to_polymer_ligand" not in key:
            np.testing.assert_array_equal(values, recorded[key], key)


@pytest.mark.parametrize(
    ("num_tokens", "chains"),
    [(64, [64]), (256, [108, 93]), (512, [108, 93] * 2 + [108])],
)
def test_a_job_fills_its_size_with_chains_in_turn(num_tokens, chains) -> None:
    job = make_job(num_tokens)
    lengths = {x: len(e.sequence) for e in job.entities for x in e.ids}
    assert [lengths[x] for x in sorted(lengths)] == chains
    for entity in job.entities:
        assert entity.unpaired_msa.count(">") > 1024
        assert len(entity.templates) == 4


def test_the_demos_jobs_need_no_search() -> None:
    jobs = demo_jobs()
    assert {job.name for job in jobs} > {"crambin", "trna_phe"}
    assert all(
        entity.unpaired_msa == ""
        for job in jobs
        for entity in job.entities
        if getattr(entity, "kind", "") in ("protein", "rna")
    )


def _run(seconds: float, **changed) -> Run:
    given = {
        "load": (1.0, 1.0),
        "compile": (2 * seconds, 5.0),
        "calls": ((seconds, 1.5 * seconds),),
        "peak": 4_000_000_000,
        "jax": "0",
        "positions": np.zeros((1, 2, 24, 3)),
        "pae": np.zeros((1, 2, 2)),
    }
    return Run(**{**given, **changed})


def test_ratios_are_of_pairs_and_every_process_is_listed() -> None:
    seconds = [(10, 2), (20, 10), (12, 6)]
    pairs = [{"theirs": _run(a), "ours": _run(b)} for a, b in seconds]
    lines = summary(pairs)
    assert lines[0] == "| | theirs | ours | ratio |"
    assert lines[2] == "| a call, s | 12.00 | 6.00 | 0.50 |"
    assert "| cores busy | 1.50 | 1.50 | 1.00 |" in lines
    assert "| peak memory, GB | 4.00 | 4.00 | 1.00 |" in summary(
        pairs, PROCESS_QUANTITIES
    )
    raw = raw_numbers(pairs)
    assert [line.split(" | ")[1] for line in raw[2:]] == ["theirs", "ours"] * 3
    assert raw[4].startswith("| 2 | theirs | 20.00 | 30.00 | 1.50 |")


def test_what_differs_is_measured_among_real_atoms_only() -> None:
    mask = np.zeros((2, 24), bool)
    mask[0, :2] = True
    features = {"pred_dense_atom_mask": mask, "seq_mask": np.array([True, False])}
    theirs = np.zeros((1, 2, 24, 3))
    theirs[0, 0, 1, 0] = 4.0
    ours = theirs.copy()
    ours[0, 1] = 99.0
    ours[0, 0, :2, 2] = 3.0
    pae = np.array([[[0.5, 9.0], [9.0, 9.0]]])
    said = agreement(
        _run(1, positions=theirs), _run(1, positions=ours, pae=pae), features
    )
    assert "2 atoms differ by 3 Å" in said
    assert "radius of gyration of 2 Å" in said
    assert "errors by 0.5 Å" in said


def _task(checkpoint: Path) -> dict[str, object]:
    return {
        "checkpoint": str(checkpoint),
        "dtype": "float32",
        "num_recycles": 0,
        "num_steps": 1,
        "num_samples": 1,
        "drawn_tokens": 80,
        "few_atoms": True,
        "seed": 1,
    }


@pytest.mark.slow
def test_networks_are_called_in_turn_in_processes_of_their_own(tmp_path) -> None:
    features = tmp_path / "features.npz"
    np.savez(features, **_features("ubiquitin"))
    side = Side("one", "foldmill", Path(sys.executable), ROOT)
    pairs = call_in_turn(
        {side: features, replace(side, name="other"): features},
        _task(ROOT / "config/demo/model/trained.bin.zst"),
        2,
    )
    assert [list(pair) for pair in pairs] == [["one", "other"]] * 2
    runs = [run for pair in pairs for run in pair.values()]
    assert len({run.calls for run in runs}) == 4
    assert len({run.compile for run in runs}) == 2
    for run in runs:
        assert run.positions.shape == (1, 80, 24, 3)
        assert np.isfinite(run.pae).all()
        assert run.compile[0] > run.calls[0][0] > 0
        assert run.peak > 100_000_000


def test_a_network_that_fails_says_why(tmp_path) -> None:
    side = Side("ours", "foldmill", Path(sys.executable), ROOT)
    task = _task(tmp_path / "absent.bin.zst")
    with pytest.raises(RuntimeError, match=r"^ours:\n(?s:.*)absent\.bin\.zst"):
        take_turns([side], task, [tmp_path / "x.npz"], 1)


def test_what_stands_for_unbuilt_modules_says_so_when_called() -> None:
    structure = one_network.Missing("structure", (), {})
    assert isinstance(structure.Cif.parse, type)
    with pytest.raises(NotImplementedError, match="parse was not built"):
        structure.Cif.parse("data_x")


COMPILED = """\
HloModule jit_predict, is_scheduled=true

%fused_computation (param_0: f32[8,4], param_1: f32[4,2]) -> f32[8,2] {
  %param_0 = f32[8,4]{1,0} parameter(0)
  %param_1 = f32[4,2]{1,0} parameter(1)
  %dot.1 = f32[8,2]{1,0} dot(%param_0, %param_1), metadata={op_name="jit(predict)/while/body/eval_jaxpr/pairformer/while/body/eval_jaxpr/pair/while/body/eval_jaxpr/transition/dot_general"}
  ROOT %tanh.1 = f32[8,2]{1,0} tanh(%dot.1)
}

%moved (param_0.1: f32[8,2], param_1.1: s32[]) -> f32[2,8] {
  %param_0.1 = f32[8,2]{1,0} parameter(0)
  %param_1.1 = s32[] parameter(1)
  %add.1 = s32[] add(%param_1.1, %param_1.1)
  ROOT %transpose.1 = f32[2,8]{1,0} transpose(%param_0.1), dimensions={1,0}
}

%body (arguments: (s32[], f32[8,4], /*index=2*/f32[4,2])) -> (s32[], f32[8,4], /*index=2*/f32[4,2]) {
  %arguments = (s32[], f32[8,4]{1,0}, /*index=2*/f32[4,2]{1,0}) parameter(0)
  %fusion.1 = f32[8,2]{1,0} fusion(%a, %b), kind=kCustom, calls=%fused_computation
  %fusion.2 = f32[2,8]{1,0} fusion(%fusion.1, %i), kind=kLoop, calls=%moved, metadata={op_name="jit(predict)/while/body/eval_jaxpr/diffusion/atom_encoder/transpose"}
}

ENTRY %main (a: f32[8,4]) -> f32[8] {
  %while.1 = (s32[], f32[8,4]{1,0}, /*index=2*/f32[4,2]{1,0}) while(%tuple), condition=%c, body=%body
  %copy.1 = f32[8]{0} copy(%x)
  %ffi_call.1 = f32[8]{0} custom-call(%copy.1), custom_call_target="foldmill_projection_0", metadata={op_name="jit(predict)/confidence/ffi_call"}
  ROOT %add.2 = f32[8]{0} add(%x, %y), metadata={op_name="jit(predict)/confidence/add"}
}
"""  # noqa: E501


def test_time_goes_to_the_modules_and_kinds_of_what_ran() -> None:
    program = model_profile.read_program(COMPILED)
    threads = [
        [
            model_profile.Event("while.1", 0, 9e9),
            model_profile.Event("fusion.1", 0, 4e9),
            model_profile.Event("fusion.2", 4e9, 2e9),
            model_profile.Event("fusion.1", 6e9, 2e9),
            model_profile.Event("add.2", 9e9, 1e9),
            model_profile.Event("copy.1", 10e9, 1e9),
            model_profile.Event("ffi_call.1", 11e9, 2e9),
        ],
        [model_profile.Event("fusion.2", 1e9, 1e9)],
    ]
    found = model_profile.summarise(threads, program, wall=10, busy=12)
    assert found.parts == {
        "pairformer: pair transition": {"product": 6},
        "diffusion: atom encoder": {"copy": 3},
        "confidence": {"elementwise": 1, "copy": 1, "kernel": 2},
    }
    assert [(x.name, x.calls) for x in found.longest] == [
        ("fusion.1", 2),
        ("fusion.2", 2),
        ("ffi_call.1", 1),
        ("add.2", 1),
        ("copy.1", 1),
    ]
    lines = model_profile.tables(found)
    # Two passes and ten times the two steps: 12 + 30 + 4 s.
    part = "| pairformer: pair transition | 6.00 | 100% | 0% | 0% | 0% | 0% | 26.1% |"
    assert part in lines
    assert "| all | 13.00 | 46% | 15% | 31% | 8% | 0% | 100% |" in lines
