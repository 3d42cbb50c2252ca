"""Files of a run: checkpoints, records, results, log, figures, ParaView."""
