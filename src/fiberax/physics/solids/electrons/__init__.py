"""Parts of the electronic fibers: plane waves, Ewald sums, ions, exchange and correlation (spec sections 4 and 5)."""
