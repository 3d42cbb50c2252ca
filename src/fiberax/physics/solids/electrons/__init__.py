"""Parts of the electronic fibers: plane waves, Ewald sums, ions, exchange and correlation (3.8)-(3.22)."""
