"""LLVM's machine code for the processor that this process runs on."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir


def parse(module: ir.Module) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    """The module as LLVM reads it, checked, and the machine that it is compiled for."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    # LLVM shuns the widest vectors on processors that slow down for them; our kernels
    # are little else, and gain.
    features = f"{llvm.get_host_cpu_features().flatten()},-prefer-256-bit"
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features.removeprefix(","), opt=3
    )
    return parsed, machine


def load(
    module: llvm.ModuleRef,
    machine: llvm.TargetMachine,
    name: str,
    arguments: Sequence[Any],
) -> Callable[..., None]:
    """A function of a module, in machine code; calls of it release Python's lock.

    `arguments` are their types in C.
    """
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    address = engine.get_function_address(name)
    function: Any = ctypes.CFUNCTYPE(None, *arguments)(address)
    function.engine = engine  # keeps the code in memory as long as the function
    return function
