# Alignments and templates: each distinct sequence once, each database once per batch.
rule search:
    input:
        plan=ancient("results/plan/manifest.json"),
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
        mem_mb=sized(resources.search_mem_mb, MANIFEST.search, LIMITS.mem_mb),
        runtime=sized(resources.search_minutes, MANIFEST.search, LIMITS.runtime),
    params:
        contract=version_of("msa_hits"),
        settings=settings_of("search", SETTINGS),
    shell:
        "python -m workflow.search --batch {wildcards.batch} --threads {threads} 2> {log}"


rule templates:
    input:
        plan=ancient("results/plan/manifest.json"),
        databases=SETTINGS.search.databases,
        needs=results_of_needs(MANIFEST.templates, MANIFEST),
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
        mem_mb=sized(resources.search_mem_mb, MANIFEST.templates, LIMITS.mem_mb),
        runtime=sized(resources.search_minutes, MANIFEST.templates, LIMITS.runtime),
    params:
        contract=version_of("templates"),
        settings=settings_of("templates", SETTINGS),
    shell:
        "python -m workflow.templates --batch {wildcards.batch} --threads {threads} 2> {log}"
