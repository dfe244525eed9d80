"""What a model is: its description, its layers and attentions, its caches and routers."""
