"""Parity: the same scripted jobs through both runtimes, and what can be seen of them compared.

The scenarios are also those of the contract suite; `darkroom parity` runs them all and prints
the histories side by side.
"""
