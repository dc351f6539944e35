# Alignments and templates: each distinct sequence once, each database once per batch.
rule search:
    input:
        plan=ancient("results/plan/plan.json"),
        databases=SETTINGS.search.databases,
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
    params:
        contracts=BATCHES.contracts("search"),
        settings=BATCHES.settings_of("search"),
    shell:
        "python -m workflow.engine.supervise search --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} --threads {threads} 2>> {log}"


rule templates:
    input:
        plan=ancient("results/plan/plan.json"),
        databases=SETTINGS.search.databases,
        needs=BATCHES.needs("templates"),
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
    params:
        contracts=BATCHES.contracts("templates"),
        settings=BATCHES.settings_of("templates"),
    shell:
        "python -m workflow.engine.supervise templates --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} --threads {threads} 2>> {log}"
