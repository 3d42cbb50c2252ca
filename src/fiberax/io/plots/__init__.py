"""Figures of any results: fields as lines and maps, bodies, microstates, energies in time."""
