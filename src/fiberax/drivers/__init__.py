"""Rules by which fibers follow their conditions; one file for each method."""
