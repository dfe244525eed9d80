"""What each signal is, as pure functions on tensors."""
