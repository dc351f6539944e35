"""Where everything of a campaign lies.

At rest a job of one seed has two files: features and prediction, and up to two more if
what the trunk made of it is kept. Everything else is one file per batch or one per
campaign. The rules spell the same paths out, so that both can be searched for.
"""

from dataclasses import dataclass
from pathlib import Path

from workflow.settings import TrunkFile


@dataclass(frozen=True)
class Campaign:
    """The folder of a campaign. Paths begin with `root` as it was given."""

    root: Path = Path()
    results_name: str = "results"
    tables_so_far: Path | None = None
    """Where its tables lie while it is under way; see `workflow.so_far`."""

    @classmethod
    def of_results(cls, results: Path) -> "Campaign":
        """The campaign whose results lie in this folder, whatever its name."""
        folder = results.resolve()
        return cls(folder.parent, folder.name)

    @property
    def results(self) -> Path:
        """All that the campaign makes, but for logs."""
        return self.root / self.results_name

    @property
    def plan(self) -> Path:
        """What will be computed."""
        return self.results / "plan"

    @property
    def tables(self) -> Path:
        """The campaign's tables, of all batches."""
        return self.tables_so_far or self.results / "tables"

    @property
    def folders(self) -> Path:
        """AlphaFold 3's folders, one for each job."""
        return self.results / "alphafold3"

    @property
    def relaxed_models(self) -> Path:
        """Relaxed structures for other programs, one folder for each job."""
        return self.results / "relaxed_models"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.results / "report.html"

    def features(self, job_id: str) -> Path:
        """Seed-independent features and atom layout of a job."""
        return self.results / "features" / f"{job_id}.parquet"

    def prediction(self, item: str) -> Path:
        """All samples of one `job.seed`."""
        return self.results / "predictions" / f"{item}.parquet"

    def trunk_file(self, kind: TrunkFile, item: str) -> Path:
        """Embeddings or distogram of one `job.seed`, if they are kept."""
        return self.results / kind / f"{item}.npz"

    def relaxed(self, name: str) -> Path:
        """The relaxed samples of a batch; of one `job.seed` until it is complete."""
        return self.results / "relaxed" / f"{name}.parquet"

    def outcomes(self, stage: str, batch: str) -> Path:
        """What became of every item of a batch; its presence says it is done."""
        return self.results / stage / f"{batch}.parquet"

    def scores(self, batch: str) -> Path:
        """Scores of every sample of a batch."""
        return self.results / "score" / f"{batch}.scores.parquet"

    def interfaces(self, batch: str) -> Path:
        """Scores of every pair of chains of a batch."""
        return self.results / "score" / f"{batch}.interfaces.parquet"

    def timings(self, batch: str) -> Path:
        """When each item of a predict batch was loaded, computed and finished."""
        return self.results / "timings" / f"{batch}.parquet"

    def provenance(self, batch: str) -> Path:
        """What made every prediction of a batch."""
        return self.results / "provenance" / f"{batch}.parquet"

    def journal(self, stage: str, batch: str) -> Path:
        """What was tried with the items of a batch."""
        return self.root / "logs" / stage / f"{batch}.journal"

    def progress(self, stage: str, batch: str) -> Path:
        """How far a batch is."""
        return self.root / "logs" / stage / f"{batch}.progress"


def split_item(item: str) -> tuple[str, int]:
    """The job id and seed of a `job.seed` item."""
    job_id, seed = item.split(".")
    return job_id, int(seed)
