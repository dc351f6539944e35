"""Atoms with coordinates: files, geometry, clashes, covalent faults."""
