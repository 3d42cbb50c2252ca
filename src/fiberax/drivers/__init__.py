"""Rules by which fibers keep up with their conditions; one file, one method."""
