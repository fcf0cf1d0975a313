"""One command that proves the GPU path on any CUDA machine, and without one as much as can be proved."""
