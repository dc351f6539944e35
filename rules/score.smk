# What is done with every prediction: relaxed, scored, and written for other tools.
rule relax:
    input:
        BATCHES.inputs("relax"),
    output:
        outcomes="results/relax/{batch}.parquet",
    log:
        "logs/relax/{batch}.log",
    benchmark:
        "logs/relax/{batch}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=BATCHES.memory("relax"),
        runtime=BATCHES.minutes("relax"),
        attempt=attempt_number,
    shell:
        "python -m workflow.engine.supervise relax --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} --threads {threads} 2>> {log}"


rule score:
    input:
        BATCHES.inputs("score"),
    output:
        outcomes="results/score/{batch}.parquet",
    log:
        "logs/score/{batch}.log",
    benchmark:
        "logs/score/{batch}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=BATCHES.memory("score"),
        runtime=BATCHES.minutes("score"),
        attempt=attempt_number,
    shell:
        "python -m workflow.engine.supervise score --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} 2>> {log}"


rule export:
    input:
        BATCHES.inputs("export"),
    output:
        outcomes="results/export/{batch}.parquet",
    log:
        "logs/export/{batch}.log",
    benchmark:
        "logs/export/{batch}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=BATCHES.memory("export"),
        runtime=BATCHES.minutes("export"),
        attempt=attempt_number,
    shell:
        "python -m workflow.engine.supervise export --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} 2>> {log}"
