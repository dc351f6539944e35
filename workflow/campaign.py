"""Where everything of a campaign lies, relative to the folder it runs in.

At rest a job of one seed has two files: features and prediction, and up to two more if
what the trunk made of it is kept. Everything else is one file per batch or one per
campaign. The rules spell the same paths out, so that both can be searched for.
"""

from pathlib import Path

from workflow.settings import TrunkFile

RESULTS = Path("results")
PLAN = RESULTS / "plan"
TABLES = RESULTS / "tables"
FOLDERS = RESULTS / "alphafold3"
REPORT = RESULTS / "report.html"


def features_path(job_id: str) -> Path:
    """Seed-independent features and atom layout of a job."""
    return RESULTS / "features" / f"{job_id}.parquet"


def prediction_path(item: str) -> Path:
    """All samples of one `job.seed`."""
    return RESULTS / "predictions" / f"{item}.parquet"


def trunk_path(kind: TrunkFile, item: str) -> Path:
    """Embeddings or distogram of one `job.seed`, if they are kept."""
    return RESULTS / kind / f"{item}.npz"


def relaxed_path(name: str) -> Path:
    """The relaxed samples of a batch; of one `job.seed` until the batch is complete."""
    return RESULTS / "relaxed" / f"{name}.parquet"


def outcomes_path(stage: str, batch: str) -> Path:
    """What became of every item of a batch; its presence says the batch is done."""
    return RESULTS / stage / f"{batch}.parquet"


def timings_path(batch: str) -> Path:
    """When each item of a predict batch was loaded, computed and finished."""
    return RESULTS / "timings" / f"{batch}.parquet"


def provenance_path(batch: str) -> Path:
    """What made every prediction of a batch."""
    return RESULTS / "provenance" / f"{batch}.parquet"


def split_item(item: str) -> tuple[str, int]:
    """The job id and seed of a `job.seed` item."""
    job_id, seed = item.split(".")
    return job_id, int(seed)
