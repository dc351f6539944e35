# Reads the inputs; decides what runs in which batch. Append-only for what has begun: see
# workflow/planning/batching.py. Comes to the plan that the rules were made of, or stops.
rule plan:
    output:
        planned="results/plan/{plan}.planned",
    log:
        "logs/plan/{plan}.log",
    benchmark:
        "logs/plan/{plan}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        configfiles=CONFIG_FILES,
        config=CONFIG_OVERRIDES,
    shell:
        "python -m workflow.plan --configfile {params.configfiles:q}"
        " --config {params.config:q} --name {wildcards.plan:q} 2> {log}"


# Removes what is stale or damaged, and says so. Only what waits for its mark is made
# again: no date of a file decides.
rule make_room:
    input:
        planned=BATCHES.planned,
    output:
        mark=temp("results/plan/{seen}.room"),
    log:
        "logs/make_room/{seen}.log",
    benchmark:
        "logs/make_room/{seen}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    shell:
        "python -m workflow.survey --out {output.mark:q} 2> {log}"
