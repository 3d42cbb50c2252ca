"""Cases of solids made of electrons."""
