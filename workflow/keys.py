"""What every result depends on, said once.

The key of a result is a digest of the contents of all it depends on: the job with every
file it links (its id is their digest), the databases it is searched in, weights,
references, settings that bear on it, and the versions of the tables. Keys are known as
soon as the plan is: none is made from what a search found. A result is current if, and
only if, the key stored in it is the one computed now.

    features    ← job, searches, template searches, settings of features
    prediction  ← features, weights, settings of the network
    relaxed     ← prediction, settings of relaxation
    scores      ← relaxed, the job's reference
    export      ← scores of all the job's seeds, settings of export
    tables      ← scores of all jobs, the score that ranks them
"""

from functools import cached_property

from af3_core.contracts import (
    FEATURES,
    INTERFACES,
    PREDICTIONS,
    PROVENANCE,
    RELAXED,
    SAMPLE_SCORES,
    SCORES,
    TEMPLATES,
)
from workflow.batches import Batch, Plan
from workflow.campaign import Campaign, split_item
from workflow.settings import Settings, digest_of
from workflow.stages import STAGE, StageName
from workflow.step import read_plan, read_planned_settings

_EXPORT_VERSION = 1
"""Of what is written into the folders of jobs."""


class Keys:
    """The keys of all results of a plan."""

    def __init__(self, plan: Plan, settings: Settings) -> None:
        self.plan, self.settings = plan, settings
        self._contents = plan.contents
        self._values = settings.model_dump(mode="json")

    def items(self, stage: StageName, batch: Batch) -> dict[str, str]:
        """By item, the keys of what a stage makes of a batch."""
        if stage in ("filter", "search"):
            return dict.fromkeys(batch.items, self.search(batch.database))
        if stage == "templates":
            return dict.fromkeys(batch.items, self.templates)
        of_item = {
            "featurise": self.features_file,
            "predict": self.prediction,
            "relax": self.relaxed,
            "score": self.scores,
            "export": self.exported,
        }[stage]
        return {item: of_item(item) for item in STAGE[stage].names(batch)}

    def search(self, database: str) -> str:
        """Of a search in a database, whatever the sequence."""
        for databases in self._contents.searches.values():
            if database in databases:
                return databases[database]
        return ""

    @cached_property
    def templates(self) -> str:
        """Of a search for templates, whatever the sequence."""
        return digest_of(
            TEMPLATES.version,
            self._contents.templates,
            self._contents.searches.get("unpaired", {}),
        )

    def features(self, job_id: str) -> str:
        """Of all of a job's features that do not depend on a seed."""
        roles = self.plan.about[job_id].roles
        return digest_of(job_id, self._features_of_roles(roles))

    def _features_of_roles(self, roles: tuple[str, ...]) -> str:
        known = self._of_roles
        if roles not in known:
            known[roles] = digest_of(
                FEATURES.version,
                {role: self._contents.searches.get(role) for role in roles},
                self._contents.templates if "templates" in roles else "",
                self._values["features"],
                self._values["search"]["max_template_date"],
            )
        return known[roles]

    @cached_property
    def _of_roles(self) -> dict[tuple[str, ...], str]:
        return {}

    def features_file(self, job_id: str) -> str:
        """Of a job's features with the conformers of all its seeds."""
        return digest_of(self.features(job_id), self._seeds[job_id])

    @cached_property
    def _seeds(self) -> dict[str, list[int]]:
        """By job, its seeds in order."""
        found: dict[str, list[int]] = {}
        for batch in self.plan.jobs.values():
            for job_id, seed in map(split_item, batch.items):
                found.setdefault(job_id, []).append(seed)
        return {job_id: sorted(seeds) for job_id, seeds in found.items()}

    @cached_property
    def network(self) -> str:
        """Of all but the features that decides the numbers of a prediction."""
        return network_key(self.settings, self._contents.weights)

    def prediction(self, item: str) -> str:
        """Of all samples of one `job.seed`."""
        job_id, seed = split_item(item)
        return digest_of(self.features(job_id), seed, self.network)

    def relaxed(self, item: str) -> str:
        """Of the relaxed samples of one `job.seed`."""
        return digest_of(RELAXED.version, self.prediction(item), self._values["relax"])

    def scores(self, item: str) -> str:
        """Of the scores of one `job.seed`."""
        job_id, _ = split_item(item)
        reference = self._contents.references.get(self.plan.about[job_id].name)
        versions = SAMPLE_SCORES.version, INTERFACES.version
        return digest_of(versions, self.relaxed(item), reference)

    def exported(self, job_id: str) -> str:
        """Of a job's folder."""
        return digest_of(
            _EXPORT_VERSION,
            [self.scores(f"{job_id}.{seed}") for seed in self._seeds[job_id]],
            self._values["export"],
            self._values["score"]["rank_by"],
        )

    @cached_property
    def tables(self) -> str:
        """Of the campaign's tables."""
        items = (item for batch in self.plan.jobs.values() for item in batch.items)
        return digest_of(
            (SCORES.version, INTERFACES.version, PROVENANCE.version),
            (self.plan.refused, self._values["score"]["rank_by"]),
            sorted(map(self.scores, items)),
        )


def network_key(settings: Settings, weights: str) -> str:
    """Of all but the features that decides the numbers of a prediction.

    `weights` is the digest of the checkpoint and of its configuration.
    """
    model = settings.model_dump(mode="json")["model"]
    return digest_of(
        PREDICTIONS.version,
        weights,
        {name: value for name, value in model.items() if name != "checkpoint"},
        settings.predict.dtype,
    )


def read_keys(campaign: Campaign) -> Keys:
    """The keys of the plan on disk.

    Raises:
        InputError: there is no plan in this folder.
    """
    return Keys(read_plan(campaign), read_planned_settings(campaign))
