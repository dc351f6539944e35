"""Training and fine-tuning: examples, losses, optimiser, checkpoints, the loop."""

from importlib.util import find_spec

if find_spec("optax") is None:
    raise ImportError("training needs optax: sh envs/setup.sh --extra train")
