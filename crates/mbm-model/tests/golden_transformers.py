#!/usr/bin/env python3
"""Generates golden/transformers.json: outputs of small networks from transformers and torchvision, with weights given by a formula.
requires safetensors, torch, torchvision, transformers

The formula is that of golden_pretrained.py: value i of a tensor is `sin(0.7 i + n)`, where n is the length of its name; kernels are
scaled by sqrt(2 / fan in), vectors named weight are 1 + 0.1 sin, everything else is 0.1 sin. Images are `sin(0.01 i)`, audio samples
`sin(0.05 i)`.
"""
import json
import math
import pathlib
import tempfile

import numpy as np
import torch
import torchvision
import transformers as hf
from safetensors.torch import load_file, save_file


def filled(name, shape):
    wave = np.sin(0.7 * np.arange(math.prod(shape), dtype=np.float64) + len(name)).reshape(shape)
    if len(shape) >= 3:
        wave *= math.sqrt(2 / math.prod(shape[1:]))
    elif len(shape) == 1 and name.endswith("weight"):
        wave = 1 + 0.1 * wave
    else:
        wave *= 0.1
    return torch.tensor(wave, dtype=torch.float32)


def published(network):
    """Fills a network from transformers with the formula by way of a saved file, because published files use other tensor names."""
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        path = pathlib.Path(folder) / "model.safetensors"
        state = {name: tensor for name, tensor in load_file(path).items() if tensor.is_floating_point() and tensor.dim() > 0}
        save_file({name: filled(name, tuple(tensor.shape)) for name, tensor in state.items()}, path, metadata={"format": "pt"})
        network = type(network).from_pretrained(folder)
    return network.eval(), [[name, list(tensor.shape)] for name, tensor in state.items()]


def prepared(network):
    state = {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point() and tensor.dim() > 0}
    network.load_state_dict({name: filled(name, tuple(tensor.shape)) for name, tensor in state.items()}, strict=False)
    return network.eval(), [[name, list(tensor.shape)] for name, tensor in state.items()]


def wave(step, *shape):
    return torch.tensor(np.sin(step * np.arange(math.prod(shape))), dtype=torch.float32).reshape(shape)


small = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
ids = torch.tensor([[2, 5, 9, 17, 3], [2, 7, 3, 0, 0]])
mask = (ids != 0).long()
golden = {}


def keep(key, modality, encoder, config, tensors, out):
    config = json.loads(config.to_json_string(use_diff=False)) if config else None
    golden[key] = dict(modality=modality, encoder=encoder, config=config, tensors=tensors, features=out.flatten().tolist())


with torch.no_grad():
    config = hf.BertConfig(vocab_size=50, max_position_embeddings=16, **small)
    network, tensors = published(hf.BertModel(config))
    hidden = network(ids, attention_mask=mask).last_hidden_state
    keep("bert", "text", "bert", config, tensors, (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))

    config = hf.DistilBertConfig(vocab_size=50, max_position_embeddings=16, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
    network, tensors = published(hf.DistilBertModel(config))
    hidden = network(ids, attention_mask=mask).last_hidden_state
    keep("distilbert", "text", "bert", config, tensors, (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))

    config = hf.ViTConfig(image_size=32, patch_size=8, **small)
    network, tensors = published(hf.ViTModel(config, add_pooling_layer=False))
    hidden = network(wave(0.01, 1, 3, 48, 32), interpolate_pos_encoding=True).last_hidden_state
    keep("vit, more places", "image", "vit", config, tensors, hidden[:, 0])

    network, tensors = prepared(torchvision.models.VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=1, hidden_dim=64, mlp_dim=96))
    network.heads = torch.nn.Identity()
    keep("torchvision vit", "image", "vit", None, tensors, network(wave(0.01, 1, 3, 32, 32)))

    config = hf.CLIPConfig(
        text_config=dict(vocab_size=50, max_position_embeddings=16, eos_token_id=49, bos_token_id=48, pad_token_id=49, **small),
        vision_config=dict(image_size=32, patch_size=8, **small),
        projection_dim=24,
    )
    network, tensors = published(hf.CLIPModel(config))
    keep("clip images", "image", "clip", config, tensors, network.visual_projection(network.vision_model(wave(0.01, 1, 3, 32, 32)).pooler_output))
    ids = torch.tensor([[48, 5, 9, 17, 49], [48, 7, 49, 49, 49]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    keep("clip texts", "text", "clip", config, tensors, network.text_projection(network.text_model(ids, attention_mask=mask).pooler_output))

    config = hf.Wav2Vec2Config(
        vocab_size=8, conv_dim=(16, 16), conv_kernel=(10, 3), conv_stride=(5, 2), num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
        num_feat_extract_layers=2, **small,
    )
    network, tensors = published(hf.Wav2Vec2Model(config))
    rows = [network(wave(0.05, 1, n)).last_hidden_state.mean(1) for n in (400, 150)]
    keep("wav2vec2", "audio", "wav2vec2", config, tensors, torch.cat(rows))
(pathlib.Path(__file__).parent / "golden/transformers.json").write_text(json.dumps(golden, separators=(",", ":")))
