"""The recommendation vertical: what the suite asks of it, in one class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from triptych.types import Prediction, Task
from triptych.vertical import Extension, Vertical
from triptych_recommendation.opening import NAME, VERSION, about_of, recommender_of
from triptych_recommendation.replies import reply
from triptych_recommendation.responses import RecommendationRequest, RecommendationResponse
from triptych_recommendation.sample import sample_folder
from triptych_recommendation.settings import RecommendationSettings

if TYPE_CHECKING:
    from triptych.predictor import AnswerContext


class Recommendation(Vertical[RecommendationRequest, RecommendationResponse]):
    """Lists of items for users, from what people do and from what items say, show and sound like."""

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Recommendation"
    sticky_field: ClassVar[str | None] = "user"
    version: ClassVar[str] = VERSION
    request_type = RecommendationRequest
    response_type = RecommendationResponse
    settings_type = RecommendationSettings

    def task(self, settings: RecommendationSettings) -> Task:
        """Vectors in which items that the same people choose lie near one another."""
        return Task("embedding")

    def sample_data(self, directory: Path) -> Path:
        """The folder of the embedded synthetic sample."""
        return sample_folder(directory)

    def sample_request(self) -> RecommendationRequest:
        """Somebody of the sample."""
        return RecommendationRequest(user="u139", k=5)

    def training_data(self, settings: RecommendationSettings, data: Path, directory: Path) -> Path:
        """The table of items that the item encoder learns from, made of the items and the training events."""
        from triptych_recommendation.content.training import write_table
        from triptych_recommendation.data.folder import open_folder
        from triptych_recommendation.data.splits import make_split

        found = open_folder(data, settings.data)
        return write_table(found, make_split(found.interactions, settings.data), directory, settings.content)

    def extend(self, extension: Extension) -> dict[str, Any]:
        """Item vectors, the chosen user model, histories, and the report."""
        from triptych_recommendation.building import build

        return build(extension)

    def answer(
        self, request: RecommendationRequest, prediction: Prediction, context: AnswerContext
    ) -> RecommendationResponse:
        """A list for words, a picture or a sound, and for the user where one is given."""
        return reply(request, recommender_of(context), context.vector, about_of(context))

    def answer_empty(self, request: RecommendationRequest, context: AnswerContext) -> RecommendationResponse:
        """A list for a user, for what was looked at just now, or for everybody; or what is like an item."""
        return reply(request, recommender_of(context), None, about_of(context))
