"""Confidence and interface scores; comparison with reference structures."""
