# Features on a CPU, structures on a GPU: two jobs for every batch.
rule featurise:
    input:
        BATCHES.inputs("featurise"),
    output:
        outcomes="results/featurise/{batch}.parquet",
    log:
        "logs/featurise/{batch}.log",
    benchmark:
        "logs/featurise/{batch}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 2
    resources:
        mem_mb=BATCHES.memory("featurise"),
        runtime=BATCHES.minutes("featurise"),
        attempt=attempt_number,
    shell:
        "python -m workflow.engine.supervise featurise --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} --threads {threads} 2>> {log}"


rule predict:
    input:
        BATCHES.inputs("predict"),
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
        slurm_partition=BATCHES.card("partition"),
        gres=BATCHES.card("gres"),
    shell:
        "python -m workflow.engine.supervise predict --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} 2>> {log}"
