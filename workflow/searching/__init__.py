"""Sequences and templates against databases, and what was found."""
