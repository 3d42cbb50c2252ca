"""A recorder for tests of what is resumed."""

import fiberax as fx


class Keeper(fx.AbstractRecorder):
    """Takes a snapshot at each look, and keeps no records."""

    def __init__(self):
        self.snapshots = []

    def due(self):
        return True

    def save(self, snapshot):
        self.snapshots.append(snapshot)

    def record(self, record):
        pass
