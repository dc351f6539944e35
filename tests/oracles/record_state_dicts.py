"""Records small files of PyTorch, for tests of the reader that has to do without it.

    python tests/oracles/record_state_dicts.py tests/data/weights

Needs PyTorch 2; the numbers are counted, so that tests know them.
"""

import collections
import os
import sys
from pathlib import Path

import torch


def tensors(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Two tensors of one storage, a transposed one, and a scalar."""
    whole = (torch.arange(12) / 4).to(dtype)
    return {
        "whole": whole.reshape(3, 4),
        "part": whole[4:8],
        "transposed": (torch.arange(6) / 4).to(dtype).reshape(2, 3).T,
        "scalar": torch.tensor(1.5).to(dtype),
        "count": torch.tensor([7, 8]),
    }


class Planted:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def main(folder: Path) -> None:
    """Writes all files."""
    for name in ("float32", "float16", "bfloat16"):
        torch.save(tensors(getattr(torch, name)), folder / f"{name}.pt")
    module = torch.nn.Linear(2, 3)
    with torch.no_grad():
        module.weight.copy_(torch.arange(6.0).reshape(3, 2))
        module.bias.copy_(torch.arange(3.0))
    torch.save(module.state_dict(), folder / "module.pt")
    torch.save(dict(module.named_parameters()), folder / "parameters.pt")
    training = {
        "state_dict": {f"model.{k}": v for k, v in module.state_dict().items()},
        "ema": {"params": {"weight": module.weight.detach() + 1}, "decay": 0.999},
        "epoch": 3,
        "path": Path("here"),
        "names": collections.OrderedDict(a=1),
    }
    torch.save(training, folder / "training.pt")
    torch.save({"weight": torch.zeros(2), "planted": Planted()}, folder / "planted.pt")
    torch.save(
        torch.zeros(2), folder / "legacy.pt", _use_new_zipfile_serialization=False
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
