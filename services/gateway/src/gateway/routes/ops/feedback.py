"""For operators: what people think of answers, and which model they were of."""

from datetime import timedelta
from typing import Annotated, get_args

from pydantic import Field
from sluiceway.errors import StoreUnavailable
from sluiceway.store.sessions.feedback import Rating
from starlette.responses import Response

from gateway.api.cursors import page_size
from gateway.api.inputs import In
from gateway.api.models.feedback import FeedbackList, FeedbackSumView, GivenFeedbackView
from gateway.routes.ops.route import ListParams, Routes, route
from gateway.routing.table import Call, Success, json_response


class FeedbackParams(ListParams):
    days: Annotated[int, Field(ge=1, le=366), In("query")] = 30
    rating: Annotated[Rating | None, In("query")] = None


async def list_feedback(call: Call[FeedbackParams, None]) -> Response:
    params, store = call.params, call.gateway.store.feedback
    within, ratings = timedelta(days=params.days), (params.rating,) if params.rating else get_args(Rating)
    sums = await store.sums(within)
    newest = await store.newest(within, ratings, page_size(params.limit, call.gateway.settings))
    return json_response(
        FeedbackList(
            days=params.days,
            sums=[FeedbackSumView.model_validate(one, from_attributes=True) for one in sums],
            feedback=[GivenFeedbackView.model_validate(one, from_attributes=True) for one in newest],
        )
    )


ROUTES: Routes = (
    route(
        "GET",
        "/feedback",
        list_feedback,
        "What people think of answers, by model, and the newest of it",
        {200: Success("The newest first.", FeedbackList)},
        FeedbackParams,
        problems=(StoreUnavailable,),
        description="Thumbs and comments, with the model that answered.",
    ),
)
