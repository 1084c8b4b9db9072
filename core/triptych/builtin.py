"""The core's own parts, offered through the same hooks as a stranger's."""

from __future__ import annotations

from triptych.hookspecs import hookimpl
from triptych.types import Part


@hookimpl
def triptych_parts() -> list[Part]:
    """Encoders, fusions, strategies, compressors, runners, readers and indexes of the core."""
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
            "encoder",
            "static:text",
            "triptych.encoders.static_text:StaticTextEncoder",
            "A table of words and pairs of words, made from another encoder by the compressor static.",
        ),
        *_compressors(),
        *_runners(),
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
        Part(
            "index",
            "embedded",
            "triptych.retrieval.collection:Collection",
            "A directory on this machine: one writer, any number of readers.",
        ),
        Part(
            "index",
            "postgresql",
            "triptych.retrieval.pgvector:PgVectorIndex",
            "PostgreSQL with pgvector, for many machines.",
        ),
    ]


def _compressors() -> list[Part]:
    return [
        Part("compressor", "onnx", "triptych.compression.precision:Float32", "ONNX Runtime in float32."),
        Part("compressor", "fp16", "triptych.compression.precision:Float16", "Weights stored in half precision."),
        Part(
            "compressor", "int8", "triptych.compression.precision:Int8", "Weights in eight bits where that is faster."
        ),
        Part(
            "compressor",
            "vocabulary",
            "triptych.compression.vocabulary:Vocabulary",
            "Only the tokens that the training texts use.",
        ),
        Part("compressor", "layers", "triptych.compression.layers:Layers", "Fewer transformer layers: layers:3."),
        Part("compressor", "neurons", "triptych.compression.neurons:Neurons", "A share of the neurons: neurons:0.5."),
        Part("compressor", "heads", "triptych.compression.neurons:Heads", "A share of the attention heads: heads:0.5."),
        Part(
            "compressor",
            "low-rank",
            "triptych.compression.low_rank:LowRank",
            "Large matrices as products of two thin ones: low-rank:0.5.",
        ),
        Part(
            "compressor",
            "static",
            "triptych.compression.static:StaticDistillation",
            "Text by a table look-up and a mean, taught by the transformer: static:256.",
        ),
        Part(
            "compressor",
            "channels",
            "triptych.compression.channels:Channels",
            "A share of the channels of an image network: channels:0.75.",
        ),
    ]


def _runners() -> list[Part]:
    return [
        Part("runner", "packed-text", "triptych.runtime.text:PackedText", "Transformer graphs without padding."),
        Part("runner", "static-text", "triptych.runtime.static_text:StaticText", "Tables of words and pairs of words."),
        Part("runner", "hashed-text", "triptych.runtime.static_text:HashedText", "Tables of hashed n-grams."),
        Part("runner", "pictures", "triptych.runtime.media:Pictures", "Image graphs."),
        Part("runner", "sounds", "triptych.runtime.media:Sounds", "Sound graphs."),
        Part("runner", "features", "triptych.runtime.media:Features", "Vectors that were computed elsewhere."),
    ]
