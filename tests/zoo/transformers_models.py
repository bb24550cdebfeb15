"""Tiny architectures of transformers, from configurations with random weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from zoo_case import CLASSES, Case

WORDS, LENGTH, WIDTH = 40, 8, 32
TEXT: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 32,
    "num_labels": CLASSES,
}


def _text(rows: int) -> dict[str, Tensor]:
    """Token ids with padding on the right, as a tokenizer returns them."""
    lengths = 4 + torch.arange(rows) % (LENGTH - 3)
    mask = (torch.arange(LENGTH) < lengths[:, None]).long()
    return {"input_ids": torch.randint(2, WORDS, (rows, LENGTH)) * mask, "attention_mask": mask}


def _image(rows: int) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(rows, 3, 32, 32)}


def _wave(rows: int) -> dict[str, Tensor]:
    return {"input_values": torch.randn(rows, 800)}


def _made(name: str, kind: str, **settings: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import transformers

        config = getattr(transformers, f"{name}Config")(**settings)
        model: nn.Module = getattr(transformers, f"{name}{kind}")(config)
        return model

    return build


class T5Classifier(nn.Module):
    """T5's encoder, the mean over the tokens, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import T5Config, T5EncoderModel

        config = T5Config(vocab_size=WORDS, d_model=WIDTH, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
        self.encoder, self.head = T5EncoderModel(config), nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        h = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        kept = attention_mask.unsqueeze(-1).to(h.dtype)
        logits: Tensor = self.head((h * kept).sum(1) / kept.sum(1))
        return logits


_TEXT_CLASS, _IMAGE_CLASS = "ForSequenceClassification", "ForImageClassification"
_LLAMA = {**TEXT, "num_key_value_heads": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_DISTILBERT = {"vocab_size": WORDS, "dim": WIDTH, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "num_labels": CLASSES}
_GPT2 = {"vocab_size": WORDS, "n_embd": WIDTH, "n_layer": 2, "n_head": 2, "n_positions": 32, "num_labels": CLASSES}
_VIT = {key: value for key, value in TEXT.items() if key not in ("vocab_size", "max_position_embeddings")}
_WAV2VEC2 = {
    "layerdrop": 0.0,
    **{key: value for key, value in TEXT.items() if key != "max_position_embeddings"},
    **{"conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2), "num_feat_extract_layers": 2},
    **{"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 16},
}
_GPT2_ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_DEBERTA = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "pooler_hidden_size": WIDTH}

CASES = [
    Case("transformers", "Bert", _made("Bert", _TEXT_CLASS, **TEXT), _text, quick=True),
    Case("transformers", "DistilBert", _made("DistilBert", _TEXT_CLASS, **_DISTILBERT), _text),
    Case("transformers", "Roberta", _made("Roberta", _TEXT_CLASS, pad_token_id=0, **TEXT), _text),
    Case("transformers", "Deberta", _made("Deberta", _TEXT_CLASS, **_DEBERTA, **TEXT), _text),
    Case("transformers", "DebertaV2", _made("DebertaV2", _TEXT_CLASS, **_DEBERTA, **TEXT), _text),
    Case("transformers", "Albert", _made("Albert", _TEXT_CLASS, embedding_size=16, **TEXT), _text),
    Case("transformers", "Electra", _made("Electra", _TEXT_CLASS, embedding_size=16, **TEXT), _text),
    Case("transformers", "GPT2", _made("GPT2", _TEXT_CLASS, **_GPT2_ENDS, **_GPT2), _text, quick=True),
    Case("transformers", "Llama", _made("Llama", _TEXT_CLASS, **_LLAMA), _text),
    Case("transformers", "T5Encoder", T5Classifier, _text),
    Case("transformers", "ViT", _made("ViT", _IMAGE_CLASS, image_size=32, patch_size=8, **_VIT), _image, quick=True),
    Case(
        "transformers",
        "Swin",
        _made(
            *("Swin", _IMAGE_CLASS),
            **{"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2]},
            **{"window_size": 4, "num_labels": CLASSES},
        ),
        _image,
    ),
    Case("transformers", "Wav2Vec2", _made("Wav2Vec2", _TEXT_CLASS, **_WAV2VEC2), _wave),
]
