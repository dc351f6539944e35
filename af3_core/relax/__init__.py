"""Minimisation in a force field, close to the prediction."""
