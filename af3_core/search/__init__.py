"""Homology search: sequences against databases, alignments and templates out of hits.

    settings    what is asked of a search tool, and the two published E-value habits
    hits        regions of database sequences that align with a query, the best of them
    hmmer       many queries against a stream of database sequences, by HMMER's library
    alignment   hits to A3M rows, several databases merged into one alignment

The stream is the outer loop: a database is read once for all queries of a batch, and
what is kept of it is bounded by the number of hits asked for, not by its size.
"""
