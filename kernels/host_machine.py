"""LLVM's machine code for the processor that this process runs on."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite
import llvmlite.binding as llvm
from llvmlite import ir


def parse(module: ir.Module) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    """The module as LLVM reads it, checked, and the machine that it is compiled for."""
    machine = _host()
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    return parsed, machine


def load(
    machine_code: bytes, name: str, arguments: Sequence[Any]
) -> Callable[..., None]:
    """A function of what `emit_object` made; calls of it release Python's lock.

    `arguments` are their types in C.
    """
    machine = _host()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(machine_code))
    engine.finalize_object()
    address = engine.get_function_address(name)
    function: Any = ctypes.CFUNCTYPE(None, *arguments)(address)
    function.engine = engine  # keeps the code in memory as long as the function
    return function


def describe_host() -> str:
    """All that machine code depends on but what it is made of."""
    return " ".join(
        (
            *(llvmlite.__version__, ".".join(map(str, llvm.llvm_version_info))),
            *(llvm.get_default_triple(), llvm.get_host_cpu_name(), _features()),
        )
    )


def _features() -> str:
    # LLVM shuns the widest vectors on processors that slow down for them; our kernels
    # are little else, and gain.
    features = f"{llvm.get_host_cpu_features().flatten()},-prefer-256-bit"
    return features.removeprefix(",")


def _host() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=_features(), opt=3
    )
