"""Cases of complex fluids."""
