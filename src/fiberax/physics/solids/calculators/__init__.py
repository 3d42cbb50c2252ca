"""Crystals whose energy an ASE calculator gives."""
