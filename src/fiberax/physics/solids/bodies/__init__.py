"""Elastic bodies and waves: macro models of solids, and crystals under uniaxial strain."""
