"""Interatomic potentials (spec section 3)."""
