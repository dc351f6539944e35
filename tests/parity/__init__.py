"""Comparison of Foldmill with recorded features and outputs of AlphaFold 3."""
