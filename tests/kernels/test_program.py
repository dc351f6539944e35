"""What an optimised program moves: loops, slices, updates in place, kernels."""

from benchmarks.program import Program, size_of

LOOP = """HloModule jit_f

%fused_slice (p0: f32[8,100], p1: s32[]) -> f32[1,100] {
  %p0 = f32[8,100]{1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %c = s32[] constant(0)
  %cut = f32[1,100]{1,0} dynamic-slice(%p0, %p1, %c), dynamic_slice_sizes={1,100}
  ROOT %twice = f32[1,100]{1,0} add(%cut, %cut)
}

%fused_update (p0.1: f32[8,100], p1.1: f32[1,100], p2.1: s32[]) -> f32[8,100] {
  %p0.1 = f32[8,100]{1,0} parameter(0)
  %p1.1 = f32[1,100]{1,0} parameter(1)
  %p2.1 = s32[] parameter(2)
  %c.1 = s32[] constant(0)
  ROOT %put = f32[8,100]{1,0} dynamic-update-slice(%p0.1, %p1.1, %p2.1, %c.1)
}

%body (arg: (f32[8,100], s32[])) -> (f32[8,100], s32[]) {
  %arg = (f32[8,100]{1,0}, s32[]) parameter(0)
  %all = f32[8,100]{1,0} get-tuple-element(%arg), index=0
  %i = s32[] get-tuple-element(%arg), index=1
  %row = f32[1,100]{1,0} fusion(%all, %i), kind=kLoop, calls=%fused_slice
  %new = f32[8,100]{1,0} fusion(%all, %row, %i), kind=kLoop, calls=%fused_update
  ROOT %out = (f32[8,100]{1,0}, s32[]) tuple(%new, %i)
}

ENTRY %main (x: f32[8,100], i0: s32[]) -> f32[8,100] {
  %x = f32[8,100]{1,0} parameter(0)
  %i0 = s32[] parameter(1)
  %start = (f32[8,100]{1,0}, s32[]) tuple(%x, %i0)
  %loop = (f32[8,100]{1,0}, s32[]) while(%start), body=%body, TRIPS
  %y = f32[8,100]{1,0} get-tuple-element(%loop), index=0
  ROOT %z = (f32[8,8]{1,0}, s8[4096]{0}) custom-call(%y, %y), custom_call_target="gemm"
}
""".replace("TRIPS", 'backend_config={"known_trip_count":{"n":"8"}}')


def test_a_loop_counts_as_often_as_it_runs_and_a_slice_as_what_it_is() -> None:
    row, index = 400, 4
    once = (row + row + index) + (row + row + index)
    # Both operands of the product are one array; its workspace is not its result.
    product = 8 * 100 * 4 + 8 * 8 * 4
    traffic = Program(LOOP).traffic()
    assert traffic.memory_bytes == 8 * once + product
    assert traffic.launches == 8 * 2 + 1


def test_sizes_of_types_are_bytes() -> None:
    assert size_of("bf16[2,3]{1,0}") == 12
    assert size_of("(pred[5]{0}, (s32[], f32[0,4]{1,0}))") == 5 + 4
