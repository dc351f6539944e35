"""Comparison of Foldmill with recorded features and outputs of OpenFold3."""
