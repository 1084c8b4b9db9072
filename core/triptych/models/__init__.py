"""The multimodal model: encoders, fusion and head in one module; building, saving, loading."""
