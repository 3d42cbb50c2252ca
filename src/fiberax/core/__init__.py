"""The contract: what a fiber, a link, a macro model and a driver are, and the loop that runs them together."""
