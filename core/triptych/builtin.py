"""The core's own parts, offered through the same hooks as a stranger's."""

from __future__ import annotations

from triptych.hookspecs import hookimpl
from triptych.types import Part


@hookimpl
def triptych_parts() -> list[Part]:
    """Encoders, fusions, strategies and readers of the core."""
    return [
        Part(
            "encoder",
            "sentence",
            "triptych.encoders.sentence:SentenceEncoder",
            "A sentence-transformers model: sentence:all-MiniLM-L6-v2.",
        ),
        Part(
            "encoder",
            "transformer",
            "triptych.encoders.transformer:TransformerTextEncoder",
            "Any transformers text encoder, by name or path.",
        ),
        Part(
            "encoder",
            "compact:text",
            "triptych.encoders.compact_text:CompactTextEncoder",
            "Hashed n-grams, trained from scratch, any language.",
        ),
        Part(
            "encoder",
            "features:text",
            "triptych.encoders.features:TextFeatures",
            "Text vectors that were computed elsewhere.",
        ),
        Part("encoder", "timm", "triptych.encoders.timm:TimmEncoder", "Any timm image model: timm:mobilenetv2_100."),
        Part(
            "encoder",
            "compact:image",
            "triptych.encoders.compact_image:CompactImageEncoder",
            "Colours and edges without weights; a small CNN beside them on request.",
        ),
        Part(
            "encoder",
            "features:image",
            "triptych.encoders.features:ImageFeatures",
            "Image vectors that were computed elsewhere.",
        ),
        Part(
            "encoder",
            "transformer-audio",
            "triptych.encoders.transformer_audio:TransformerAudioEncoder",
            "Any transformers audio encoder, by name or path.",
        ),
        Part(
            "encoder",
            "yamnet",
            "triptych.encoders.yamnet:YamnetEncoder",
            "YAMNet, with AudioSet weights where they are at hand.",
        ),
        Part(
            "encoder",
            "compact:audio",
            "triptych.encoders.compact_audio:CompactAudioEncoder",
            "Cepstral statistics without weights; a small CNN beside them on request.",
        ),
        Part(
            "encoder",
            "features:audio",
            "triptych.encoders.features:AudioFeatures",
            "Sound vectors that were computed elsewhere.",
        ),
        Part("fusion", "mean", "triptych.fusion.mean:Mean", "The mean of the modalities that are present."),
        Part(
            "fusion",
            "concat",
            "triptych.fusion.concat:Concatenation",
            "Side by side, with presence bits, through a layer.",
        ),
        Part("fusion", "gated", "triptych.fusion.gated:Gated", "A learned gate weighs each modality for each sample."),
        Part("fusion", "attention", "triptych.fusion.attention:Attention", "A small transformer over modality tokens."),
        Part(
            "fusion",
            "late",
            "triptych.fusion.late:Late",
            "Each modality is scored alone; scores are averaged with learned weights.",
        ),
        Part(
            "strategy",
            "zero-shot",
            "triptych.tuning.zero_shot:ZeroShot",
            "No training: label descriptions become the classifier.",
        ),
        Part(
            "strategy",
            "frozen",
            "triptych.tuning.frozen:Frozen",
            "Encoders as they are, features cached; fusion and head trained.",
        ),
        Part("strategy", "lora", "triptych.tuning.lora:Lora", "Low-rank adapters in the encoders, merged afterwards."),
        Part("strategy", "full", "triptych.tuning.full:Full", "Encoders, fusion and head trained together."),
        Part(
            "reader", "rapidocr", "triptych.data.readers:RapidOcr", "Text in pictures; weights come with its package."
        ),
        Part(
            "reader", "whisper", "triptych.data.readers:Whisper", "Speech to text, where Whisper weights are at hand."
        ),
        Part(
            "reader",
            "pocketsphinx",
            "triptych.data.readers:PocketSphinx",
            "English speech to text; weak, weights come with its package.",
        ),
    ]
