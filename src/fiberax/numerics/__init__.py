"""Batched solvers that no library has in the form the fibers need; pure functions of arrays, no fibers."""
