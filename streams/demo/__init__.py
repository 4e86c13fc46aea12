"""The traces that are shipped, and the scenes of `make demo`."""
