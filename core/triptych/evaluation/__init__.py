"""Judging a model: metrics with intervals, calibration, scope, modality subsets, classical rivals."""
