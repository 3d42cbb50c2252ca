"""One-dimensional chains of atoms and of electrons."""
