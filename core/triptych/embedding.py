"""What makes the vectors of an index, opened from a *source*: the name of an encoder, or a bundle.

    sentence:all-MiniLM-L6-v2, timm:mobilenetv2_100, yamnet    a pretrained encoder; the field is called by its modality
    bundle:customer-service, bundle:/srv/models/shop           a bundle: a field for each modality, and "fused" where
                                                               there are several

An index keeps the source with each field, so that whoever adds or searches opens the same encoder again, and the
fingerprint, so that another one is noticed.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from triptych.bundle import Bundle, open_bundle, resolve_bundle
from triptych.bundle.home import bundle_names
from triptych.errors import BundleError, ConfigError, DataError
from triptych.host import Host, default_host
from triptych.retrieval.base import Metric, VectorField
from triptych.runtime.base import Encoded, SpaceSession
from triptych.runtime.open import VARIANTS, open_space, variant_directory, variant_path, variant_with_one_space
from triptych.types import MODALITIES, Modality, Sample

Content: TypeAlias = Mapping[str, Any]
"""What is encoded of an item: any of "text", "image" and "audio" (paths)."""
Vector: TypeAlias = NDArray[np.float32]

BUNDLE = "bundle:"
FUSED = "fused"
_TRAINED_MODEL = "model"  # where a bundle keeps the torch model; its module would import torch
_NOT_VECTORS = ("index", "scope")  # of a variant: no vector depends on what lies there


class Embedder(ABC):
    """Contents to vectors, for the fields that it makes. `fields` say how: dim, fingerprint, source."""

    fields: list[VectorField]

    @abstractmethod
    def encode(
        self, contents: Sequence[Content], *, ids: Sequence[str] | None = None
    ) -> dict[str, list[Vector | None]]:
        """For each field one vector (float32 [dim]) or None for each content, in the order given.

        A content without the part that a field is made of has no vector there. Raises `DataError`, naming the item
        (by `ids`, otherwise by its place), for a part that cannot be read.
        """

    @property
    def fingerprints(self) -> dict[str, str]:
        """What `Index.add` takes as `encoder`: for each field what made its vectors."""
        return {field.name: field.encoder for field in self.fields}


def open_embedder(
    sources: str | Sequence[str], *, metric: Metric = "cosine", device: str = "auto", host: Host | None = None
) -> Embedder:
    """Open one source, or several as one embedder.

    Raises `UnknownNameError` for an encoder that does not exist, `MissingError` for weights that cannot be had,
    `BundleError` for a bundle that cannot be opened, `ConfigError` for an encoder that is nothing without training,
    for two sources that make a field of one name, and for a device that is not there.
    """
    host = host or default_host()
    sources = [sources] if isinstance(sources, str) else list(sources)
    if not sources:
        raise ConfigError("no encoder was named; give one, as sentence:all-MiniLM-L6-v2")
    opened = [_open(source, metric, device, host) for source in dict.fromkeys(sources)]
    makers: dict[str, str] = {}
    for field in [field for embedder in opened for field in embedder.fields]:
        if field.name in makers:
            both = f"{makers[field.name]} and {field.source}"
            raise ConfigError(f"{both} both make the vectors called {field.name!r}; give one of them")
        makers[field.name] = field.source
    return opened[0] if len(opened) == 1 else _Several(opened)


def reopen(fields: Iterable[VectorField], *, device: str = "auto", host: Host | None = None) -> Embedder:
    """Open again what made the recorded fields of an index; fields without a source are passed over.

    Raises what `open_embedder` raises, and `DataError` where a source makes other vectors than it did then.
    """
    host = host or default_host()
    recorded: dict[str, list[VectorField]] = {}
    for field in fields:
        if field.source:
            recorded.setdefault(field.source, []).append(field)
    if not recorded:
        raise DataError("no field says what made its vectors; they were computed elsewhere and have to be given")
    opened = []
    for source, wanted in recorded.items():
        embedder = _open(source, wanted[0].metric, device, host)
        for field in wanted:
            _check_same(field, embedder.fields)
        embedder.fields = wanted
        opened.append(embedder)
    return opened[0] if len(opened) == 1 else _Several(opened)


def made_of(field: VectorField, host: Host | None = None) -> tuple[Modality, ...]:
    """The modalities that a recorded field can be made from; none where it has no source. Opens no weights."""
    if not field.source:
        return ()
    if field.source.startswith(BUNDLE):
        return (field.name,) if field.name in MODALITIES else MODALITIES
    family, _ = (host or default_host()).load_family("encoder", field.source)
    return (family.modality,)


class _OfEncoder(Embedder):
    """One encoder. Recorded fields may have names of their own: all of them are its vectors."""

    def __init__(self, encoder: Any, field: VectorField) -> None:
        self.fields = [field]
        self._encoder = encoder

    def encode(
        self, contents: Sequence[Content], *, ids: Sequence[str] | None = None
    ) -> dict[str, list[Vector | None]]:
        modality = self._encoder.modality
        rows = [row for row, content in enumerate(contents) if _present(content, modality)]
        values = [contents[row][modality] for row in rows]
        vectors = _naming_the_item(self._vectors, values, _names(rows, ids)) if rows else np.zeros((0, 0), np.float32)
        return {field.name: _spread(vectors, rows, len(contents)) for field in self.fields}

    def _vectors(self, values: Sequence[Any]) -> Vector:
        found: Vector = np.asarray(self._encoder.encode(values), dtype=np.float32)
        return found


class _OfBundle(Embedder):
    """The session of a bundle."""

    def __init__(self, session: SpaceSession, fields: Sequence[VectorField]) -> None:
        self.fields = list(fields)
        self._session = session

    def encode(
        self, contents: Sequence[Content], *, ids: Sequence[str] | None = None
    ) -> dict[str, list[Vector | None]]:
        session, names = self._session, _names(range(len(contents)), ids)
        samples = [
            _sample(name, content).only(session.modalities) for name, content in zip(names, contents, strict=True)
        ]
        rows = [row for row, sample in enumerate(samples) if sample.modalities]
        if not rows:
            return {field.name: [None] * len(contents) for field in self.fields}
        kept = [samples[row] for row in rows]
        encoded: Encoded = _naming_the_item(session.encode, kept, [sample.id for sample in kept])
        found: dict[str, list[Vector | None]] = {}
        for field in self.fields:
            if field.name == FUSED:
                found[FUSED] = _spread(session.fuse(encoded).embedding, rows, len(contents))
                continue
            modality = cast("Modality", field.name)
            there = encoded.mask[:, session.modalities.index(modality)]
            have = [row for row, present in zip(rows, there, strict=True) if present]
            found[field.name] = _spread(encoded.vectors[modality][there], have, len(contents))
        return found


class _Several(Embedder):
    """Several embedders as one."""

    def __init__(self, parts: Sequence[Embedder]) -> None:
        self.fields = [field for part in parts for field in part.fields]
        self._parts = list(parts)

    def encode(
        self, contents: Sequence[Content], *, ids: Sequence[str] | None = None
    ) -> dict[str, list[Vector | None]]:
        found: dict[str, list[Vector | None]] = {}
        for part in self._parts:
            found |= part.encode(contents, ids=ids)
        return found


def _open(source: str, metric: Metric, device: str, host: Host) -> Embedder:
    if source.startswith(BUNDLE) or Path(source).expanduser().is_dir() or source in bundle_names():
        return _open_bundle(source.removeprefix(BUNDLE), metric, device, host)
    return _open_encoder(source, metric, device, host)


def _open_encoder(source: str, metric: Metric, device: str, host: Host) -> Embedder:
    family, model = host.load_family("encoder", source)
    if model and Path(model).expanduser().is_dir():  # so that it is found from any working directory
        model = str(Path(model).expanduser().resolve())
        source = f"{source.partition(':')[0]}:{model}"
    encoder = family.create(model)
    learns = type(encoder).fit is not _fit_of_the_base() or next(iter(encoder.parameters()), None) is not None
    if learns and not encoder.pretrained:
        raise ConfigError(
            f"the encoder {source!r} is nothing before it has been trained; give a bundle that was trained with it "
            f"({BUNDLE}NAME), or a pretrained one, as sentence:all-MiniLM-L6-v2, timm:mobilenetv2_100 or yamnet"
        )
    from triptych.device import choose_device  # late, with the encoder: it brings torch

    encoder.to(choose_device(device).device)
    field = VectorField(
        name=encoder.modality, dim=encoder.dim, metric=metric, encoder=encoder.fingerprint, source=source
    )
    return _OfEncoder(encoder, field)


def _fit_of_the_base() -> Any:
    from triptych.encoders.base import Encoder

    return Encoder.fit


def _open_bundle(name: str, metric: Metric, device: str, host: Host) -> Embedder:
    bundle = open_bundle(resolve_bundle(name))
    chosen = str(bundle.manifest.ledger.get("chosen", ""))
    variant = variant_with_one_space(bundle.path, chosen)
    session = open_space(bundle.path, chosen, host, device)
    path = Path(name).expanduser()
    source = BUNDLE + (str(path.resolve()) if path.exists() else name)
    fingerprint = _fingerprint(bundle, variant)
    fields = [
        VectorField(name=field, dim=dim, metric=metric, encoder=fingerprint, source=source)
        for field, dim in _sizes(session).items()
    ]
    return _OfBundle(session, fields)


def _fingerprint(bundle: Bundle, variant: str) -> str:
    """Sha256 (hex) over the hashes of the files that vectors depend on."""
    exported = bool(variant) and variant_path(bundle.path, variant).is_dir()
    folder = f"{VARIANTS}/{variant_directory(variant)}/" if exported else f"{_TRAINED_MODEL}/"
    files = {
        name.removeprefix(folder): digest for name, digest in bundle.manifest.files.items() if name.startswith(folder)
    }
    files = {name: digest for name, digest in files.items() if name.partition("/")[0] not in _NOT_VECTORS}
    if not files:
        raise BundleError(f"{bundle.path} holds no model of the variant {variant!r}; build the bundle again")
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _sizes(session: SpaceSession) -> dict[str, int]:
    """The fields of a session and how many numbers their vectors have. With one modality nothing is fused."""
    settings, model = getattr(session, "settings", None), getattr(session, "model", None)
    sizes: dict[str, int] = {}
    for modality in session.modalities:
        sizes[modality] = settings.modalities[modality].dim if settings is not None else model.encoder(modality).dim  # type: ignore[union-attr]
    if len(sizes) > 1:
        nothing = Encoded(
            {m: np.zeros((1, sizes[m]), np.float32) for m in session.modalities}, np.ones((1, len(sizes)), np.bool_)
        )
        sizes[FUSED] = session.fuse(nothing).embedding.shape[1]
    return sizes


def _check_same(field: VectorField, opened: Sequence[VectorField]) -> None:
    """Raise `DataError` where what was opened does not make the vectors of a recorded field."""
    named = {other.name: other for other in opened}
    now = named.get(field.name) if field.source.startswith(BUNDLE) else opened[0]
    if now is None:
        raise DataError(
            f"{field.source} makes no vectors called {field.name!r} any more, only {', '.join(named)}; "
            "embed the index anew with `triptych index migrate`"
        )
    if field.encoder and field.encoder != now.encoder:
        raise DataError(
            f"the vectors of the field {field.name!r} were made by another version of {field.source} (fingerprint "
            f"{field.encoder[:12]}) than the one that is here now ({now.encoder[:12]}), so they cannot be compared; "
            f"embed the index anew with `triptych index migrate LOCATION --encoder {field.source}`"
        )


def _naming_the_item(encode: Callable[[list[Any]], Any], values: Sequence[Any], names: Sequence[str]) -> Any:
    """What `encode` makes of all values; where that fails, the error names the first item that fails alone."""
    try:
        return encode(list(values))
    except DataError:
        for name, value in zip(names, values, strict=True):
            try:
                encode([value])
            except DataError as error:
                raise DataError(f"the item {name!r} cannot be encoded: {error}") from error
        raise


def _names(rows: Iterable[int], ids: Sequence[str] | None) -> list[str]:
    return [str(row + 1) if ids is None else ids[row] for row in rows]


def _present(content: Content, modality: Modality) -> bool:
    value = content.get(modality)
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _sample(name: str, content: Content) -> Sample:
    return Sample(name, **{m: content[m] for m in MODALITIES if _present(content, m)})


def _spread(vectors: Vector, rows: Sequence[int], total: int) -> list[Vector | None]:
    """Vectors [len(rows), dim] at their places among `total`, None elsewhere."""
    found: list[Vector | None] = [None] * total
    for row, vector in zip(rows, vectors, strict=True):
        found[row] = np.asarray(vector, dtype=np.float32)
    return found
