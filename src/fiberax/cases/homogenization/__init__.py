"""Cases of homogenization."""
