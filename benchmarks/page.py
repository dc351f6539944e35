"""What every benchmark shares: its command line, its machine, its page of results."""

import argparse
import os
import re
from collections.abc import Iterable
from pathlib import Path

RESULTS = Path(__file__).with_name("results")


def command_line(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Of `python -m benchmarks.NAME`, whose help is the module's own text."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def machine() -> str:
    """The processor's name, what of it may be used, and how busy it is."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = re.search(r"model name\s*: (.*)", text)
    flags = {"avx512f": "AVX512", "avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX"}
    seen = [shown for flag, shown in flags.items() if re.search(rf"\b{flag}\b", text)]
    cores = len(os.sched_getaffinity(0))
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    shown = f"{name[1] if name else 'unknown'} ({', '.join(seen)})"
    return f"{shown}, {cores} cores, load {load}"


def publish(path: Path, lines: Iterable[str]) -> None:
    """Prints lines and keeps them, each as soon as it is there."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            print(line, file=file, flush=True)
            print(line, flush=True)
