# Reads the inputs; decides what runs in which batch. Append-only: see
# workflow/planning/batching.py.
rule plan:
    output:
        plan=update("results/plan/plan.json"),
        jobs="results/plan/jobs.parquet",
        chains="results/plan/chains.parquet",
        screen="results/plan/screen_chains.parquet",
        outcomes="results/plan/outcomes.parquet",
        forecast="results/plan/forecast.json",
        settings="results/plan/settings.json",
    log:
        "logs/plan/plan.log",
    benchmark:
        "logs/plan/plan.tsv"
    conda:
        "../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        inputs=BATCHES.plan.inputs_digest,
        settings=SETTINGS.model_dump_json(),
    shell:
        "python -m workflow.plan --settings {params.settings:q} 2> {log}"
