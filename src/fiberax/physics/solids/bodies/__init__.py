"""Elastic bodies and waves: macro models of solids, and what a plane wave sees of a crystal."""
