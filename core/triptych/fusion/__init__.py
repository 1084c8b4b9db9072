"""Fusions: one file each; the vectors of the present modalities become one."""
