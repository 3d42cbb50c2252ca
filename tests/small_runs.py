"""Every case in a size that takes seconds: options of `fiberax run`."""

SMALL = {
    "cavity": ["--cells", "8", "--t1", "0.4", "--records", "4", "--dt", "0.05"],
    "chain": ["--rows", "5"],
    "channel": ["--cells", "8", "--members", "40", "--t1", "0.4", "--records", "4", "--dt", "0.02"],
    "crystal": ["--material", "lj", "--rows", "5"],
    "diffusion": ["--cells", "4", "--t1", "0.2", "--records", "4"],
    "electron-wave": ["--cells", "8", "--grid", "8", "--t1", "0.02", "--records", "2"],
    "electrons": ["--model", "tfw", "--crystal", "aluminium", "--rows", "3"],
    "homogenize": ["--rows", "3"],
    "kolmogorov": ["--cells", "8", "--t1", "0.4", "--records", "4", "--dt", "0.05"],
    "liquid-cavity": ["--potential", "wca", "--particles", "32", "--cells", "4", "--t1", "1.6", "--records", "8"],
    "liquid-channel": ["--potential", "wca", "--particles", "32", "--cells", "4", "--t1", "1.6", "--records", "8"],
    "pull": ["--material", "lj-triangular", "--cells", "2", "--strain", "0.02", "--step", "0.01"],
    "rheometer": ["--mode", "startup", "--rates", "1", "--members", "40", "--replicas", "2", "--records", "4", "--span", "1"],
    "spins": ["--mode", "diffusion", "--cells", "8", "--sites", "8", "--replicas", "2", "--t1", "20", "--records", "2"],
    "steady": ["--cells", "4"],
    "wave": ["--cells", "8", "--t1", "0.2", "--records", "4"],
}
# Twice the span, with the same step and the same interval between records.
LONG = {
    "cavity": ["--t1", "0.8", "--records", "8"],
    "channel": ["--t1", "0.8", "--records", "8"],
    "diffusion": ["--t1", "0.4", "--records", "8"],
    "electron-wave": ["--t1", "0.04", "--records", "4"],
    "kolmogorov": ["--t1", "0.8", "--records", "8"],
    "liquid-channel": ["--t1", "3.2", "--records", "16"],
    "rheometer": ["--span", "2", "--records", "8"],
    "spins": ["--t1", "40", "--records", "4"],
    "wave": ["--t1", "0.4", "--records", "8"],
}
# What is drawn and compared with figures that were looked at: every case, and figures that those do not have.
DRAWN = {name: [name, *options] for name, options in SMALL.items()}
DRAWN |= {
    "rheometer, steady": ["rheometer", "--model", "rolie-poly", "--rates", "0.1,1,10"],
    "rheometer, oscillation": ["rheometer", "--model", "giesekus", "--mode", "oscillation", "--rates", "0.1,1,10"],
    "rheometer, rods": [*DRAWN["rheometer"], "--model", "rod"],
    "rheometer, bounded springs": [*DRAWN["rheometer"], "--spring", "fene", "--b", "5"],
    "channel, many times": [*DRAWN["channel"], "--records", "16", "--dt", "0.025"],
    "steady, shape": [*DRAWN["steady"], "--shape", "l-shape"],
}
