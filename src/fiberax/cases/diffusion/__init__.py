"""Cases of interacting diffusion."""
