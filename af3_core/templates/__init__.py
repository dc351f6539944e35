"""Chains of mmCIF entries as templates."""
