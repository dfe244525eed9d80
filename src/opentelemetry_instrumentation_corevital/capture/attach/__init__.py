"""Puts our hooks where a call passes: the generation loop, the model's modules, transformers' attention functions."""
