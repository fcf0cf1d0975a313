"""Measuring: an open-loop camera, what it says of the machine, and whether two results differ."""
