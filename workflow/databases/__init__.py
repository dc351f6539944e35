"""Sequence databases: their manifest, files, shards and template structures."""
