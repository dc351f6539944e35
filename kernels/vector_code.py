"""Functions for the host's vector units, written in Python and compiled by LLVM.

What Triton is for a GPU: a kernel says which vectors it loads, multiplies and stores,
and LLVM makes machine code of it for the processor that it runs on. Matrix products
are tiles of accumulators that stay in registers (`Code.product`); their right operand
lies in panels (`pack_panels`), the left one in rows.

Operands are 32-bit words: a float32, or two bfloat16 that follow each other along the
axis that is summed over, which one instruction multiplies and adds up in float32.
"""

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import llvmlite.binding as llvm
from jaxtyping import Array, Float
from llvmlite import ir

from kernels.devices import Device, Vectors, host_vectors
from kernels.host_machine import load, parse
from kernels.kept_code import kept

type Dtype = Literal["float32", "bfloat16"]

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
_F32, _PTR = ir.FloatType(), ir.PointerType()
LOG2_E = 1.4426950408889634
# 2^f for |f| <= 1/2 to 1e-7: Taylor's coefficients, ln(2)^n / n!.
_POWERS = (
    *(1.0, 0.6931471805599453, 0.24022650695910072, 0.05550410866482158),
    *(0.009618129107628477, 0.0013333558146428443, 0.00015403530393381608),
)
_STATE = 0x1F80
"""Of a processor's vector units as a process finds it: IEEE 754, exceptions masked."""
LOWEST = -1e30
"""Below every logit that is attended; unlike −inf, its differences are numbers."""


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_BF16 = _BFloat()


ROWS = 64
"""At once: rows, or edges, whose channels stay in a core's own cache."""
MOST_CHANNELS = 512
"""Of a row: more would not stay there."""


class Processor(NamedTuple):
    """What kernels are made for."""

    lanes: int
    """float32 numbers in a vector."""
    rows: int
    """Of a tile of two vectors: as many accumulators as registers can hold."""
    has_bfloat16: bool
    """Whether it multiplies bfloat16."""

    @property
    def panel(self) -> int:
        """Columns of a panel."""
        return 2 * self.lanes


PROCESSORS: Mapping[Vectors, Processor] = {
    "avx2": Processor(8, 4, has_bfloat16=False),
    "avx512": Processor(16, 8, has_bfloat16=False),
    "avx512 with bfloat16": Processor(16, 8, has_bfloat16=True),
}


def processor_of(device: Device) -> Processor:
    """Of a device for which `why_no_code` says nothing."""
    if device.vectors is None:
        raise ValueError(f"no kernels are made for {device}")
    return PROCESSORS[device.vectors]


def why_no_code(device: Device, dtype: str) -> str | None:
    """Why no kernel of this kind runs there; None where it does."""
    if device.platform != "cpu":
        return f"our kernels for processors do not run on {device.platform}"
    if device.vectors is None:
        return "the processor has neither AVX2 nor AVX-512"
    if dtype == "bfloat16" and not PROCESSORS[device.vectors].has_bfloat16:
        return "the processor does not multiply bfloat16 (AVX512-BF16)"
    if dtype not in ("float32", "bfloat16"):
        return f"its products are of float32 or bfloat16, not {dtype}"
    return None


def words_of(dtype: Dtype) -> int:
    """Numbers in a word."""
    return 2 if dtype == "bfloat16" else 1


def pack_panels(
    weights: Float[Array, "k n"], width: int
) -> Float[Array, "panels words width per_word"]:
    """The right operand of a product, as `Code.product` reads it: padded by zeros."""
    per_word = 2 if weights.dtype == jnp.bfloat16 else 1
    k, n = weights.shape
    padded = jnp.pad(weights, ((0, -k % per_word), (0, -n % width)))
    split = padded.reshape(-1, per_word, padded.shape[1] // width, width)
    return split.transpose(2, 0, 3, 1)


Value = Any
"""A value in LLVM's code."""


def _types(arguments: str) -> list[Any]:
    """Their types in C."""
    return [
        ctypes.c_void_p if word.startswith("*") else ctypes.c_int64
        for word in arguments.split()
    ]


class Code:
    """One function in the making: arguments are addresses and whole numbers (i64)."""

    def __init__(self, name: str, arguments: str, processor: Processor) -> None:
        """`arguments`: a word for each, of addresses with a star in front."""
        self.processor, self.lanes = processor, processor.lanes
        self.module = ir.Module(name)
        self.types = _types(arguments)
        kinds = [_PTR if kind is ctypes.c_void_p else _I64 for kind in self.types]
        self.function = ir.Function(
            self.module, ir.FunctionType(ir.VoidType(), kinds), name
        )
        names = (word.lstrip("*") for word in arguments.split())
        self.arguments = dict(zip(names, self.function.args, strict=True))
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.vector = ir.VectorType(_F32, self.lanes)
        self.index = _I64
        # XLA's threads may treat denormal numbers as zeros, and those that begin in
        # them do too; no bit may depend on whose thread it is.
        self._state = self.b.alloca(_I32)
        self._call("llvm.x86.sse.stmxcsr", ir.VoidType(), self._state)
        ours = self.b.alloca(_I32)
        self.b.store(ir.Constant(_I32, _STATE), ours)
        self._call("llvm.x86.sse.ldmxcsr", ir.VoidType(), ours)

    # Whole numbers and addresses

    def number(self, x: Value | int) -> Value:
        """A constant, or what is one of LLVM's values already."""
        return ir.Constant(_I64, x) if isinstance(x, int) else x

    def add(self, *xs: Value | int) -> Value:
        total: Value | int = 0
        for x in xs:
            if isinstance(total, int) and isinstance(x, int):
                total += x
            elif isinstance(total, int) and total == 0:
                total = x
            elif not (isinstance(x, int) and x == 0):
                total = self.b.add(self.number(total), self.number(x))
        return total

    def mul(self, x: Value | int, y: Value | int) -> Value:
        if isinstance(x, int) and isinstance(y, int):
            return x * y
        for a, c in ((x, y), (y, x)):
            if isinstance(a, int) and a in (0, 1):
                return c if a else 0
        return self.b.mul(self.number(x), self.number(y))

    def div(self, x: Value | int, y: Value | int) -> Value:
        return self.b.udiv(self.number(x), self.number(y))

    def rem(self, x: Value | int, y: Value | int) -> Value:
        return self.b.urem(self.number(x), self.number(y))

    def least(self, x: Value | int, y: Value | int) -> Value:
        x, y = self.number(x), self.number(y)
        return self.b.select(self.b.icmp_signed("<", x, y), x, y)

    def less(self, x: Value | int, y: Value | int) -> Value:
        return self.b.icmp_signed("<", self.number(x), self.number(y))

    def at(self, base: Value, index: Value | int, size: int) -> Value:
        """The address of element `index`, of `size` bytes each."""
        if isinstance(index, int) and index == 0:
            return base
        element = {1: _I8, 2: _I16, 4: _I32}[size]
        return self.b.gep(base, [self.number(index)], source_etype=element)

    def load_number(self, address: Value) -> Value:
        """A 32-bit whole number, widened."""
        return self.b.sext(self.b.load(address, typ=_I32), _I64)

    def load_index(self, address: Value) -> Value:
        """A 64-bit whole number."""
        return self.b.load(address, typ=_I64)

    def stored_index(self, base: Value, i: Value) -> Value:
        """Number i of 64-bit whole numbers."""
        return self.load_index(self.b.gep(base, [i], source_etype=_I64))

    def store_index(self, x: Value, base: Value, i: Value) -> None:
        self.b.store(x, self.b.gep(base, [i], source_etype=_I64))

    def load_flag(self, address: Value) -> Value:
        """Whether a byte is not zero."""
        byte = self.b.load(address, typ=_I8)
        return self.b.icmp_unsigned("!=", byte, ir.Constant(_I8, 0))

    # Control

    def loop(
        self,
        start: Value | int,
        stop: Value | int,
        step: int,
        body: Callable[..., Sequence[Value] | None],
        *carried: Value,
    ) -> list[Value]:
        """for i in range(start, stop, step): carried = body(i, *carried)."""
        b, before = self.b, self.b.block
        head = self.function.append_basic_block("head")
        inside = self.function.append_basic_block("body")
        after = self.function.append_basic_block("after")
        start, stop = self.number(start), self.number(stop)
        b.branch(head)
        b.position_at_end(head)
        i = b.phi(_I64)
        i.add_incoming(start, before)
        phis = []
        for x in carried:
            phi = b.phi(x.type)
            phi.add_incoming(x, before)
            phis.append(phi)
        b.cbranch(b.icmp_signed("<", i, stop), inside, after)
        b.position_at_end(inside)
        results = body(i, *phis) or ()
        for phi, x in zip(phis, results, strict=True):
            phi.add_incoming(x, b.block)
        i.add_incoming(b.add(i, self.number(step)), b.block)
        b.branch(head)
        b.position_at_end(after)
        return phis

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """What stands inside is done where `condition` holds."""
        with self.b.if_then(condition):
            yield

    # Vectors of float32

    def splat(self, x: float | Value) -> Value:
        """The same number in every lane."""
        if isinstance(x, (int, float)):
            return ir.Constant(self.vector, [float(x)] * self.lanes)
        return self._splat(x, self.vector)

    def _splat(self, x: Value, vector: Any) -> Value:
        undefined = ir.Constant(vector, ir.Undefined)
        one = self.b.insert_element(undefined, x, ir.Constant(_I32, 0))
        zeros = ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count)
        return self.b.shuffle_vector(one, undefined, zeros)

    def load(self, address: Value, dtype: Dtype = "float32") -> Value:
        """A vector of numbers that follow each other, as float32."""
        if dtype == "float32":
            return self.b.load(address, align=4, typ=self.vector)
        short = ir.VectorType(_I16, self.lanes)
        return self._widen(self.b.load(address, align=2, typ=short))

    def _widen(self, bits: Value) -> Value:
        long = ir.VectorType(_I32, self.lanes)
        shift = ir.Constant(long, [16] * self.lanes)
        return self.b.bitcast(self.b.shl(self.b.zext(bits, long), shift), self.vector)

    def load_scalar(self, address: Value, dtype: Dtype = "float32") -> Value:
        if dtype == "float32":
            return self.b.load(address, align=4, typ=_F32)
        long = self.b.zext(self.b.load(address, align=2, typ=_I16), _I32)
        return self.b.bitcast(self.b.shl(long, ir.Constant(_I32, 16)), _F32)

    def one_number(self, x: float) -> Value:
        """A float32, not a vector."""
        return ir.Constant(_F32, x)

    def zero(self) -> Value:
        return ir.Constant(_F32, 0.0)

    def is_zero(self, x: Value) -> Value:
        return self.b.fcmp_ordered("==", x, self.zero())

    def is_negative(self, x: Value) -> Value:
        """In each lane."""
        return self.b.fcmp_ordered("<", x, self.splat(0.0))

    def all_lanes(self, condition: Value) -> Value:
        """One condition for every lane."""
        return self._splat(condition, ir.VectorType(_I1, self.lanes))

    def lanes_below(self, count: Value) -> Value:
        """Lanes of which the index is below `count`."""
        index = ir.Constant(ir.VectorType(_I64, self.lanes), list(range(self.lanes)))
        return self.b.icmp_signed("<", index, self._splat(count, index.type))

    def load_where(self, lanes: Value, address: Value, dtype: Dtype) -> Value:
        """The same, zeros and no access in other lanes."""
        bits = _I32 if dtype == "float32" else _I16
        vector = ir.VectorType(bits, self.lanes)
        zeros = ir.Constant(vector, [0] * self.lanes)
        loaded = self._call(
            f"llvm.masked.load.v{self.lanes}i{bits.width}.p0",
            vector,
            *(address, ir.Constant(_I32, bits.width // 8), lanes, zeros),
        )
        if dtype == "float32":
            return self.b.bitcast(loaded, self.vector)
        return self._widen(loaded)

    def store(self, x: Value, address: Value, dtype: Dtype = "float32") -> None:
        """A vector, rounded to `dtype`."""
        if dtype == "float32":
            self.b.store(x, address, align=4)
        else:
            self.b.store(self.rounded(x), address, align=2)

    def store_scalar(self, x: Value, address: Value, dtype: Dtype) -> None:
        if dtype == "bfloat16":
            x = self.b.bitcast(self.b.fptrunc(x, _BF16), _I16)
        self.b.store(x, address, align=4 if dtype == "float32" else 2)

    def rounded(self, x: Value) -> Value:
        """As bfloat16, in 16-bit lanes."""
        short = self.b.fptrunc(x, ir.VectorType(_BF16, self.lanes))
        return self.b.bitcast(short, ir.VectorType(_I16, self.lanes))

    def lane(self, x: Value, index: int) -> Value:
        return self.b.extract_element(x, ir.Constant(_I32, index))

    def fadd(self, x: Value, y: Value) -> Value:
        return self.b.fadd(x, y)

    def fsub(self, x: Value, y: Value) -> Value:
        return self.b.fsub(x, y)

    def fmul(self, x: Value, y: Value) -> Value:
        return self.b.fmul(x, y)

    def fdiv(self, x: Value, y: Value) -> Value:
        return self.b.fdiv(x, y)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """x · y + z."""
        name = "llvm.fma.f32" if x.type == _F32 else f"llvm.fma.v{self.lanes}f32"
        return self._call(name, x.type, x, y, z)

    def maximum(self, x: Value, y: Value) -> Value:
        """The higher one; x where it is NaN."""
        return self.b.select(self.b.fcmp_ordered("<", x, y), y, x)

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        return self.b.select(condition, x, y)

    def sum_of(self, x: Value) -> Value:
        """Of all lanes."""
        name = f"llvm.vector.reduce.fadd.v{self.lanes}f32"
        zero = ir.Constant(_F32, 0.0)
        return self._call(name, _F32, zero, x, fastmath=("reassoc",))

    def max_of(self, x: Value) -> Value:
        name = f"llvm.vector.reduce.fmaximum.v{self.lanes}f32"
        return self._call(name, _F32, x)

    def root(self, x: Value) -> Value:
        return self._call("llvm.sqrt.f32", _F32, x)

    def roots(self, x: Value) -> Value:
        """The square root in each lane."""
        return self._call(f"llvm.sqrt.v{self.lanes}f32", self.vector, x)

    def exp2(self, x: Value) -> Value:
        """2^x; 0 for less than 2^-126."""
        x = self.b.select(
            self.b.fcmp_ordered("<", x, self.splat(-127.0)), self.splat(-127.0), x
        )
        x = self.b.select(
            self.b.fcmp_ordered(">", x, self.splat(127.0)), self.splat(127.0), x
        )
        whole = self._call(f"llvm.rint.v{self.lanes}f32", self.vector, x)
        part = self.b.fsub(x, whole)
        power = self.splat(_POWERS[-1])
        for coefficient in reversed(_POWERS[:-1]):
            power = self.fma(power, part, self.splat(coefficient))
        long = ir.VectorType(_I32, self.lanes)
        exponent = self.b.fptosi(whole, long)
        bias, shift = ([n] * self.lanes for n in (127, 23))
        bits = self.b.add(exponent, ir.Constant(long, bias))
        bits = self.b.shl(bits, ir.Constant(long, shift))
        return self.b.fmul(power, self.b.bitcast(bits, self.vector))

    def sigmoid(self, x: Value) -> Value:
        decay = self.exp2(self.b.fmul(x, self.splat(-LOG2_E)))
        return self.b.fdiv(self.splat(1.0), self.b.fadd(self.splat(1.0), decay))

    def transposed(self, rows: Sequence[Value]) -> list[Value]:
        """As many vectors as there are lanes, as a square of words, turned."""
        size, rows = self.lanes, list(rows)
        half = size // 2
        # Exchanges blocks of 1, 2, 4 ... words between pairs of rows.
        while half:
            take_low = [i if not i & half else size + i - half for i in range(size)]
            take_high = [i + half if not i & half else size + i for i in range(size)]
            turned = list(rows)
            for i in range(size):
                if not i & half:
                    x, y = rows[i], rows[i + half]
                    turned[i] = self._shuffled(x, y, take_low)
                    turned[i + half] = self._shuffled(x, y, take_high)
            rows, half = turned, half // 2
        return rows

    def interleaved(self, x: Value, y: Value) -> Value:
        """bfloat16 of x and y in turns, as words."""
        mask = [n for i in range(self.lanes) for n in (i, self.lanes + i)]
        both = self._shuffled(self.rounded(x), self.rounded(y), mask)
        return self.b.bitcast(both, self.vector)

    def _shuffled(self, x: Value, y: Value, lanes: Sequence[int]) -> Value:
        mask = ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes))
        return self.b.shuffle_vector(x, y, mask)

    # What kernels are made of

    def product(
        self,
        left: Sequence[Value],
        right: Value,
        words: Value | int,
        vectors: int,
        dtype: Dtype,
        *,
        width: int | None = None,
    ) -> list[list[Value]]:
        """A tile of a product: for each row, accumulators of `vectors` vectors.

        Args:
            left: for each row, where its words begin.
            right: where the tile's panel begins, `width` words for each step.
            words: how many are summed over.
        """
        width = width or vectors * self.lanes
        zeros = [self.splat(0.0)] * (len(left) * vectors)

        def step(k: Value, *sums: Value) -> list[Value]:
            at = self.mul(k, width)
            panel = [
                self.b.load(
                    self.at(right, self.add(at, v * self.lanes), 4),
                    align=4,
                    typ=self.vector,
                )
                for v in range(vectors)
            ]
            results = []
            for r, row in enumerate(left):
                word = self.b.load(self.at(row, k, 4), align=4, typ=_F32)
                spread = self.splat(word)
                for v in range(vectors):
                    results.append(
                        self._multiplied(spread, panel[v], sums[r * vectors + v], dtype)
                    )
            return results

        sums = self.loop(0, words, 1, step, *zeros)
        return [sums[r * vectors : (r + 1) * vectors] for r in range(len(left))]

    def _multiplied(self, x: Value, y: Value, z: Value, dtype: Dtype) -> Value:
        if dtype == "float32":
            return self.fma(x, y, z)
        pairs = ir.VectorType(_BF16, 2 * self.lanes)
        return self._call(
            "llvm.x86.avx512bf16.dpbf16ps.512",
            self.vector,
            *(z, self.b.bitcast(x, pairs), self.b.bitcast(y, pairs)),
        )

    def normalise(
        self,
        source: Value,
        target: Value,
        num_channels: int,
        scale: Value,
        offset: Value,
        dtype: Dtype,
    ) -> None:
        """Stores the layer norm of one row of channels."""
        size = 4 if dtype == "float32" else 2
        starts = range(0, num_channels, self.lanes)
        x = [self.load(self.at(source, c, size), dtype) for c in starts]
        total, squares = self.splat(0.0), self.splat(0.0)
        for y in x:
            total = self.fadd(total, y)
            squares = self.fma(y, y, squares)
        share = ir.Constant(_F32, 1 / num_channels)
        mean = self.b.fmul(self.sum_of(total), share)
        square = self.b.fmul(self.sum_of(squares), share)
        variance = self.b.fsub(square, self.b.fmul(mean, mean))
        zero = ir.Constant(_F32, 0.0)
        variance = self.b.select(
            self.b.fcmp_ordered("<", variance, zero), zero, variance
        )
        variance = self.b.fadd(variance, ir.Constant(_F32, 1e-5))
        factor = self.splat(self.b.fdiv(ir.Constant(_F32, 1.0), self.root(variance)))
        mean = self.splat(mean)
        for y, c in zip(x, starts, strict=True):
            normed = self.fma(
                self.fmul(self.fsub(y, mean), factor),
                self.load(self.at(scale, c, 4)),
                self.load(self.at(offset, c, 4)),
            )
            self.store(normed, self.at(target, c, size), dtype)

    def _call(
        self, name: str, result: ir.Type, *args: Value, fastmath: tuple[str, ...] = ()
    ) -> Value:
        function = self.module.globals.get(name)
        if function is None:
            kind = ir.FunctionType(result, [x.type for x in args])
            function = ir.Function(self.module, kind, name)
        return self.b.call(function, args, fastmath=fastmath)

    def machine_code(self) -> bytes:
        """Of the function, which ends here."""
        self._call("llvm.x86.sse.ldmxcsr", ir.VoidType(), self._state)
        self.b.ret_void()
        module, machine = parse(self.module)
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        # What is written here is what is to run: loops are unrolled, products tiled
        # and values in registers. Further passes took as long as all else and gained
        # nothing that could be measured.
        passes = llvm.create_new_module_pass_manager()
        passes.add_instruction_combine_pass()
        passes.run(module, llvm.create_pass_builder(machine, options))
        return machine.emit_object(module)

    def compiled(self) -> Callable[..., None]:
        return load(self.machine_code(), self.function.name, self.types)


@runtime_checkable
class _Kind(Protocol):
    """What machine code is made for: all that the code that writes it looks at.

    Its text must say what it is, and be the same in every process.
    """

    @property
    def processor(self) -> Processor: ...


def _require_here(processor: Processor) -> None:
    """LLVM ends the process when it is to write what the processor cannot.

    Raises:
        ValueError: this machine's processor cannot run what is made for `processor`.
    """
    ranks, host = list(PROCESSORS), host_vectors()
    wanted = ranks[list(PROCESSORS.values()).index(processor)]
    if host is None or ranks.index(host) < ranks.index(wanted):
        raise ValueError(f"kernels for {wanted} do not run here: it has {host}")


def kernel[K: _Kind](
    name: str, arguments: str
) -> Callable[[Callable[[Code, K], None]], Callable[[K], Callable[..., None]]]:
    """Turns a function that writes code into one that returns it compiled.

    That is done once in a process, and once at all where JAX keeps programs on disk:
    machine code of ours lies beside them then.

    Args:
        arguments: as `Code` takes them.
    """

    def declare(write: Callable[[Code, K], None]) -> Callable[[K], Any]:
        @cache
        def compiled(kind: K) -> Callable[..., None]:
            _require_here(kind.processor)

            def make() -> bytes:
                code = Code(name, arguments, kind.processor)
                write(code, kind)
                return code.machine_code()

            what = f"{write.__module__}.{write.__qualname__} {kind!r}"
            return load(kept(name, what, make), name, _types(arguments))

        return compiled

    return declare
