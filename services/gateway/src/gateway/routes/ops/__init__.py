"""For operators: queues, live turns and why they do not end, dead letters, who uses how much, what people
think of answers, what is unfit.

Keys with the scope `ops:look` or `ops:act`, and users whose token has a role that OPS_LOOK_ROLES or OPS_ACT_ROLES
names.
"""

from gateway.routes.ops import dead_letters, events, examining, feedback, operations, queues, turns, usage, workers
from gateway.routes.ops.route import Routes

ROUTES: Routes = (
    *queues.ROUTES,
    *turns.ROUTES,
    *events.ROUTES,
    *workers.ROUTES,
    *operations.ROUTES,
    *dead_letters.ROUTES,
    *usage.ROUTES,
    *feedback.ROUTES,
    *examining.ROUTES,
)
