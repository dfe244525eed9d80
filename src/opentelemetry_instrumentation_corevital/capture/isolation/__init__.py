"""Keeps our operations apart from the caller's: its dispatch modes, and what `torch.compile` compiles."""
