"""Where capture attaches: the generation loop, the model's modules, transformers' attention functions."""
