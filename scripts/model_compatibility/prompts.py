"""Random inputs of a model, and a generation with them."""

from typing import Any

from common import NEW_TOKENS, PROMPT_TOKENS, SEQUENCES


def generate(model: Any, **options: Any) -> Any:
    """Generate a few tokens, seeded: some models draw random numbers although they decode greedily."""
    import torch

    inputs = _inputs_of(model)
    torch.manual_seed(2)
    with torch.no_grad():
        return model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=1, **options)


def _inputs_of(model: Any) -> dict[str, Any]:
    """Return what the model is prompted with: token ids, or random numbers as an image, a spectrogram or a sound."""
    import torch

    generator = torch.Generator().manual_seed(1)

    def random(*size: int) -> Any:
        return torch.rand(SEQUENCES, *size, generator=generator)

    config, name = model.config, model.main_input_name
    ids = torch.randint(10, 200, (SEQUENCES, PROMPT_TOKENS), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    if name == "pixel_values":
        side = _number(config, "image_size", 224)
        image = random(_number(config, "num_channels", 3), *(side if isinstance(side, list) else [side, side]))
        asked = {"qformer_input_ids": ids, "qformer_attention_mask": mask} if "instruct" in config.model_type else {}
        return {name: image, **asked}
    if name == "flattened_patches":
        return {name: random(PROMPT_TOKENS, _number(config, "patch_embed_hidden_size", 768) + 2) + 1}
    if name == "input_features":
        if hasattr(config, "num_mel_bins"):
            return {name: random(config.num_mel_bins, 2 * config.max_source_positions)}
        bins = _number(config, "num_mel_bins", 80)
        return {name: random(80, _number(config, "feature_projection_input_dim", bins))}
    if name in ("input_values", "inputs"):
        return {name: random(8000)}
    layout = {"bbox": random(PROMPT_TOKENS, 4)} if config.model_type == "udop" else {}
    return {"input_ids": ids, "attention_mask": mask, **layout}


def _number(config: Any, name: str, default: Any) -> Any:
    """Return a number of a config or of one that is part of it."""
    parts = [config, *(getattr(config, part, None) for part in ("vision_config", "encoder", "encoder_config"))]
    return next((found for part in parts if (found := getattr(part, name, None)) is not None), default)
