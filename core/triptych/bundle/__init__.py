"""The directory that a run leaves, and the only way to write, open, find and roll one back.

    OUTPUT/
      CURRENT                    the id of the version in use; replaced atomically
      RELEASES                   where `triptych release` was used: which versions servers answer with
      versions/<id>/             the version in use, the one before it, and those of RELEASES; ids sort by time
        manifest.json            what it is, how it was made, and the SHA-256 of every other file
        manifest.sha256          the SHA-256 of the manifest, as `sha256sum` writes it
        ...                      models, index, report: whatever the run put there, but no pickle

A version is written aside, synced to disk and renamed into place, so that a reader sees a whole version or none.
The hashes find damage and careless edits. They are no signature: whoever can write the directory can replace them.
"""

from __future__ import annotations

from triptych.bundle.files import WORK
from triptych.bundle.home import bundles_home, resolve_bundle, triptych_home, verdicts_home
from triptych.bundle.manifest import SCHEMA_VERSION, DataSummary, Licence, Manifest
from triptych.bundle.plan import Plan, Verdict, change_plan, first_plan, read_plan
from triptych.bundle.reader import Bundle, open_bundle, rollback
from triptych.bundle.writer import BundleWriter, check_output

__all__ = [
    "SCHEMA_VERSION",
    "WORK",
    "Bundle",
    "BundleWriter",
    "DataSummary",
    "Licence",
    "Manifest",
    "Plan",
    "Verdict",
    "bundles_home",
    "change_plan",
    "check_output",
    "first_plan",
    "open_bundle",
    "read_plan",
    "resolve_bundle",
    "rollback",
    "triptych_home",
    "verdicts_home",
]
