"""Crystals of atoms under the Cauchy-Born rule."""
