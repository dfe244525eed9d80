"""Step to row: by torch, by torch over several steps on a CPU, by Triton kernels."""
