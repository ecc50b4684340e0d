"""Operators that have no cost rule by decision, each with its reason; they count as memory traffic.

An operator that is neither here nor has a rule is a gap: the tests fail when onnx adds one.
"""

from __future__ import annotations

from collections.abc import Mapping

_TEXT = "works on text, whose length is no shape"
_MAP = "a dictionary look-up by value, without arithmetic"
_TRAINING = "a step of training, not of inference"

# operator key -> reason
NOT_MODELLED: Mapping[str, str] = {
    **dict.fromkeys(("StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch"), _TEXT),
    "TfIdfVectorizer": "counts n-grams by look-ups that depend on the data",
    "ImageDecoder": "decodes a compressed stream whose size is no shape",
    **dict.fromkeys((f"ai.onnx.ml::{name}" for name in ("CastMap", "CategoryMapper", "LabelEncoder")), _MAP),
    **dict.fromkeys((f"ai.onnx.ml::{name}" for name in ("DictVectorizer", "ZipMap")), _MAP),
    **dict.fromkeys(
        (f"ai.onnx.preview.training::{name}" for name in ("Adagrad", "Adam", "Gradient", "Momentum")),
        _TRAINING,
    ),
    **dict.fromkeys(
        (f"com.microsoft::{name}" for name in ("BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch")),
        "a whole generation loop: its length is decided by the data, its bodies are analysed on their own",
    ),
    **dict.fromkeys(
        (f"com.microsoft::{name}" for name in ("PagedAttention", "SparseAttention", "LongformerAttention")),
        "attends to blocks that run-time tables choose",
    ),
}
