"""Cases of solids made of atoms."""
