"""Reads and writes jobs: AlphaFold 3 and server JSON, FASTA, sample sheets."""
