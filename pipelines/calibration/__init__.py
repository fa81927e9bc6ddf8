"""What is searched or measured once for a checkpoint and kept beside it: levels, solvers, statistics.

`python -m pipelines.calibration --help` lists what there is. The searches themselves are functions of a denoiser and
starting points; they know no model.
"""
