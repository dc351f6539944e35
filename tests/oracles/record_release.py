"""Has an earlier release run a small campaign with its own code; keeps what it left.

    python -m tests.oracles.record_release v0.1.0 tests/data/release_0_1_0

Two jobs: one protein that is searched, with templates, and one that is not. Left out is
what a test writes itself (weights) and what only tells of the machine (logs).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.workflow.campaigns import ROOT

_RUN = """
import sys
from pathlib import Path

from tests.workflow.campaigns import (
    QUICK_COMPILE, TINY, job, make_campaign, protein, run_campaign
)

folder = make_campaign(
    Path(sys.argv[1]),
    {
        "given.json": job("given", protein("GSHMKNVTWY")),
        "villin.fasta": ">villin\\nVNSIDEDDKAVFGQTRRAFSNNPLWKQQNLKKEKGLF\\n",
    },
    network=TINY,
    predict={"compilation_cache": None},
)
ended = run_campaign(folder, environment=QUICK_COMPILE)
print(ended.stdout, ended.stderr)
raise SystemExit(ended.returncode)
"""
_LEFT_OUT = (
    *(".snakemake", "toy.bin.zst", "toy.config.json", "*.html", "canary"),
    *("*.log", "*.tsv", "*.progress"),
)


def main(argv: list[str] | None = None) -> int:
    """Writes the folder anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tag")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        tree, campaign = Path(folder) / "tree", Path(folder) / "campaign"
        worktree = ("git", "worktree")
        subprocess.run(
            [*worktree, "add", "--detach", str(tree), arguments.tag],
            cwd=ROOT,
            check=True,
        )
        try:
            subprocess.run(
                [sys.executable, "-c", _RUN, str(campaign)],
                cwd=tree,
                env={**os.environ, "PYTHONPATH": str(tree)},
                check=True,
            )
        finally:
            command = [*worktree, "remove", "--force", str(tree)]
            subprocess.run(command, cwd=ROOT, check=True)
        shutil.rmtree(arguments.out, ignore_errors=True)
        for name in ("config.yaml", "results/plan/settings.json"):
            text = (campaign / name).read_text(encoding="utf-8")
            (campaign / name).write_text(text.replace(str(tree), "/clone"))
        ignored = shutil.ignore_patterns(*_LEFT_OUT)
        shutil.copytree(campaign, arguments.out, ignore=ignored)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
