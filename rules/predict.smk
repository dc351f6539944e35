# Features on a CPU, structures on a GPU: two jobs for every batch.
rule featurise:
    input:
        plan=ancient("results/plan/manifest.json"),
        needs=results_of_needs(MANIFEST.jobs, MANIFEST),
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
        mem_mb=sized(resources.featurise_mem_mb, MANIFEST.jobs, LIMITS.mem_mb),
        runtime=sized(resources.featurise_minutes, MANIFEST.jobs, LIMITS.runtime),
        attempt=attempt_number,
    params:
        contract=version_of("features"),
    shell:
        "python -m workflow.running.supervise featurise --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} 2>> {log}"


rule predict:
    input:
        plan=ancient("results/plan/manifest.json"),
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
        mem_mb=sized(resources.predict_mem_mb, MANIFEST.jobs, LIMITS.mem_mb),
        runtime=sized(resources.predict_minutes, MANIFEST.jobs, LIMITS.runtime),
        attempt=attempt_number,
        devices=1,
    params:
        contract=version_of("predictions"),
        settings=settings_of("predict", SETTINGS),
    shell:
        "python -m workflow.running.supervise predict --batch {wildcards.batch} --attempt"
        " {resources.attempt} --minutes {resources.runtime} 2>> {log}"
