# Foldmill: AlphaFold 3 over a proteome or a screen.
#
#   snakemake                    runs here, as config/profiles/default says
#   snakemake --profile slurm    submits the same jobs to Slurm
#
# results/plan        what will be computed, in batches        results/predictions  structures
# results/tables      scores, interfaces, failures             results/relaxed      relaxed ones
# results/alphafold3  AlphaFold 3's own folder layout          results/report.html  open this first

import json
import mimetypes
import os

from snakemake.utils import min_version

from workflow import resources
from workflow.campaign import Campaign
from workflow.dag import attempt_number, look
from workflow.installation import lead_steps_here
from workflow.settings import check_settings

min_version("9.27")
# Snakemake's report would take a table for text.
mimetypes.add_type("application/vnd.apache.parquet", ".parquet")

if not config:

    configfile: "config/config.yaml"


# The image that steps run in with `--sdm apptainer`; see docs/containers.md.
if IMAGE := os.environ.get("FOLDMILL_IMAGE"):

    container: IMAGE


SETTINGS = check_settings(config, source="config")
LIMITS = resources.read_limits(workflow.resource_settings)
BATCHES = look(Campaign(), SETTINGS, LIMITS, is_main_process=workflow.is_main_process)
lead_steps_here()
# Settings are too long for a command line: the rule `plan` reads the files again.
CONFIG_FILES = workflow.configfiles
CONFIG_OVERRIDES = json.dumps(dict(workflow.config_settings.config))


wildcard_constraints:
    batch=r"[\w.-]+",
    plan=r"[\w.]+",
    seen=r"\w+",


include: "rules/plan.smk"
include: "rules/search.smk"
include: "rules/predict.smk"
include: "rules/score.smk"
include: "rules/report.smk"


localrules:
    all,
    plan,
    make_room,
    collect,
    report,
    verdict,


rule all:
    default_target: True
    input:
        planned=BATCHES.planned,
        room=BATCHES.room,
        outcomes=BATCHES.outcomes,
        scores="results/tables/scores.parquet",
        report="results/report.html",
        verdict="results/verdict.txt",
