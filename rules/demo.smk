# The demo's untrained toy model, where there is none yet. Other weights are only read.
rule demo:
    output:
        checkpoint="models/demo.bin.zst",
    log:
        "logs/demo/demo.log",
    benchmark:
        "logs/demo/demo.tsv"
    conda:
        "../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    shell:
        "python -m workflow.demo --out {output.checkpoint} 2> {log}"
