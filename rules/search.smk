# Where a campaign has its databases filtered ahead of the searches, as on a GPU.
rule filter:
    input:
        BATCHES.inputs("filter"),
    output:
        outcomes="results/filter/{batch}.parquet",
    log:
        "logs/filter/{batch}.log",
    benchmark:
        "logs/filter/{batch}.tsv"
    conda:
        "../envs/inference-cuda.yaml"
    threads: SETTINGS.search.threads
    resources:
        mem_mb=BATCHES.memory("filter"),
        runtime=BATCHES.minutes("filter"),
        attempt=attempt_number,
        devices=int(SETTINGS.search.filter == "triton"),
    shell:
        "python -m workflow.engine.supervise filter --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} --threads {threads} 2>> {log}"


# Alignments and templates: each distinct sequence once, each database once per batch.
rule search:
    input:
        BATCHES.inputs("search"),
    output:
        outcomes="results/search/{batch}.parquet",
    log:
        "logs/search/{batch}.log",
    benchmark:
        "logs/search/{batch}.tsv"
    conda:
        "../envs/core.yaml"
    threads: SETTINGS.search.threads
    resources:
        mem_mb=BATCHES.memory("search"),
        runtime=BATCHES.minutes("search"),
        attempt=attempt_number,
    shell:
        "python -m workflow.engine.supervise search --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} --threads {threads} 2>> {log}"


rule templates:
    input:
        BATCHES.inputs("templates"),
    output:
        outcomes="results/templates/{batch}.parquet",
    log:
        "logs/templates/{batch}.log",
    benchmark:
        "logs/templates/{batch}.tsv"
    conda:
        "../envs/core.yaml"
    threads: SETTINGS.search.threads
    resources:
        mem_mb=BATCHES.memory("templates"),
        runtime=BATCHES.minutes("templates"),
        attempt=attempt_number,
    shell:
        "python -m workflow.engine.supervise templates --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} --threads {threads} 2>> {log}"
