# Campaign-wide: tables to query, one page to look at, and the verdict.
rule collect:
    input:
        planned=ancient(BATCHES.planned),
        room=BATCHES.room_for_tables,
        outcomes=BATCHES.outcomes,
    output:
        scores=report(
            "results/tables/scores.parquet",
            caption="captions/scores.rst",
            category="Tables",
            labels={"table": "scores"},
        ),
        interfaces=report(
            "results/tables/interfaces.parquet",
            caption="captions/interfaces.rst",
            category="Tables",
            labels={"table": "interfaces"},
        ),
        screen=report(
            "results/tables/screen.parquet",
            caption="captions/screen.rst",
            category="Tables",
            labels={"table": "screen"},
        ),
        provenance="results/tables/provenance.parquet",
        outcomes="results/tables/outcomes.parquet",
        failures=report(
            "results/tables/failures.parquet",
            caption="captions/failures.rst",
            category="Tables",
            labels={"table": "failures"},
        ),
    log:
        "logs/collect/collect.log",
    benchmark:
        "logs/collect/collect.tsv"
    conda:
        "../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    shell:
        "python -m workflow.collect 2> {log}"


rule report:
    input:
        room=BATCHES.room_for_report,
        scores="results/tables/scores.parquet",
        interfaces="results/tables/interfaces.parquet",
        failures="results/tables/failures.parquet",
    output:
        html=report(
            "results/report.html",
            caption="captions/report.rst",
            category="Results",
            labels={"page": "report"},
        ),
    log:
        "logs/report/report.log",
    benchmark:
        "logs/report/report.tsv"
    conda:
        "../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    shell:
        "python -m workflow.report --out {output.html} 2> {log}"


# Fails while anything is unresolved, so that the campaign's exit status tells.
rule verdict:
    input:
        room=BATCHES.room_for_report,
        failures="results/tables/failures.parquet",
        report="results/report.html",
    output:
        verdict="results/verdict.txt",
    log:
        "logs/verdict/verdict.log",
    benchmark:
        "logs/verdict/verdict.tsv"
    conda:
        "../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python -m workflow.verdict --out {output.verdict} 2> {log}"
