# What is done with every prediction: relaxed, scored, and written for other tools.
rule relax:
    input:
        plan=ancient("results/plan/manifest.json"),
        predictions="results/predict/{batch}.parquet",
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
        mem_mb=sized(resources.relax_mem_mb, MANIFEST.jobs, LIMITS.mem_mb),
        runtime=sized(resources.relax_minutes, MANIFEST.jobs, LIMITS.runtime),
        attempt=attempt_number,
    params:
        contract=version_of("relaxed"),
        settings=settings_of("relax", SETTINGS),
    shell:
        "python -m workflow.running.supervise relax --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} --threads {threads} 2>> {log}"


rule score:
    input:
        plan=ancient("results/plan/manifest.json"),
        predictions="results/predict/{batch}.parquet",
        relaxed="results/relax/{batch}.parquet",
    output:
        outcomes="results/score/{batch}.parquet",
        scores="results/score/{batch}.scores.parquet",
        interfaces="results/score/{batch}.interfaces.parquet",
    log:
        "logs/score/{batch}.log",
    benchmark:
        "logs/score/{batch}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=sized(resources.featurise_mem_mb, MANIFEST.jobs, LIMITS.mem_mb),
        runtime=sized(resources.featurise_minutes, MANIFEST.jobs, LIMITS.runtime),
        attempt=attempt_number,
    params:
        contract=[version_of("scores"), version_of("interfaces")],
        settings=settings_of("score", SETTINGS),
    shell:
        "python -m workflow.running.supervise score --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} 2>> {log}"


rule export:
    input:
        plan=ancient("results/plan/manifest.json"),
        scores=results_of_same_jobs(MANIFEST, "results/score/{batch}.scores.parquet"),
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
        mem_mb=sized(resources.featurise_mem_mb, MANIFEST.jobs, LIMITS.mem_mb),
        runtime=sized(resources.featurise_minutes, MANIFEST.jobs, LIMITS.runtime),
        attempt=attempt_number,
    params:
        settings=settings_of("export", SETTINGS),
    shell:
        "python -m workflow.running.supervise export --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} 2>> {log}"
