"""Ends a campaign: exit status 1, and one line, while anything is unresolved.

python -m workflow.verdict --out results/verdict.txt
"""

import argparse
import sys
from pathlib import Path

from workflow.campaign import Campaign
from workflow.summary import read_verdict
from workflow.survey import verdict_text
from workflow.tables import replacing


def main(argv: list[str] | None = None) -> int:
    """Writes the verdict where all is well; says what is not otherwise."""
    parser = argparse.ArgumentParser(prog="workflow.verdict", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    # What an earlier run wrote must not outlive a failure of this one.
    arguments.out.unlink(missing_ok=True)
    campaign = Campaign()
    verdict = read_verdict(campaign)
    print(verdict.sentence)
    if verdict.failed:
        print(verdict.sentence, file=sys.stderr)
        return 1
    text = verdict_text(campaign, verdict.sentence)
    with replacing(arguments.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
