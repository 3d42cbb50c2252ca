"""Atomic units (bohr, hartree) in those of solids, CODATA 2018."""

GPA = 29421.01569650548  # of one hartree/bohr³
EV = 27.211386245988  # of one hartree
ANGSTROM = 0.529177210903  # of one bohr
HARTREE, BOHR = "hartree", "bohr"
