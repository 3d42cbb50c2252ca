"""Cases of liquids of molecules."""
