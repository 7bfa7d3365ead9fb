"""Sampling recipes of the own datasets, and active learning."""
