"""Makes the row of each step: by torch, by torch over several steps on a CPU, or by Triton kernels."""
