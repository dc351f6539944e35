"""Whether the inputs of a campaign are still those it was planned for."""

import hashlib

from af3_core.inputs.files import find_inputs
from workflow.batches import digest_inputs
from workflow.settings import Settings


def inputs_digest(settings: Settings) -> str:
    """Names the inputs and databases as they are now, and the settings that count."""
    tables = (settings.search.databases, settings.plan.costs)
    read = [path.read_bytes() if path and path.is_file() else b"" for path in tables]
    key = (
        settings.plan.max_cluster_jobs,
        settings.plan.device,
        settings.search.batch_size,
        settings.predict.buckets,
        settings.predict.max_tokens,
        settings.predict.batch_minutes,
        settings.predict.seeds,
        settings.predict.num_seeds,
        settings.features.fix_standalone_glycans,
        *(hashlib.sha256(content).hexdigest() for content in read),
    )
    files, _ = find_inputs(settings.inputs)
    return digest_inputs(files, repr(key))
