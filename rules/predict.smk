# Features on a CPU, structures on a GPU: two jobs for every batch.
rule featurise:
    input:
        plan=ancient("results/plan/plan.json"),
        needs=BATCHES.needs("featurise"),
    output:
        outcomes="results/featurise/{batch}.parquet",
    log:
        "logs/featurise/{batch}.log",
    benchmark:
        "logs/featurise/{batch}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=BATCHES.memory("featurise"),
        runtime=BATCHES.minutes("featurise"),
        attempt=attempt_number,
    params:
        contracts=BATCHES.contracts("featurise"),
    shell:
        "python -m workflow.engine.supervise featurise --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} 2>> {log}"


rule predict:
    input:
        plan=ancient("results/plan/plan.json"),
        features="results/featurise/{batch}.parquet",
        checkpoint=SETTINGS.model.checkpoint,
    output:
        outcomes="results/predict/{batch}.parquet",
    log:
        "logs/predict/{batch}.log",
    benchmark:
        "logs/predict/{batch}.tsv"
    conda:
        "../envs/inference-cuda.yaml"
    threads: 2
    resources:
        mem_mb=BATCHES.memory("predict"),
        runtime=BATCHES.minutes("predict"),
        attempt=attempt_number,
        devices=1,
    params:
        contracts=BATCHES.contracts("predict"),
        settings=BATCHES.settings_of("predict"),
    shell:
        "python -m workflow.engine.supervise predict --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} 2>> {log}"
