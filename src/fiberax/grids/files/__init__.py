"""Readers of mesh files, and what makes a `Mesh` of what they find."""
