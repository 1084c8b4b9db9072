"""Encoders: one file per family; each turns raw values of one modality into vectors."""
