"""Molecular dynamics with trained potentials."""
