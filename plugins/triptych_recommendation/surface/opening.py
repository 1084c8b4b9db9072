"""What a command of `triptych recommendation` needs before it can begin: bundle, settings, store, recommender."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.bundle import open_bundle, resolve_bundle, triptych_home
from triptych.config import check_section
from triptych.errors import BundleError
from triptych.indexing import EXTENSION
from triptych.types import Sample
from triptych_recommendation.about import About, read_about
from triptych_recommendation.opening import NAME, VERSION, open_recommender, store_place
from triptych_recommendation.settings import RecommendationSettings

if TYPE_CHECKING:
    from triptych_recommendation.catalogue.store import Store
    from triptych_recommendation.serving.recommender import Recommender


@dataclass(frozen=True, slots=True)
class Shop:
    """A bundle of this vertical as the commands see it: no model is loaded before something is to be encoded."""

    path: Path
    settings: RecommendationSettings

    @classmethod
    def open(cls, bundle: str) -> Shop:
        """Raises `BundleError` for what is no bundle of this vertical, and of this version of it."""
        found = open_bundle(resolve_bundle(bundle))
        if found.manifest.vertical != NAME:
            raise BundleError(f"{found.path} is a bundle of {found.manifest.vertical!r}, not of {NAME}")
        if found.manifest.vertical_version != VERSION:
            raise BundleError(
                f"{found.path} was built for version {found.manifest.vertical_version} of {NAME}, and {VERSION} is "
                f"installed; build it again with: triptych run {NAME}"
            )
        settings = check_section(RecommendationSettings, found.manifest.config["vertical"], "vertical.")
        assert isinstance(settings, RecommendationSettings)
        return cls(found.path, settings)

    @property
    def files(self) -> Path:
        """What the vertical put into the bundle."""
        return self.path / EXTENSION

    @property
    def about(self) -> About:
        """What is noted of the bundle."""
        return read_about(self.files)

    def store(self, store: str | None) -> str | Path:
        """Where the store is: what is given, what the settings name, or a file under `TRIPTYCH_HOME`."""
        return store if store is not None else store_place(self.settings, triptych_home() / "state" / NAME)

    def encode(self, samples: Sequence[Sample]) -> Any:
        """What the model of the bundle answers to samples, float32 [samples, dim]."""
        from triptych import predictor  # late: it brings the model

        return predictor.load(self.path).encode(samples)


@contextlib.contextmanager
def open_shop(bundle: str, store: str | None) -> Iterator[tuple[Shop, Recommender]]:
    """A bundle with its recommender, whose log is on the disk at the end."""
    shop = Shop.open(bundle)
    recommender = open_recommender(shop.files, shop.settings, shop.store(store), shop.encode)
    with contextlib.closing(recommender):
        yield shop, recommender


@contextlib.contextmanager
def open_store(bundle: str, store: str | None, *, writer: bool) -> Iterator[tuple[Shop, Store]]:
    """A bundle's settings and the store alone."""
    from triptych_recommendation.catalogue.store import Store

    shop = Shop.open(bundle)
    with Store.open(shop.store(store), writer=writer) as opened:
        yield shop, opened
